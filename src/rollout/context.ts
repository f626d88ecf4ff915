import type { BudgetGate } from './budget.ts';
import type { ClusterView } from './cluster-view.ts';
import type { NodeGoal } from './goal.ts';
import type { Plan } from './plan-types.ts';
import type { Artifact, Clock, Cluster, HeldLock, Remote, Report } from './ports.ts';

/** What the rollout works with. */
export interface RolloutPorts {
  cluster: Cluster;
  remote: Remote;
  clock: Clock;
  report: Report;
}

export interface RunOptions {
  /** The run's name, in the lock, the annotations and the journals. */
  run: string;
  /** For an upgrade: where the image is, with its credentials; never part of a plan, which is printed. */
  artifact?: Artifact;
  /** Milliseconds to wait while the budget is 0 and nothing in flight can free it; 0 waits for ever. */
  budgetWaitMs: number;
  /** Milliseconds until a rebooted node must answer SSH; 0 waits for ever. */
  rebootTimeoutMs: number;
  /** Milliseconds until a booted node must be healthy; 0 waits for ever. */
  healthTimeoutMs: number;
  /** Without a sign of life from this run for so long, a node on trial goes back by itself; 0: never. */
  deadManMs: number;
}

/** How the user asks a run to stop. */
export interface RunSignals {
  /** The first signal: nothing new starts, an armed node is taken to its end, the others stop. */
  graceful: AbortSignal;
  /** The second: stop at once, where things stand. */
  hard: AbortSignal;
}

/** What all nodes of one run share. */
export interface RolloutContext {
  ports: RolloutPorts;
  plan: Plan;
  goal: NodeGoal;
  options: RunOptions;
  lock: HeldLock;
  view: ClusterView;
  budget: BudgetGate;
  signals: RunSignals;
  /** Stops what comes before arming: the first signal, the second, the lost lock. */
  early: AbortSignal;
  /** Stops what comes after: the second signal, the lost lock. */
  late: AbortSignal;
  /** The digest that the image's tag had on the first node that pulled it; the other nodes get the same image. */
  pinned?: string;
}
