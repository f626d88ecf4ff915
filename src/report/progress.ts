import type { NodeResult, RolloutEvent } from '../rollout/events.ts';
import type { Slot } from '../rollout/facts.ts';
import { STEPS, type Step } from '../rollout/steps.ts';
import type { LockWaitEvent } from './lock-wait.ts';

/** One node on its way, as far as events told. Times are the clock's milliseconds. */
export interface NodeProgress {
  readonly node: string;
  readonly startedAt: number;
  readonly slot: Slot;
  step?: Step;
  stepSlot?: Slot;
  stepStartedAt: number;
  bytes?: { done: number; total?: number; at: number; perSecond?: number };
  /** What it waits for; `key` is the same as long as only a time in the text has changed. */
  waiting?: { for: string; key: string; since: number };
}

/** Steps in which a node is unavailable by this run: from its cordon to its uncordon. */
const UNAVAILABLE_FROM = STEPS.indexOf('drain');

/** How quickly the shown speed follows the measured one. */
const SMOOTHING_MS = 10_000;

/** What all events so far add up to; terminal and plain lines are drawn from it. */
export class Progress {
  version = '';
  startedAt = 0;
  total = 0;
  done = 0;
  budget = 0;
  /** No further node will be started. */
  stopping = false;
  /** Nodes that use up the budget while nothing is in flight. */
  budgetEatenBy: readonly string[] = [];
  /** Another run's lock is waited for; `since` is when that began. */
  lockWait: (LockWaitEvent & { since: number }) | undefined;
  readonly #inFlight = new Map<string, NodeProgress>();
  readonly #planned = new Set<string>();
  readonly #downBefore = new Set<string>();
  readonly #tookMs: number[] = [];

  /** In the order in which they were started. */
  get inFlight(): readonly NodeProgress[] {
    return [...this.#inFlight.values()];
  }

  node(name: string): NodeProgress | undefined {
    return this.#inFlight.get(name);
  }

  /**
   * How many nodes this run has made unavailable right now. Never more than the budget: a node beyond it that begins its
   * drain still waits for a place, not yet cordoned.
   */
  get unavailable(): number {
    const away = this.inFlight.filter(
      ({ node, step }) => stepIndex(step) >= UNAVAILABLE_FROM && !this.#downBefore.has(node),
    );
    return Math.min(this.budget, away.length);
  }

  apply(event: RolloutEvent): void {
    switch (event.type) {
      case 'lock-waiting':
        this.lockWait = { ...event, since: this.lockWait?.since ?? event.at };
        break;
      case 'lock-taken':
        this.lockWait = undefined;
        break;
      case 'rollout-started':
        this.#begin(event);
        break;
      case 'node-started':
        this.budgetEatenBy = [];
        this.#inFlight.set(event.node, {
          node: event.node,
          slot: event.slot,
          startedAt: event.at,
          stepStartedAt: event.at,
        });
        break;
      case 'budget-waiting':
        this.budgetEatenBy = event.eatenBy;
        break;
      case 'stopping':
        this.stopping = true;
        break;
      case 'node-done':
        this.#finish(event.result);
        break;
      default:
        this.#applyToStep(event);
    }
  }

  /** Milliseconds until all is done, guessed from the nodes that went all the way; undefined before the first has. */
  remainingMs(now: number): number | undefined {
    if (this.#tookMs.length === 0 || this.stopping) return undefined;
    const mean = this.#tookMs.reduce((sum, one) => sum + one, 0) / this.#tookMs.length;
    const underWay = this.inFlight.map(({ startedAt }) => Math.max(mean / 10, mean - (now - startedAt)));
    const waiting = Math.max(0, this.total - this.done - underWay.length);
    if (waiting + underWay.length === 0) return undefined;
    const atOnce = Math.max(1, Math.min(this.budget, waiting + underWay.length));
    const work = underWay.reduce((sum, one) => sum + one, waiting * mean);
    return Math.max(work / atOnce, ...underWay);
  }

  #begin({ at, plan }: Extract<RolloutEvent, { type: 'rollout-started' }>): void {
    this.version = plan.version;
    this.startedAt = at;
    this.total = plan.entries.length;
    this.budget = plan.maxUnavailable;
    for (const { node, alreadyDown } of plan.entries) {
      this.#planned.add(node);
      if (alreadyDown) this.#downBefore.add(node);
    }
  }

  #finish(result: NodeResult): void {
    this.#inFlight.delete(result.node);
    if (!this.#planned.delete(result.node)) return;
    this.done += 1;
    if (result.outcome === 'upgraded' || result.outcome === 'rolled back') this.#tookMs.push(result.tookMs);
  }

  #applyToStep(event: RolloutEvent): void {
    if (!('step' in event)) return;
    const node = this.#inFlight.get(event.node);
    if (node === undefined) return;
    if (event.type === 'step-started' || node.step !== event.step) startStep(node, event.step, event.at);
    if (event.type === 'step-started' && event.slot !== undefined) node.stepSlot = event.slot;
    if (event.type === 'step-progress') countBytes(node, event.at, event.doneBytes, event.totalBytes);
    if (event.type === 'step-waiting') wait(node, event.at, event.for);
    if (event.type === 'step-done') {
      delete node.waiting;
      delete node.bytes;
    }
  }
}

/** The same for two waits that differ only in how long they have lasted. */
export const waitKey = (text: string): string => text.replace(/(?<=^|[\s(])(?:\d+(?:d|h|ms|m|s)\s?)+(?![\w.-])/g, '#');

export const stepIndex = (step: Step | undefined): number => (step === undefined ? -1 : STEPS.indexOf(step));

function startStep(node: NodeProgress, step: Step, at: number): void {
  node.step = step;
  node.stepStartedAt = at;
  delete node.stepSlot;
  delete node.bytes;
  delete node.waiting;
}

function wait(node: NodeProgress, at: number, text: string): void {
  const key = waitKey(text);
  node.waiting = { for: text, key, since: node.waiting?.key === key ? node.waiting.since : at };
}

/** The first count is only the base, since a step that is taken up again starts in the middle. */
function countBytes(node: NodeProgress, at: number, done: number, total: number | undefined): void {
  delete node.waiting;
  const before = node.bytes;
  const counted = { done, ...(total === undefined ? {} : { total }) };
  if (before === undefined || done < before.done) {
    node.bytes = { ...counted, at };
    return;
  }
  const elapsedMs = at - before.at;
  if (elapsedMs <= 0 || done === before.done) {
    node.bytes = { ...before, ...counted };
    return;
  }
  const measured = ((done - before.done) / elapsedMs) * 1000;
  const weight = before.perSecond === undefined ? 1 : 1 - Math.exp(-elapsedMs / SMOOTHING_MS);
  const perSecond = (before.perSecond ?? 0) * (1 - weight) + measured * weight;
  node.bytes = { ...counted, at, perSecond };
}
