import { KubeosError, LockLostError } from '../errors.ts';
import type { NodeResult } from './events.ts';
import type { BootReport, HeldLock } from './ports.ts';
import { despiteCuts, untilApiAnswers } from './patience.ts';
import type { Outcome } from './steps.ts';
import type { Trip } from './trip.ts';
import { UNMARKED } from './foreign-hands.ts';
import { waitHealthy } from './health.ts';

/** What a failure's report says, beside where it happened. */
export interface Trouble {
  what: string;
  reason?: string | undefined;
  next?: string | undefined;
  /** How the node is left, where the run leaves it on its way. */
  left?: string | undefined;
  /** Nothing failed: the run was asked to stop. */
  interrupted?: true;
  logTail?: readonly string[];
  unreachable?: boolean;
}

/** The result of a node that ends as it should. */
export function success(trip: Trip, outcome: 'upgraded' | 'rolled back' | 'already there'): NodeResult {
  const { replaced, target } = trip.assignment;
  const { version } = trip.context.goal;
  return {
    ...ending(trip, outcome),
    from: outcome === 'already there' ? version : replaced,
    now: version,
    slot: target,
  };
}

/** The result of a node that does not; its last log lines are fetched, as far as that is quick. */
export async function trouble(trip: Trip, outcome: Outcome, found: Trouble, now?: BootReport): Promise<NodeResult> {
  const said = found.logTail ?? [];
  const logTail = said.length > 0 ? said : found.unreachable === true ? [] : await lastLines(trip);
  return {
    ...ending(trip, outcome),
    ...(now === undefined ? {} : { now: now.osVersion, slot: now.active }),
    ...(trip.step === undefined ? {} : { step: trip.step }),
    what: found.what,
    ...(found.reason === undefined ? {} : { reason: found.reason }),
    ...(found.left === undefined ? {} : { left: found.left }),
    next: found.next ?? 'mend the cause, then give the same command again: it carries on from here',
    logTail,
    ...(said.length > 0 ? { saidToRun: true as const } : {}),
    unreachable: found.unreachable ?? false,
  };
}

function ending(trip: Trip, outcome: Outcome): NodeResult {
  return {
    node: trip.name,
    outcome,
    from: trip.assignment.replaced,
    logTail: [],
    ...(trip.proof === undefined ? {} : { proof: trip.proof }),
    ...(trip.noticed.length === 0 ? {} : { noticed: trip.noticed }),
    tookMs: trip.now - trip.startedAt,
    ...(trip.unavailableMs === undefined ? {} : { unavailableMs: trip.unavailableMs }),
    unreachable: false,
  };
}

/** Takes our annotation off the node and, where the cordon is ours, the cordon. */
export async function release(trip: Trip, signal: AbortSignal): Promise<void> {
  const { ports, lock } = trip.context;
  const { cluster, clock } = ports;
  let tries = 0;
  const isMarked = await untilApiAnswers(clock, signal, () => {
    tries++;
    return cluster.release(trip.name, lock.token);
  });
  if (!isMarked && trip.record.cordon === 'ours') {
    // An earlier try may have done it, its answer lost.
    if (tries === 1) trip.foreign(UNMARKED);
    await untilApiAnswers(clock, signal, () => cluster.record(trip.name, { ...trip.record, token: lock.token }));
    await untilApiAnswers(clock, signal, () => cluster.release(trip.name, lock.token));
  }
  if (trip.cordonedAt !== undefined) trip.unavailableMs = trip.now - trip.cordonedAt;
}

/**
 * The node runs its old slot again: that is written down, the node is proven there, and put back into service.
 * @param reason why its trial ended
 */
export async function endFellBack(trip: Trip, report: BootReport, reason: string): Promise<NodeResult> {
  const { ports, late } = trip.context;
  trip.phase = 'returned';
  await despiteCuts(ports.clock, late, () => ports.remote.close(trip.node, trip.authority, 'fell-back', reason));
  return endReturned(trip, report, reason);
}

/** As endFellBack, where the journal says already that the node fell back. */
export async function endReturned(trip: Trip, report: BootReport, reason: string): Promise<NodeResult> {
  const { ports, view, late, options, goal } = trip.context;
  trip.phase = 'returned';
  const check = {
    node: trip.name,
    bootId: report.bootId,
    version: report.osVersion,
    timeoutMs: options.healthTimeoutMs,
  };
  const health = await waitHealthy(check, { ...ports, view }, (because) => trip.waiting(because), late);
  if (health.verdict !== 'healthy') {
    const because = health.verdict === 'unhealthy' ? health.because : 'it rebooted once more';
    return trouble(
      trip,
      'needs hands',
      {
        what: `fell back to ${report.osVersion} (slot ${report.active}), and is not healthy there either: ${because}`,
        reason,
        next: `see why its kubelet is not Ready; ${leftCordoned(trip)}`,
      },
      report,
    );
  }
  await release(trip, late);
  if (goal.operation === 'rollback' && report.osVersion === goal.version) {
    return { ...ending(trip, 'rolled back'), from: trip.assignment.version, now: goal.version, slot: report.active };
  }
  return trouble(
    trip,
    'fell back',
    {
      what: 'healthy and in service again',
      reason,
      next: 'mend the image or the node, then give the same command again; the same image needs --retry-failed-image',
    },
    report,
  );
}

/** Why a node is not put back into service. */
export const LEFT_CORDONED = 'an earlier run left it cordoned on its way; it stays so until a run takes it on';

/** What is left to undo by hand, where a node is left as it is. */
export function leftCordoned(trip: Trip): string {
  return trip.record.cordon === 'ours'
    ? `the node is left cordoned: once it is well, give the same command again, or kubectl uncordon ${trip.name}`
    : 'once it is well, give the same command again';
}

/** What an error says, for a report. A bug is called one. */
export function troubleOf(error: unknown): Trouble {
  if (error instanceof KubeosError) {
    const { message: what, reason, next, logTail } = error;
    return { what, reason, next, logTail };
  }
  return {
    what: `a bug in kubeos: ${error instanceof Error ? error.message : String(error)}`,
    next: 'report it; the same command, given again, carries on from here',
    logTail: error instanceof Error ? (error.stack ?? '').split('\n').slice(1, 6) : [],
  };
}

const TAIL_LINES = 20;
const TAIL_PATIENCE_MS = 10_000;

async function lastLines(trip: Trip): Promise<readonly string[]> {
  const { ports, view, lock, signals } = trip.context;
  const node = view.find(trip.name);
  if (node === undefined || lock.lost.aborted || signals.hard.aborted) return [];
  const none: readonly string[] = [];
  const given = new AbortController();
  const tail = ports.remote.logTail(node, TAIL_LINES).catch(() => none);
  const late = ports.clock.sleep(TAIL_PATIENCE_MS, given.signal).then(
    () => none,
    () => none,
  );
  try {
    return await Promise.race([tail, late]);
  } finally {
    given.abort();
  }
}

/** To whom the lock went; undefined where it is not known, or not lost. */
export const whyLost = ({ lost }: Pick<HeldLock, 'lost'>): string | undefined =>
  lost.reason instanceof LockLostError ? lost.reason.reason : undefined;

/** That the lock is gone, and to whom, as far as it is known. */
export function lockLostText(lock: Pick<HeldLock, 'lost'>): string {
  const why = whyLost(lock);
  return why === undefined ? 'the lock was lost' : `the lock was lost: ${why}`;
}

/** A lock that is gone forbids every further change; who holds it now carries the node on. */
export const lockIsLost = (trip: Trip, error: unknown): boolean =>
  error instanceof LockLostError || trip.context.lock.lost.aborted;
