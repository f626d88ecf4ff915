import { EXIT } from '../exit-codes.ts';
import { changesSince, withinAgreed } from './agreed.ts';
import type { RolloutPorts, RunOptions, RunSignals } from './context.ts';
import type { RolloutResult } from './events.ts';
import { exitForPlan } from './plan-exit.ts';
import type { Plan } from './plan-types.ts';
import type { HeldLock, LockRequest, LockWait } from './ports.ts';
import { FAILURES, GOOD_ENDS, notStarted, resultsOfPlan } from './result.ts';
import { runRollout } from './rollout.ts';

/** What the lock says of a run that carries out this plan: `upgrade to KubeOS 2.0.0`. */
export const whatOf = (plan: Plan): string => `${plan.operation} to ${plan.version}`;

/**
 * Carries out a plan under a lock that is held already, and says in the lock how far the run is.
 * A plan that refuses, or has nothing to start, changes nothing and has its result at once.
 */
export async function executePlan(
  ports: RolloutPorts,
  plan: Plan,
  lock: HeldLock,
  options: RunOptions,
  signals: RunSignals,
): Promise<RolloutResult> {
  if (!hasWork(plan)) return resultWithoutWork(plan, options.run);
  const ended = { well: 0, badly: 0 };
  lock.describe(progress(plan, ended));
  const telling: RolloutPorts = {
    ...ports,
    report: {
      event: (event) => {
        ports.report.event(event);
        if (event.type !== 'node-done') return;
        if (FAILURES.has(event.result.outcome)) ended.badly++;
        else if (GOOD_ENDS.has(event.result.outcome)) ended.well++;
        lock.describe(progress(plan, ended));
      },
    },
  };
  return runRollout(telling, plan, lock, options, signals);
}

const LAST_WORD_MS = 2000;

/** What was shown, and how to plan the same request anew. */
export interface Agreed {
  plan: Plan;
  /** Called once the lock is held: from then on no other run changes the nodes. */
  replan: () => Promise<Plan>;
}

/**
 * Takes the lock, plans anew, carries out what is still to be done of the plan that was shown, gives the lock back
 * whatever happens. Where the new plan refuses, or leads to another version, nothing is changed (exit 4).
 */
export async function carryOut(
  ports: RolloutPorts,
  { plan, replan }: Agreed,
  holder: Pick<LockRequest, 'holder' | 'waitMs'>,
  options: RunOptions,
  signals: RunSignals,
): Promise<RolloutResult> {
  if (!hasWork(plan)) return resultWithoutWork(plan, options.run);
  const lock = await takeLock(ports, { ...holder, run: options.run, what: whatOf(plan) }, signals);
  try {
    const fresh = await replan();
    for (const { node, message } of changesSince(plan, fresh)) {
      ports.report.event({ at: ports.clock.now(), type: 'notice', node, message });
    }
    return await executePlan(ports, withinAgreed(plan, fresh), lock, options, signals);
  } finally {
    // A second signal stops at once: an API that is slow or away must not hold the process.
    const given = new AbortController();
    const late = (): Promise<void> => ports.clock.sleep(LAST_WORD_MS, given.signal).catch(() => undefined);
    await Promise.race([lock.release(), ...(signals.hard.aborted ? [late()] : [])]);
    given.abort();
  }
}

/** Takes the lock, and tells of every wait for it. */
export async function takeLock(ports: RolloutPorts, request: LockRequest, signals: RunSignals): Promise<HeldLock> {
  const { clock, report } = ports;
  const startedAt = clock.now();
  const { waitMs } = request;
  const wait = { told: false };
  const onWaiting = ({ holder, alive }: LockWait): void => {
    wait.told = true;
    report.event({
      at: clock.now(),
      type: 'lock-waiting',
      holder,
      alive,
      ...(waitMs === undefined ? {} : { timeoutMs: waitMs }),
    });
  };
  const stop = AbortSignal.any([signals.graceful, signals.hard]);
  const lock = await ports.cluster.acquireLock({ ...request, onWaiting }, stop);
  const from = lock.tookOverFrom;
  if (wait.told || from !== undefined) {
    const waitedMs = clock.now() - startedAt;
    report.event({ at: clock.now(), type: 'lock-taken', waitedMs, ...(from === undefined ? {} : { from }) });
  }
  return lock;
}

/** The plan starts at least one node. */
export const hasWork = (plan: Plan): boolean => plan.refusals.length === 0 && plan.entries.length > 0;

/** The result of a plan that starts nothing: it says why by its exit code. */
export function resultWithoutWork(plan: Plan, run: string): RolloutResult {
  const exitCode = exitForPlan(plan, false);
  const refused = plan.refusals.map(({ what }) => what).join('; ');
  // Only a refusal of the whole run leaves nodes that could be started.
  const next = plan.refusals.find((refusal) => refusal.next !== undefined)?.next;
  const finding = { what: 'the run is refused', reason: refused, ...(next === undefined ? {} : { next }) };
  const held = plan.entries.map((entry) => notStarted(entry.node, entry.now, [finding], false));
  return {
    run,
    operation: plan.operation,
    version: plan.version,
    exitCode,
    results: [...held, ...resultsOfPlan(plan)],
    ...(exitCode === EXIT.refused && refused !== '' ? { stopped: refused } : {}),
    tookMs: 0,
  };
}

/** The result of a plan that was shown and not agreed to. */
export function declinedResult(plan: Plan, run: string): RolloutResult {
  const declined = { what: 'not started: the question was answered with no', next: 'give the same command again' };
  const held = plan.entries.map((entry) => notStarted(entry.node, entry.now, [declined], false));
  return {
    run,
    operation: plan.operation,
    version: plan.version,
    exitCode: EXIT.refused,
    results: [...held, ...resultsOfPlan(plan)],
    stopped: 'the question was answered with no',
    tookMs: 0,
  };
}

const progress = (plan: Plan, { well, badly }: { well: number; badly: number }): string =>
  `${whatOf(plan)}, ${well} of ${plan.entries.length} nodes done${badly === 0 ? '' : `, ${badly} failed`}`;
