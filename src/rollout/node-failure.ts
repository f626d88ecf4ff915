import { ConnectError, ImageRefusedError, KubeosError, LockLostError } from '../errors.ts';
import type { NodeResult } from './events.ts';
import { deletedMeanwhile, ForeignHandError } from './foreign-hands.ts';
import { DrainForecastError } from './node-prepare.ts';
import {
  LEFT_CORDONED,
  leftCordoned,
  lockIsLost,
  release,
  trouble,
  troubleOf,
  whyLost,
  type Trouble,
} from './node-ends.ts';
import { despiteCuts } from './patience.ts';
import type { Trip, TripPhase } from './trip.ts';
import { formatDuration } from './units.ts';

/**
 * Ends a node's way after an error: undone as far as it is safe to undo, and told as it is.
 * @returns never rejects
 */
export async function endFailed(trip: Trip, problem: unknown): Promise<NodeResult> {
  const error = deletedMeanwhile(trip, problem) ?? problem;
  const found = describe(trip, error);
  const { lock, signals } = trip.context;
  try {
    // A node that another run works on fails in many ways: whose the nodes are comes first.
    if (!signals.hard.aborted) await lock.confirm().catch(() => undefined);
    if (lockIsLost(trip, error)) return await leave(trip, lostLock(trip));
    if (signals.hard.aborted) return await leave(trip, found);
    if (!trip.stood) return await endUnseen(trip, found, error instanceof ForeignHandError);
    // Nothing failed: it is known beforehand what would, so that it does not count as a failure either.
    if (error instanceof DrainForecastError) delete trip.step;
    if (error instanceof ImageRefusedError) trip.imageRefused = true;
    if (trip.phase === 'before') return await abort(trip, found, outcomeOf(found, error));
    if (trip.phase === 'arming' || trip.phase === 'armed') return await disarm(trip, found);
    return await needsHands(trip, found, situationOf(trip));
  } catch (second) {
    // What went wrong first is what the report is about.
    return failedWithin(trip, found, second);
  }
}

function describe(trip: Trip, error: unknown): Trouble {
  const { signals } = trip.context;
  const mayStop = trip.phase === 'before' || trip.phase === 'arming' || trip.phase === 'armed';
  if (signals.hard.aborted || (signals.graceful.aborted && mayStop)) {
    return {
      what: trip.step === undefined ? 'interrupted' : `interrupted during ${trip.step}`,
      next: 'give the same command again: it carries on from here',
      interrupted: true,
    };
  }
  return { ...troubleOf(error), unreachable: error instanceof ConnectError };
}

function outcomeOf(found: Trouble, error?: unknown): 'not started' | 'failed' | 'interrupted' {
  if (found.interrupted === true) return 'interrupted';
  return error instanceof DrainForecastError || error instanceof ImageRefusedError ? 'not started' : 'failed';
}

function lostLock(trip: Trip): Trouble {
  trip.lockLost = true;
  return {
    what: `this run lost its lock${trip.step === undefined ? '' : ` during ${trip.step}`}`,
    reason: `${whyLost(trip.context.lock) ?? 'the node belongs to a newer run'}; the node is left where it stands`,
    next: 'see what the other run does (kubeos status); it, or the same command given again, carries the node on',
    logTail: [],
  };
}

/** Nothing may be changed any more: the node is left where it stands, and that is said. */
function leave(trip: Trip, found: Trouble): Promise<NodeResult> {
  const cordoned = trip.record.cordon === 'ours' && trip.unavailableMs === undefined;
  const left = [
    ...(trip.phase === 'before' ? [] : [situationOf(trip)]),
    ...(cordoned ? ['the node is left cordoned by this run'] : []),
  ].join('; ');
  return trouble(trip, outcomeOf(found), { ...found, ...(left === '' ? {} : { left }) });
}

/**
 * It could not even be asked where it stands. Nothing was done to it; a cordon that an earlier run left there stays,
 * since that run may have left it armed or on trial.
 */
async function endUnseen(trip: Trip, found: Trouble, isForeign: boolean): Promise<NodeResult> {
  const isLeft = trip.record.cordon === 'ours';
  if (!isLeft) await release(trip, trip.context.late);
  const left = isLeft ? LEFT_CORDONED : undefined;
  const reason = [found.reason, left].filter((text) => text !== undefined).join('\n');
  const untouched = found.unreachable === true || isForeign || trip.context.signals.graceful.aborted;
  const outcome = untouched ? 'not started' : 'failed';
  const result = await trouble(trip, outcome, { ...found, ...(reason === '' ? {} : { reason }) });
  return { ...result, now: trip.entry.now };
}

/**
 * Before anything was armed: detached work is ended, our journal closed, our cordon removed. The node runs what it ran,
 * since this run has not rebooted it.
 */
async function abort(trip: Trip, found: Trouble, outcome = outcomeOf(found)): Promise<NodeResult> {
  const { late } = trip.context;
  const unclosed = await tryClose(trip, found.what);
  const marked = await release(trip, late).then(
    () => undefined,
    (problem: unknown) => notReleased(trip, problem),
  );
  const note = [
    ...(unclosed === undefined ? [] : [`its journal stays open until the next run: ${unclosed}`]),
    ...(marked === undefined ? [] : [marked]),
  ];
  const reason = [found.reason, ...note].filter((text) => text !== undefined).join('\n');
  const result = await trouble(trip, outcome, { ...found, ...(reason === '' ? {} : { reason }) });
  return { ...result, now: trip.entry.now };
}

/** On a node that the run never cordoned nothing but its annotation is left; else the problem is thrown again. */
function notReleased(trip: Trip, problem: unknown): string {
  const serious =
    !(problem instanceof KubeosError) || problem instanceof LockLostError || trip.record.cordon === 'ours';
  if (serious) throw problem;
  return `the run's annotation could not be taken off: ${problem.message}`;
}

/** The other slot may be armed: only a node that is known to be disarmed, in its old slot, goes back into service. */
async function disarm(trip: Trip, found: Trouble): Promise<NodeResult> {
  const { ports, late } = trip.context;
  const { from, target } = trip.assignment;
  try {
    const seen = await despiteCuts(ports.clock, late, () => ports.remote.observe(trip.node, late));
    if (seen.active === from) return await abortDisarmed(trip, found);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
  }
  return needsHands(trip, found, `slot ${target} may be armed for its next boot`);
}

async function abortDisarmed(trip: Trip, found: Trouble): Promise<NodeResult> {
  const unclosed = await tryClose(trip, found.what);
  if (unclosed !== undefined) return needsHands(trip, found, `it could not be disarmed: ${unclosed}`);
  trip.phase = 'before';
  trip.begun = false;
  return abort(trip, found);
}

/** Resolves to why the journal could not be closed; undefined where it is, or was never ours. */
async function tryClose(trip: Trip, reason: string): Promise<string | undefined> {
  if (!trip.begun) return undefined;
  const { ports, late } = trip.context;
  try {
    await despiteCuts(ports.clock, late, () => ports.remote.close(trip.node, trip.authority, 'aborted', reason));
    return undefined;
  } catch (error) {
    if (late.aborted) throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

const SITUATION: Readonly<Record<TripPhase, string>> = {
  before: 'it runs its old slot',
  arming: 'its other slot may be armed for its next boot',
  armed: 'its other slot is armed for its next boot',
  rebooting: 'it was told to reboot, and has not been seen since',
  trial: 'it runs its other slot on trial: a reset brings it back to the old one',
  returned: 'it runs its old slot again',
  committed: 'its new slot is permanent',
};

/** A trial that nobody ends goes back by itself where its dead man's timer is wound. */
function situationOf({ phase, assignment: { from, target }, deadManWound, context }: Trip): string {
  if (phase !== 'trial' || !deadManWound) return SITUATION[phase];
  const span = formatDuration(context.options.deadManMs);
  return (
    `it runs slot ${target} on trial: any reset brings it back to slot ${from}, and so does the node by itself ` +
    `${span} after its last sign of life from kubeos`
  );
}

function needsHands(trip: Trip, found: Trouble, situation: string): Promise<NodeResult> {
  const reason = [found.reason, situation].filter((text) => text !== undefined).join('\n');
  const next = [found.next, leftCordoned(trip)].filter((text) => text !== undefined).join('; ');
  return trouble(trip, 'needs hands', { ...found, reason, next });
}

async function failedWithin(trip: Trip, found: Trouble, problem: unknown): Promise<NodeResult> {
  const { message } = problem instanceof Error ? problem : { message: String(problem) };
  if (lockIsLost(trip, problem)) return leave(trip, lostLock(trip));
  if (trip.context.signals.hard.aborted) return leave(trip, found);
  return needsHands(trip, found, `and it could not be tidied up: ${message}`);
}
