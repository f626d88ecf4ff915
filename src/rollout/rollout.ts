import pLimit from 'p-limit';
import { type KubeosError, LockLostError } from '../errors.ts';
import { goalOf } from './assemble-plan.ts';
import { BudgetError, BudgetGate } from './budget.ts';
import { claimNodes, isUnreachable } from './claims.ts';
import { ClusterView } from './cluster-view.ts';
import type { RolloutContext, RolloutPorts, RunOptions, RunSignals } from './context.ts';
import type { NodeResult, RolloutEvent, RolloutResult } from './events.ts';
import type { NodeRecord } from './facts.ts';
import { fenced } from './fenced.ts';
import { LEFT_CORDONED, lockLostText, troubleOf } from './node-ends.ts';
import { runNode } from './node-run.ts';
import { unlessAborted, untilApiAnswers } from './patience.ts';
import type { Plan, PlanEntry } from './plan-types.ts';
import type { Clock, HeldLock } from './ports.ts';
import { FAILURES, exitForResults, notStarted, resultsOfPlan } from './result.ts';
import { isKubeOS } from './selection.ts';
import { isFinishing } from './turns.ts';

/**
 * Does what the plan says, under a lock that is held already, and tells of it by events. Nothing that goes wrong on a
 * node makes it reject, and no node's failure loses another's result.
 * @throws KubeosError where the run could not even begin: the API is away, the lock is gone
 */
export async function runRollout(
  ports: RolloutPorts,
  plan: Plan,
  lock: HeldLock,
  options: RunOptions,
  signals: RunSignals,
): Promise<RolloutResult> {
  const startedAt = ports.clock.now();
  const early = AbortSignal.any([signals.graceful, signals.hard, lock.lost]);
  const late = AbortSignal.any([signals.hard, lock.lost]);
  const view = await ClusterView.open(ports.cluster, early);
  try {
    const tell = (event: RolloutEvent): void => ports.report.event(event);
    const budget = new BudgetGate({
      addressed: plan.addressed,
      maxUnavailable: plan.maxUnavailable,
      waitMs: options.budgetWaitMs,
      nodes: () => view.nodes,
      clock: ports.clock,
      onWaiting: (eatenBy) => {
        tell({ at: ports.clock.now(), type: 'budget-waiting', eatenBy, timeoutMs: options.budgetWaitMs });
      },
    });
    const joined = watchJoining(view, tell, ports.clock);
    const context = {
      ports: fenced(ports, lock, early),
      plan,
      goal: goalOf(plan),
      options,
      lock,
      view,
      budget,
      signals,
      early,
      late,
    };
    tell({ at: startedAt, type: 'rollout-started', run: options.run, plan });
    const rollout = new Rollout(context);
    const results = await rollout.run();
    const result: RolloutResult = {
      run: options.run,
      operation: plan.operation,
      version: plan.version,
      exitCode: exitForResults(results, {
        interrupted: signals.graceful.aborted || signals.hard.aborted,
        lockLost: lock.lost.aborted || rollout.lockLost,
      }),
      results,
      ...(rollout.stopped === undefined ? {} : { stopped: rollout.stopped }),
      ...(joined.length === 0 ? {} : { joined }),
      tookMs: ports.clock.now() - startedAt,
    };
    tell({ at: ports.clock.now(), type: 'rollout-done', result });
    return result;
  } finally {
    view.close();
  }
}

/** Tells of each KubeOS node that joins the cluster, and gathers their names. */
function watchJoining(view: ClusterView, tell: (event: RolloutEvent) => void, clock: Clock): readonly string[] {
  const known = new Set(view.nodes.keys());
  const joined: string[] = [];
  view.onChange(() => {
    for (const [node, shown] of view.nodes) {
      if (known.has(node) || !isKubeOS(shown)) continue;
      known.add(node);
      joined.push(node);
      const message = 'joined the cluster since the run began: it is left as it is; the same command again takes it on';
      tell({ at: clock.now(), type: 'notice', node, message });
    }
  });
  return joined;
}

class Rollout {
  stopped: string | undefined;
  lockLost = false;
  readonly #context: RolloutContext;
  readonly #results = new Map<string, NodeResult>();
  /** Our annotations, by node, as far as this run has written them and not removed them. */
  readonly #records = new Map<string, NodeRecord>();
  /** What was only to be finished when the plan was made, and has its whole way to go since. */
  readonly #anew: PlanEntry[] = [];
  readonly #stop = new AbortController();
  #succeeded = 0;
  #failed = 0;

  constructor(context: RolloutContext) {
    this.#context = context;
    const { early, signals, lock } = context;
    const onAbort = (): void =>
      this.#halt(signals.graceful.aborted || signals.hard.aborted ? INTERRUPTED : lockLostText(lock));
    if (early.aborted) onAbort();
    else early.addEventListener('abort', onAbort, { once: true });
  }

  async run(): Promise<readonly NodeResult[]> {
    const { plan, early } = this.#context;
    try {
      await this.#runAll(await unlessAborted(this.#begin(), this.#context.signals.hard));
    } catch (error) {
      // Nothing was started. A run that was asked to stop tells so by its results; any other has nothing to tell.
      if (!early.aborted) {
        await this.#tidyUp();
        throw error;
      }
    }
    await this.#tidyUp();
    const done = plan.entries.map((entry) => this.#results.get(entry.node) ?? this.#neverStarted(entry));
    return [...done, ...resultsOfPlan(plan)];
  }

  /** Before the first change: our token on every node, our annotation on every node of the plan. */
  async #begin(): Promise<readonly PlanEntry[]> {
    const { plan, view, options, lock, ports, early } = this.#context;
    if (plan.entries.length === 0) return [];
    early.throwIfAborted();
    const unclaimed = await claimNodes(this.#context);
    for (const [node, error] of unclaimed) this.#tellUnclaimed(node, error);
    const entries = plan.entries.filter(({ node }) => !unclaimed.has(node));
    const limit = pLimit(ANNOTATED_AT_ONCE);
    const annotate = async ({ node, firstStep }: PlanEntry): Promise<void> => {
      const record: NodeRecord = {
        run: options.run,
        token: lock.token,
        operation: plan.operation,
        version: plan.version,
        step: firstStep,
        cordon: view.get(node).record?.cordon ?? 'none',
      };
      await untilApiAnswers(ports.clock, early, () => ports.cluster.record(node, record));
      this.#records.set(node, record);
    };
    const outcomes = await Promise.allSettled(entries.map((entry) => limit(() => annotate(entry))));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    return entries;
  }

  #tellUnclaimed(node: string, error: KubeosError): void {
    const { plan, ports } = this.#context;
    const entry = plan.entries.find((planned) => planned.node === node);
    const { what, reason, next } = troubleOf(error);
    if (entry === undefined) {
      const message = `the run's token could not be left there: ${what}`;
      ports.report.event({ at: ports.clock.now(), type: 'notice', node, message });
      return;
    }
    const back = entry.firstStep === 'prove' ? `a reset brings it back to slot ${entry.assignment.from}` : undefined;
    const todo = [next, back].filter((text) => text !== undefined).join('; ');
    const finding = { what, ...(reason === undefined ? {} : { reason }), ...(todo === '' ? {} : { next: todo }) };
    this.#finish(notStarted(node, entry.now, [finding], isUnreachable(error)));
  }

  async #runAll(entries: readonly PlanEntry[]): Promise<void> {
    const { plan } = this.#context;
    // All at once, whatever the pace: they are out of service already, and a failure of one is no reason to leave another so.
    await Promise.allSettled(entries.filter(isFinishing).map((entry) => this.#runOne(entry)));
    const queue = [...this.#anew, ...entries.filter((entry) => !isFinishing(entry))];
    // The canary has done its work once that many nodes have succeeded: a failed one shows nothing to rely on.
    while (this.#succeeded < plan.canary && !this.#stop.signal.aborted) {
      const next = queue.shift();
      if (next === undefined) return;
      await this.#runOne(next);
    }
    const limit = pLimit(plan.maxUnavailable);
    await Promise.allSettled(queue.map((entry) => limit(() => this.#runOne(entry))));
  }

  /** Starts a node where that is still allowed. Never rejects. */
  async #runOne(entry: PlanEntry): Promise<void> {
    const { budget, view } = this.#context;
    try {
      this.#stop.signal.throwIfAborted();
      if (isFinishing(entry)) budget.enter(entry.node);
      else await budget.admit(entry.node, this.#stop.signal);
      const record = this.#records.get(entry.node);
      if (record === undefined) throw new Error(`${entry.node} was not annotated`);
      this.#records.delete(entry.node);
      const end = await runNode(this.#context, entry, {
        ...record,
        cordon: view.find(entry.node)?.record?.cordon ?? record.cordon,
      });
      if ('anewFrom' in end) {
        this.#records.set(entry.node, record);
        this.#anew.push({ ...entry, firstStep: end.anewFrom });
        return;
      }
      if (end.lockLost) this.#loseLock();
      if (end.imageRefused) this.#halt('since no node can take this image');
      this.#count(end.result, entry);
    } catch (error) {
      if (!this.#stop.signal.aborted) this.#giveUp(error);
    }
  }

  #count(result: NodeResult, { firstStep }: PlanEntry): void {
    const { maxFailures } = this.#context.plan;
    this.#results.set(result.node, result);
    // What was committed earlier shows nothing of how this image does now.
    if (SUCCESSES.has(result.outcome) && firstStep !== 'uncordon') this.#succeeded++;
    if (!FAILURES.has(result.outcome)) return;
    this.#failed++;
    if (maxFailures > 0 && this.#failed >= maxFailures) {
      this.#halt(
        `after ${this.#failed} ${this.#failed === 1 ? 'failure' : 'failures'} (--max-failures ${maxFailures})`,
      );
    }
  }

  #finish(result: NodeResult): void {
    this.#results.set(result.node, result);
    this.#context.ports.report.event({ at: this.#context.ports.clock.now(), type: 'node-done', result });
  }

  /** Nothing more is started. */
  #halt(reason: string): void {
    if (this.stopped !== undefined) return;
    this.stopped = reason;
    this.#stop.abort();
    const { ports } = this.#context;
    ports.report.event({ at: ports.clock.now(), type: 'stopping', reason });
  }

  /** A node told of a newer run before the lock itself did: it changes the cluster now. */
  #loseLock(): void {
    this.lockLost = true;
    this.#halt(lockLostText(this.#context.lock));
  }

  #giveUp(error: unknown): void {
    if (error instanceof LockLostError) this.lockLost = true;
    const { what, reason } = troubleOf(error);
    this.#halt(error instanceof BudgetError && reason !== undefined ? `${what}: ${reason}` : what);
  }

  /**
   * Annotations of nodes that were never started are taken off again, but where an earlier run left its cordon: that
   * node was on its way, and goes back into service only when its way has ended.
   */
  async #tidyUp(): Promise<void> {
    const { ports, lock, late } = this.#context;
    if (late.aborted || this.lockLost) return;
    const idle = [...this.#records].filter(([, { cordon }]) => cordon !== 'ours').map(([node]) => node);
    const limit = pLimit(ANNOTATED_AT_ONCE);
    const release = async (node: string): Promise<void> => {
      try {
        await ports.cluster.release(node, lock.token);
      } catch (error) {
        const message = `the run's annotation could not be taken off: ${troubleOf(error).what}`;
        ports.report.event({ at: ports.clock.now(), type: 'notice', node, message });
      }
    };
    await Promise.allSettled(idle.map((node) => limit(() => release(node))));
  }

  #neverStarted(entry: PlanEntry): NodeResult {
    const what = this.stopped === undefined ? 'it was not started' : `not started: ${whyStopped(this.stopped)}`;
    const cordoned = this.#records.get(entry.node)?.cordon === 'ours';
    const reason = cordoned ? LEFT_CORDONED : undefined;
    return notStarted(entry.node, entry.now, [{ what, ...(reason === undefined ? {} : { reason }) }], false);
  }
}

const INTERRUPTED = 'interrupted';
const whyStopped = (stopped: string): string =>
  stopped === INTERRUPTED ? 'the run was interrupted' : `stopped ${stopped}`;

const ANNOTATED_AT_ONCE = 16;
const SUCCESSES: ReadonlySet<string> = new Set(['upgraded', 'rolled back']);
