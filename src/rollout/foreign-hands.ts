import { ApiUnreachableError, KubeosError, LockLostError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { FoundMarks, NodeRecord } from './facts.ts';
import { isAhead, type Step } from './steps.ts';
import type { Trip } from './trip.ts';

/** Somebody else changed the node such that its way must not go on. */
export class ForeignHandError extends KubeosError {
  override readonly name = 'ForeignHandError';
}

/**
 * Writes the step into our annotation, and notices what a hand other than this run's did to the node since the last
 * time: each is told once, and stands in the node's result.
 * @throws ForeignHandError before the reboot, where the node was deleted, replaced or uncordoned, or its annotation
 *   made unreadable; LockLostError where a newer run has the node; before the reboot, what else the API refuses it for
 */
export async function annotate(trip: Trip, step: Step): Promise<void> {
  const stopsAt = trip.phase === 'before' || trip.phase === 'armed';
  try {
    const found = await write(trip, trip.record, step);
    const before = trip.record;
    noticeTaints(trip);
    const ends = notice(trip, found, step);
    // What follows must not take somebody's cordon for the one that is gone.
    if (trip.record !== before) await write(trip, trip.record, step);
    if (ends !== undefined) throw ends;
  } catch (error) {
    if (!(error instanceof KubeosError) || error instanceof LockLostError) throw error;
    if (error instanceof ApiUnreachableError) return;
    const found = error instanceof ForeignHandError ? error : await explain(trip, error);
    tell(trip, found, error);
    if (stopsAt && isAhead(step)) throw found ?? error;
  }
}

function tell(trip: Trip, found: ForeignHandError | undefined, refusal: KubeosError): void {
  if (found === undefined) trip.notice(`its annotation could not be written: ${refusal.message}`);
  else trip.foreign(found.message);
}

async function write(trip: Trip, last: NodeRecord, step: Step): Promise<FoundMarks> {
  const record = { ...last, token: trip.context.lock.token, step };
  const found = await trip.context.ports.cluster.record(trip.name, record);
  trip.record = record;
  return found;
}

/** Pods stay away from it by them, or are evicted: who set them decides how long. */
function noticeTaints(trip: Trip): void {
  for (const taint of trip.node.taints ?? []) {
    if (!trip.taints.has(taint)) trip.foreign(`somebody set the taint ${taint} on it: it stays so`);
    trip.taints.add(taint);
  }
}

/** Without our annotation nobody could tell whose the cordon is. */
export const UNMARKED = "somebody removed this run's annotation: it was written anew";

/**
 * Sets our record as it must be, where what was found makes it another.
 * @returns why the way must not go on, where it must not
 */
function notice(trip: Trip, found: FoundMarks, step: Step): ForeignHandError | undefined {
  const { record } = trip;
  if (found.record === undefined) trip.foreign(UNMARKED);
  else if (found.record.run !== record.run || found.record.cordon !== record.cordon) {
    trip.foreign(`somebody changed this run's annotation (run ${found.record.run}): it was written anew`);
  }
  if (found.uid !== trip.uid) {
    trip.uid = found.uid;
    trip.drained = trip.drained && found.cordoned;
    trip.record = { ...record, cordon: cordonOfReplaced(record, found) };
    return hand(trip, REPLACED);
  }
  if (found.cordoned || record.cordon === 'none') return undefined;
  const drainedHere = trip.cordonedAt !== undefined;
  trip.drained = false;
  trip.record = { ...record, cordon: 'none' };
  if (drainedHere && isAhead(step)) return hand(trip, UNCORDONED);
  if (drainedHere) trip.foreign(UNCORDONED.what);
  else if (record.cordon === 'ours') trip.foreign('somebody uncordoned it since an earlier run had cordoned it');
  return undefined;
}

/** The cordon of the node's new object is ours only where this run set it there, which stands in its annotation. */
function cordonOfReplaced({ run }: NodeRecord, { cordoned, record }: FoundMarks): NodeRecord['cordon'] {
  if (!cordoned) return 'none';
  return record?.run === run && record.cordon === 'ours' ? 'ours' : 'found';
}

/** What a hand did to the node such that our annotation cannot be written; undefined where the API refused by itself. */
async function explain(trip: Trip, error: KubeosError): Promise<ForeignHandError | undefined> {
  const { cluster } = trip.context.ports;
  const nodes = await cluster.nodes().catch(() => undefined);
  if (nodes === undefined) return undefined;
  const node = nodes.find(({ name }) => name === trip.name);
  if (node === undefined) return hand(trip, DELETED);
  if (node.recordProblem === undefined) return undefined;
  const { reason, next } = error;
  return hand(trip, {
    what: `somebody changed what this run left on it: ${error.message}`,
    reason,
    next: next ?? DELETED.next,
  });
}

/** What went wrong on a node that somebody deleted meanwhile went wrong for that. */
export function deletedMeanwhile(trip: Trip, error: unknown): ForeignHandError | undefined {
  if (!(error instanceof KubeosError) || error instanceof LockLostError || error instanceof ForeignHandError) return;
  const isAway = trip.context.view.find(trip.name) === undefined;
  if (!isAway || !['before', 'arming', 'armed'].includes(trip.phase)) return;
  return hand(trip, { ...DELETED, reason: error.message });
}

/** @throws ForeignHandError where the cluster no longer has the node */
export function requireInCluster(trip: Trip): void {
  if (trip.context.view.find(trip.name) === undefined) throw hand(trip, DELETED);
}

/**
 * Watches a node that is being drained. The signal is aborted, with a ForeignHandError, once the node has been deleted,
 * or uncordoned after it was seen cordoned.
 */
export function watchCordon(trip: Trip): { signal: AbortSignal; stop: () => void } {
  const { view } = trip.context;
  const noticed = new AbortController();
  let seenCordoned = false;
  const look = (): void => {
    const node = view.find(trip.name);
    if (node === undefined) noticed.abort(hand(trip, DELETED));
    else if (node.cordoned) seenCordoned = true;
    else if (seenCordoned) noticed.abort(hand(trip, UNCORDONED));
  };
  const stop = view.onChange(look);
  look();
  return { signal: noticed.signal, stop };
}

/** What somebody did, and what it means. */
interface Hand {
  what: string;
  reason?: string | undefined;
  next: string;
}

const UNCORDONED: Hand = {
  what: 'somebody uncordoned it on its way',
  reason: 'pods may be back on it, so that it is not rebooted',
  next: 'see who wants it in service, then give the same command again: it drains the node anew',
};

const DELETED: Hand = {
  what: 'somebody deleted it from the cluster',
  next: 'if that was meant, nothing is to be done; else restart its kubelet, which registers it again',
};

const REPLACED: Hand = {
  what: 'somebody deleted it from the cluster, and it was registered anew',
  reason: 'what this run knows of it may be of another machine',
  next: 'see that it is the node that is meant, then give the same command again',
};

const hand = (trip: Trip, { what, reason, next }: Hand): ForeignHandError =>
  new ForeignHandError(what, EXIT.incomplete, {
    ...(reason === undefined ? {} : { reason }),
    next,
    node: trip.name,
  });
