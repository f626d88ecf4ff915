import type { KubeosError } from '../errors.ts';
import type { RolloutContext } from './context.ts';
import type { RolloutEvent } from './events.ts';
import type { ClusterNode, NodeRecord } from './facts.ts';
import type { PlanEntry } from './plan-types.ts';
import type { Assignment, Authority, Verified } from './ports.ts';
import type { Step } from './steps.ts';

/**
 * How far a node is, as it matters when something fails.
 *
 * - `before`: it would boot its old slot, for certain.
 * - `arming`: the other slot may be armed, or not.
 * - `armed`: it is armed, and has not been rebooted.
 * - `rebooting`: a reboot was ordered, and it has not been seen since.
 * - `trial`: it runs the other slot, which is not permanent.
 * - `returned`: it runs its old slot again.
 * - `committed`: the other slot is permanent.
 */
export type TripPhase = 'before' | 'arming' | 'armed' | 'rebooting' | 'trial' | 'returned' | 'committed';

/** One node on its way: what has been done to it in this run. */
export class Trip {
  readonly context: RolloutContext;
  readonly entry: PlanEntry;
  readonly startedAt: number;
  phase: TripPhase = 'before';
  step?: Step;
  /** The node, or its annotation, has seen a newer token than ours. */
  lockLost = false;
  /** The image is of a kind that kubeos does not write, which is so on every node. */
  imageRefused = false;
  /** It is up after its reboot, but its host key, its sign-in or what its system lacks is in the way. */
  shutOut?: KubeosError;
  /** Where it stands is known: until then it may well be armed, or on trial, by an earlier run. */
  stood = false;
  /** Our journal has been begun there, so that ending early must close it. */
  begun = false;
  /** What the proof of its other slot stood on. */
  proof?: Verified['basis'];
  /** Its dead man's timer is wound: a trial goes back by itself. */
  deadManWound = false;
  /** Its drain succeeded in this run. */
  drained = false;
  /** What our annotation says. */
  record: NodeRecord;
  /** The Node object that it is on. */
  uid: string | undefined;
  /** It was cordoned when its way began. */
  readonly wasCordoned: boolean;
  /** The taints that it had when its way began, and those that were told of. */
  readonly taints: Set<string>;
  /** The boot in which its way began. */
  bootId: string | undefined;
  /** What hands other than this run's did to it meanwhile. */
  readonly noticed: string[] = [];
  #lastSeen: ClusterNode | undefined;
  assignment: Assignment;
  cordonedAt: number | undefined;
  unavailableMs: number | undefined;

  constructor(context: RolloutContext, entry: PlanEntry, record: NodeRecord) {
    this.context = context;
    this.entry = entry;
    this.record = record;
    this.assignment = entry.assignment;
    this.startedAt = context.ports.clock.now();
    this.#lastSeen = context.view.find(entry.node);
    this.uid = this.#lastSeen?.uid;
    this.wasCordoned = this.#lastSeen?.cordoned ?? false;
    this.taints = new Set(this.#lastSeen?.taints);
  }

  get name(): string {
    return this.entry.node;
  }

  /** The node as the cluster shows it now, or showed it last: it can be reached and tidied up though it was deleted. */
  get node(): ClusterNode {
    this.#lastSeen = this.context.view.find(this.name) ?? this.#lastSeen;
    return this.#lastSeen ?? this.context.view.get(this.name);
  }

  get authority(): Authority {
    return { run: this.context.options.run, token: this.context.lock.token };
  }

  get now(): number {
    return this.context.ports.clock.now();
  }

  emit(event: EventBody): void {
    this.context.ports.report.event({ at: this.now, ...event });
  }

  notice(message: string): void {
    this.emit({ type: 'notice', node: this.name, message });
  }

  /** Tells once of what a hand other than this run's did. */
  foreign(message: string): void {
    if (this.noticed.includes(message)) return;
    this.noticed.push(message);
    this.notice(message);
  }

  waiting(because: string): void {
    if (this.step !== undefined) this.emit({ type: 'step-waiting', node: this.name, step: this.step, for: because });
  }

  /**
   * To be awaited before what need not be begun on this node; what brings a trial to its end goes on without.
   * @throws LockLostError, or whatever stops the run
   */
  async mayStart(): Promise<void> {
    const { lock, early } = this.context;
    if (this.phase !== 'trial') await lock.confirmStart(early);
  }

  skip(step: Step, detail = 'done in an earlier run'): void {
    this.emit({ type: 'step-done', node: this.name, step, detail, tookMs: 0, skipped: true });
  }
}

/** An event without its time. */
type EventBody = RolloutEvent extends infer Event ? (Event extends RolloutEvent ? Omit<Event, 'at'> : never) : never;
