import { KubeosError, UsageError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode } from './facts.ts';
import type { Clock } from './ports.ts';

/** How many nodes may be unavailable at once. */
export type MaxUnavailable = { kind: 'count'; count: number } | { kind: 'percent'; percent: number };

/**
 * Reads `--maxunavailable`: a whole number of at least 1, or a percentage from 1% to 100%.
 * @throws UsageError
 */
export function parseMaxUnavailable(text: string): MaxUnavailable {
  const percent = /^(\d{1,3})%$/.exec(text.trim());
  if (percent !== null) {
    const value = Number(percent[1]);
    if (value >= 1 && value <= 100) return { kind: 'percent', percent: value };
  }
  const count = /^\d{1,9}$/.exec(text.trim());
  if (count !== null && Number(text) >= 1) return { kind: 'count', count: Number(text) };
  throw new UsageError(`--maxunavailable ${JSON.stringify(text)} is neither a count nor a percentage`, {
    next: 'write a whole number of at least 1, or a percentage from 1% to 100%, for example: --maxunavailable 25%',
  });
}

/** As a number of nodes: a percentage is rounded down, and at least 1. */
export const resolveMaxUnavailable = (value: MaxUnavailable, addressed: number): number =>
  value.kind === 'count' ? value.count : Math.max(1, Math.floor((addressed * value.percent) / 100));

/** A node that takes part in no service now: not Ready, or cordoned. */
export const isDown = (node: ClusterNode): boolean => !node.ready || node.cordoned;

/** Why a node counts as down, in words. */
export const whyDown = (node: ClusterNode): string =>
  [node.ready ? '' : 'not Ready', node.cordoned ? 'cordoned' : ''].filter((word) => word !== '').join(', ');

/** The budget stayed at 0 for as long as the user was willing to wait. */
export class BudgetError extends KubeosError {
  override readonly name = 'BudgetError';
}

export interface BudgetOptions {
  /** The nodes that the budget is counted over. */
  addressed: readonly string[];
  maxUnavailable: number;
  /** How long to wait while nothing in flight can free the budget, in milliseconds; 0 waits for ever. */
  waitMs: number;
  /** All nodes, as the watch last showed them. */
  nodes: () => ReadonlyMap<string, ClusterNode>;
  clock: Clock;
  onWaiting: (eatenBy: readonly string[]) => void;
}

const RECOUNT_MS = 1000;

/**
 * Keeps the number of unavailable nodes within the budget. It is asked twice for a node: before the node starts, and
 * again before its drain, since other nodes may have gone down meanwhile. A node that is down already takes nothing.
 */
export class BudgetGate {
  readonly #options: BudgetOptions;
  /** Nodes that were let in, from their start to their end. */
  readonly #admitted = new Set<string>();
  /** Nodes that we make unavailable, from just before the cordon on. */
  readonly #held = new Set<string>();

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  /**
   * Waits until one more node may start.
   * @throws BudgetError when the wait is over; the signal's reason when it is aborted
   */
  async admit(node: string, signal: AbortSignal): Promise<void> {
    await this.#take(node, this.#admitted, signal);
  }

  /** A node whose way is only to be finished starts: it waits for nothing, until it is to become unavailable. */
  enter(node: string): void {
    this.#admitted.add(node);
  }

  /**
   * Waits until one more node may become unavailable; throws like admit.
   * @param onQueued is told once, where others of this run use the budget up for now
   */
  async hold(node: string, signal: AbortSignal, onQueued?: () => void): Promise<void> {
    if (this.#held.has(node)) return;
    await this.#take(node, this.#held, signal, onQueued);
  }

  /** The node has ended; one that stays unavailable by our doing goes on being counted. */
  leave(node: string, stillHeld: boolean): void {
    this.#admitted.delete(node);
    if (!stillHeld) this.#held.delete(node);
  }

  /** The node counts as unavailable by our doing, even where the watch does not show it. */
  holds(node: string): boolean {
    return this.#held.has(node);
  }

  /** The nodes that are down and not ours, with why. */
  eatenBy(): readonly string[] {
    const nodes = this.#options.nodes();
    return this.#options.addressed.flatMap((name) => {
      const node = nodes.get(name);
      return node !== undefined && isDown(node) && !this.#admitted.has(name) ? [`${name} (${whyDown(node)})`] : [];
    });
  }

  async #take(node: string, taken: Set<string>, signal: AbortSignal, onQueued?: () => void): Promise<void> {
    const { clock, waitMs } = this.#options;
    let since: number | undefined;
    let queued = false;
    let told = false;
    for (;;) {
      signal.throwIfAborted();
      if (this.#hasRoomFor(node, taken)) {
        // In the same breath as the count, so that two nodes can never take the same place.
        taken.add(node);
        return;
      }
      const inFlight = [...taken].some((name) => name !== node && this.#admitted.has(name));
      if (inFlight) {
        if (!queued) onQueued?.();
        queued = true;
        since = undefined;
        told = false;
      } else {
        // Not at the first look: the watch may not show yet that the node before is back in service.
        if (since !== undefined && !told) {
          told = true;
          this.#options.onWaiting(this.eatenBy());
        }
        since ??= clock.now();
        if (waitMs > 0 && clock.now() - since >= waitMs) throw this.#exhausted(waitMs);
      }
      await clock.sleep(RECOUNT_MS, signal);
    }
  }

  #hasRoomFor(node: string, taken: ReadonlySet<string>): boolean {
    const nodes = this.#options.nodes();
    const down = (name: string): boolean => {
      const seen = nodes.get(name);
      return seen !== undefined && isDown(seen);
    };
    if (down(node)) return true;
    const unavailable = new Set(this.#options.addressed.filter(down));
    for (const name of [...taken, ...this.#held]) unavailable.add(name);
    unavailable.delete(node);
    return unavailable.size + 1 <= this.#options.maxUnavailable;
  }

  #exhausted(waitMs: number): BudgetError {
    const eaters = this.eatenBy();
    return new BudgetError('no node may become unavailable: the budget stayed used up', EXIT.refused, {
      reason:
        `${this.#options.maxUnavailable} may be unavailable at once, and these are, without this run: ` +
        `${eaters.join(', ') || 'none'} (waited ${Math.round(waitMs / 1000)}s, --budget-wait)`,
      next: 'bring those nodes back, or raise maxunavailable, then give the same command again',
    });
  }
}
