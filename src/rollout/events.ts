import type { Operation, Slot, Verified } from './facts.ts';
import type { LockState } from './lock-state.ts';
import type { Plan } from './plan-types.ts';
import type { Outcome, Step } from './steps.ts';
import type { ExitCode } from '../exit-codes.ts';

/** How one node's way ended, with all that a report needs. */
export interface NodeResult {
  node: string;
  outcome: Outcome;
  /** The OS version it ran before. */
  from: string;
  /** The OS version it runs now, as far as it is known. */
  now?: string;
  /** The slot it runs now, as far as it is known. */
  slot?: Slot;
  /** The step that failed; missing on success. */
  step?: Step;
  /** What happened, in a few words: `slot B booted, kubelet not Ready for 10m`. */
  what?: string;
  /** Why. */
  reason?: string;
  /** How the run leaves the node, where it stopped in the midst of its way. */
  left?: string;
  /** What to do next. */
  next?: string;
  logTail: readonly string[];
  /** Its last lines were said to this run, by kubectl or by a step's script: the node's own log has them not. */
  saidToRun?: true;
  /** What the proof of its other slot stood on; missing where this run verified nothing. */
  proof?: Verified['basis'];
  /** What hands other than the run's did to it meanwhile; missing where nothing was noticed. */
  noticed?: readonly string[];
  /** Milliseconds from its start to its end; 0 where it was not started. */
  tookMs: number;
  /** Milliseconds between its cordon and its uncordon; missing where it never was unavailable by us. */
  unavailableMs?: number;
  /** The node could not be reached or signed in to (a reason for exit 10 where all are so). */
  unreachable: boolean;
}

/** How a rollout ended; `kubeos upgrade -o json` prints it. */
export interface RolloutResult {
  run: string;
  operation: Operation;
  version: string;
  exitCode: ExitCode;
  results: readonly NodeResult[];
  /** Why no further node was started; missing where all were. */
  stopped?: string;
  /** Nodes that joined the cluster meanwhile, and that the run left alone; missing where none did. */
  joined?: readonly string[];
  tookMs: number;
}

/** What happens during a rollout, in order; `at` is the clock's milliseconds. Reports are drawn from these alone. */
export type RolloutEvent = { at: number } &
  /** The lock is another's; `timeoutMs` is how long a live holder is waited for (0: for ever; missing: not at all). */
  (
    | { type: 'lock-waiting'; holder: LockState; alive: boolean; timeoutMs?: number }
    /** The lock is ours after a wait, or `from` a dead holder. */
    | { type: 'lock-taken'; waitedMs: number; from?: LockState }
    | { type: 'rollout-started'; run: string; plan: Plan }
    | { type: 'node-started'; node: string; slot: Slot }
    | { type: 'step-started'; node: string; step: Step; slot?: Slot }
    | { type: 'step-progress'; node: string; step: Step; doneBytes: number; totalBytes?: number }
    | { type: 'step-waiting'; node: string; step: Step; for: string }
    | { type: 'step-done'; node: string; step: Step; detail: string; tookMs: number; skipped: boolean }
    | { type: 'notice'; node?: string; message: string }
    | { type: 'budget-waiting'; eatenBy: readonly string[]; timeoutMs: number }
    | { type: 'node-done'; result: NodeResult }
    | { type: 'stopping'; reason: string }
    | { type: 'rollout-done'; result: RolloutResult }
  );
