import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { RolloutContext } from './context.ts';
import { doStep } from './do-step.ts';
import type { NodeResult } from './events.ts';
import type { NodeObservation, NodeRecord } from './facts.ts';
import { requireInCluster } from './foreign-hands.ts';
import { endFailed } from './node-failure.ts';
import type { Health } from './health.ts';
import { endFellBack, endReturned, LEFT_CORDONED, leftCordoned, release, success, trouble } from './node-ends.ts';
import { prepare } from './node-prepare.ts';
import { bootOf } from './node-reboot.ts';
import { findBootDoubts, OTHER_MACHINE } from './other-machine.ts';
import { bootTrial, finishTrial, judgeHealth, type TrialEnd } from './node-trial.ts';
import type { PlanEntry } from './plan-types.ts';
import { despiteCuts, unlessAborted } from './patience.ts';
import { deriveStanding, rebootAhead, type Blocked, type Standing, type Way } from './standing.ts';
import type { Step } from './steps.ts';
import { Trip, type TripPhase } from './trip.ts';
import { isFinishing } from './turns.ts';

/** How a node's way ended, or that it begins anew and is for its turn to wait. */
export type NodeEnd =
  | {
      result: NodeResult;
      /** A newer run was met there, which forbids every further change. */
      lockLost: boolean;
      /** It was met with an image that no node can take. */
      imageRefused: boolean;
    }
  | { anewFrom: Step };

/**
 * Takes one node its whole way, from wherever it stands; one that was only to be finished, and is not on trial any more,
 * is left as it is.
 * @param record the annotation that this run has put on it
 * @returns never rejects
 */
export async function runNode(context: RolloutContext, entry: PlanEntry, record: NodeRecord): Promise<NodeEnd> {
  const trip = new Trip(context, entry, record);
  trip.emit({ type: 'node-started', node: trip.name, slot: entry.assignment.target });
  let end: NodeResult | Step;
  try {
    end = await unlessAborted(travel(trip), context.signals.hard);
  } catch (error) {
    end = await endFailed(trip, error);
  }
  if (typeof end === 'string') {
    context.budget.leave(trip.name, false);
    return { anewFrom: end };
  }
  const result = end;
  const released =
    result.outcome !== 'needs hands' && (trip.cordonedAt === undefined || trip.unavailableMs !== undefined);
  context.budget.leave(trip.name, !released);
  trip.emit({ type: 'node-done', result });
  return { result, lockLost: trip.lockLost, imageRefused: trip.imageRefused };
}

/** More than two things to settle, one after the other, are more than any run can leave behind. */
const MOST_PRELIMINARIES = 4;

/** Resolves to a step where the way begins anew with it, and others go first. */
async function travel(trip: Trip): Promise<NodeResult | Step> {
  const { early, goal } = trip.context;
  for (let round = 0; round <= MOST_PRELIMINARIES; round++) {
    early.throwIfAborted();
    // The plan may be an hour old: what the node says now decides.
    requireInCluster(trip);
    const seen = await observe(trip);
    trip.bootId ??= seen.bootId;
    const standing = await reached(trip, seen, deriveStanding(trip.node, seen, goal));
    trip.stood = true;
    if (standing.kind === 'done') return endDone(trip, seen);
    if (standing.kind === 'blocked') return endBlocked(trip, standing);
    trip.assignment = standing.assignment;
    if (standing.kind === 'fell-back') return endFellBackEarlier(trip, standing, seen);
    if (isFinishing(trip.entry) && rebootAhead(standing.firstStep)) return standing.firstStep;
    if (standing.preliminary === undefined) return walk(trip, standing, seen);
    const ended = await settle(trip, standing, seen);
    if (ended !== undefined) return ended;
  }
  throw new Error(`what was left on ${trip.name} could not be put in order`);
}

const observe = (trip: Trip): Promise<NodeObservation> => {
  const { ports, early } = trip.context;
  return despiteCuts(ports.clock, early, () => ports.remote.observe(trip.node, early));
};

/** As it stands; but a node that must be rebooted, and for which SSH reaches another machine, cannot be started. */
async function reached(trip: Trip, seen: NodeObservation, standing: Standing): Promise<Standing> {
  if (standing.kind !== 'way' || !rebootAhead(standing.firstStep)) return standing;
  const { ports, early } = trip.context;
  const doubts = await findBootDoubts(ports, [trip.node], new Map([[trip.name, seen]]), early);
  if (doubts.get(trip.name) !== 'other machine') return standing;
  return { kind: 'blocked', findings: [OTHER_MACHINE], unclear: true };
}

/** The way itself, from its first step to the end. */
async function walk(trip: Trip, way: Way, seen: NodeObservation): Promise<NodeResult> {
  const { ports, late, early } = trip.context;
  if (way.firstStep === 'uncordon') return tidyUp(trip, seen);
  early.throwIfAborted();
  if (way.adopt) {
    await adopt(trip, seen);
  } else {
    // Known before the first call that may fail: what is armed or on trial is never uncordoned for a lost connection.
    trip.phase = phaseAt(way.firstStep);
    await trip.mayStart();
    await ports.remote.begin(trip.node, trip.authority, way.assignment);
    trip.begun = true;
    const end = await goOn(trip, way, seen);
    if (end !== 'committed') return end;
  }
  trip.phase = 'committed';
  await doStep(trip, 'uncordon', late, async () => {
    await release(trip, late);
    return trip.record.cordon === 'found' ? 'left cordoned, as it was found' : 'in service';
  });
  return success(trip, outcomeOf(trip));
}

/** How far a node is whose way goes on with this step. */
function phaseAt(firstStep: Step): TripPhase {
  if (!rebootAhead(firstStep)) return 'trial';
  return firstStep === 'reboot' ? 'armed' : 'before';
}

async function goOn(trip: Trip, way: Way, seen: NodeObservation): Promise<TrialEnd> {
  if (!rebootAhead(way.firstStep)) {
    return finishTrial(trip, seen.journal?.armedBootId ?? '', bootOf(seen));
  }
  await prepare(trip, way.firstStep);
  const { armedBootId, report } = await bootTrial(trip, way.firstStep);
  return finishTrial(trip, armedBootId, report);
}

const outcomeOf = (trip: Trip): 'upgraded' | 'rolled back' =>
  trip.context.goal.operation === 'rollback' ? 'rolled back' : 'upgraded';

/** Proves the slot that the node runs, which was booted by hand, and makes it permanent. Nothing is rebooted. */
async function adopt(trip: Trip, seen: NodeObservation): Promise<void> {
  const { ports, early, late, options } = trip.context;
  const report = bootOf(seen);
  const { target, version } = trip.assignment;
  if (report === undefined) throw new Error('a node without an active slot cannot be adopted');
  await doStep(trip, 'prove', early, async () => {
    const health = await judgeHealth(trip, report, version);
    if (health.verdict !== 'healthy') {
      throw new KubeosError(`slot ${target}, which was booted by hand, is not healthy`, EXIT.incomplete, {
        reason: health.verdict === 'unhealthy' ? health.because : 'it rebooted meanwhile',
        next: `nothing was changed: see why, within ${String(options.healthTimeoutMs / 1000)}s its kubelet must be Ready`,
      });
    }
    early.throwIfAborted();
    await ports.remote.begin(trip.node, trip.authority, trip.assignment);
    trip.begun = true;
    await ports.remote.prove(trip.node, trip.authority, { slot: target, version, adopt: true });
    return `slot ${target}, ${version}, kubelet Ready, 2 heartbeats`;
  });
  await doStep(trip, 'commit', late, async () => {
    await ports.remote.commit(trip.node, trip.authority, target);
    return `slot ${target} is permanent`;
  });
}

/** Puts in order what a run with another goal, or a hand, left. Resolves to a result where the node's way ends there. */
async function settle(trip: Trip, way: Way, seen: NodeObservation): Promise<NodeResult | undefined> {
  const { preliminary } = way;
  switch (preliminary?.kind) {
    case 'disarm':
      await closeLeft(trip, 'aborted', 'another version was asked for');
      return undefined;
    case 'close-fell-back':
      await closeLeft(trip, 'fell-back', 'its trial ended in the old slot');
      return undefined;
    case 'settle': {
      trip.assignment = preliminary.assignment;
      if (preliminary.adopt) {
        await adopt(trip, seen);
      } else {
        const end = await goOn(trip, { ...way, firstStep: 'prove' }, seen);
        if (end !== 'committed') return end;
      }
      trip.phase = 'before';
      trip.begun = false;
      return undefined;
    }
    case undefined:
      return undefined;
  }
}

/** Until it is closed, it may be armed, or was never proven where it runs: our cordon stays. */
async function closeLeft(trip: Trip, phase: 'aborted' | 'fell-back', reason: string): Promise<void> {
  trip.stood = false;
  await trip.context.ports.remote.close(trip.node, trip.authority, phase, reason);
  trip.stood = true;
}

async function endDone(trip: Trip, seen: NodeObservation): Promise<NodeResult> {
  const kept = await keepUnlessHealthy(trip, seen);
  if (kept !== undefined) return kept;
  await release(trip, trip.context.late);
  const result = success(trip, 'already there');
  if (seen.active === undefined) delete result.slot;
  else result.slot = seen.active;
  return result;
}

async function tidyUp(trip: Trip, seen: NodeObservation): Promise<NodeResult> {
  const { late, goal } = trip.context;
  const finished =
    seen.journal?.phase === 'committed' &&
    seen.journal.operation === goal.operation &&
    seen.journal.version === goal.version;
  // A commit has its proof: the run that died had only the uncordon left to do.
  const kept = finished ? undefined : await keepUnlessHealthy(trip, seen);
  if (kept !== undefined) return kept;
  trip.phase = 'committed';
  await doStep(trip, 'uncordon', late, async () => {
    await release(trip, late);
    return 'what an earlier run left is tidied up';
  });
  return success(trip, finished ? outcomeOf(trip) : 'already there');
}

/** A node that an earlier run left cordoned goes back into service only where it is well. */
async function keepUnlessHealthy(trip: Trip, seen: NodeObservation): Promise<NodeResult | undefined> {
  if (trip.record.cordon !== 'ours') return undefined;
  // Whatever ends the wait early leaves the cordon, as on a node that could not be asked.
  trip.stood = false;
  let health: Health = { verdict: 'rebooted' };
  await doStep(trip, 'prove', trip.context.early, async () => {
    health = await judgeHealth(trip, seen, seen.osVersion, trip.context.early);
    return health.verdict === 'healthy' ? 'kubelet Ready, 2 heartbeats' : 'not healthy: it stays cordoned';
  });
  trip.stood = true;
  return judged(trip, seen, health);
}

async function judged(trip: Trip, seen: NodeObservation, health: Health): Promise<NodeResult | undefined> {
  if (health.verdict === 'healthy') return undefined;
  const because = health.verdict === 'unhealthy' ? health.because : 'it rebooted meanwhile';
  return trouble(trip, 'needs hands', {
    what: `runs ${seen.osVersion}, but is not healthy: ${because}`,
    reason: LEFT_CORDONED,
    next: `see why its kubelet is not Ready; ${leftCordoned(trip)}`,
  });
}

async function endBlocked(trip: Trip, standing: Blocked): Promise<NodeResult> {
  const kept = standing.unclear && trip.record.cordon === 'ours';
  if (!kept) await release(trip, trip.context.late);
  const [first = { what: 'it cannot be started' }, ...more] = standing.findings;
  const reasons = [first.reason, ...more.map(({ what }) => what), kept ? LEFT_CORDONED : undefined];
  const reason = reasons.filter((text) => text !== undefined).join('\n');
  return trouble(trip, 'not started', { ...first, ...(reason === '' ? {} : { reason }) });
}

async function endFellBackEarlier(
  trip: Trip,
  standing: Extract<Standing, { kind: 'fell-back' }>,
  seen: NodeObservation,
): Promise<NodeResult> {
  const report = bootOf(seen);
  if (report === undefined) throw new Error('a node without an active slot cannot have fallen back');
  trip.step = 'prove';
  return standing.closed ? endReturned(trip, report, standing.reason) : endFellBack(trip, report, standing.reason);
}
