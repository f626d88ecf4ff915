import { ApiUnreachableError, KubeosError } from '../errors.ts';
import type { ClusterView } from './cluster-view.ts';
import type { ClusterNode } from './facts.ts';
import type { Clock, Cluster } from './ports.ts';

/** How a booted node must look before it counts as healthy. */
export interface HealthCheck {
  node: string;
  /** The boot that is judged, as the node itself named it. */
  bootId: string;
  /** What the kubelet must report as osImage, byte for byte. */
  version: string;
  /** Milliseconds in which the API answers, else it says nothing of the node; 0 waits for ever. */
  timeoutMs: number;
}

export type Health =
  | { verdict: 'healthy' }
  | { verdict: 'unhealthy'; because: string }
  /** The kubelet tells of yet another boot. */
  | { verdict: 'rebooted' };

interface Watching {
  cluster: Cluster;
  clock: Clock;
  view: ClusterView;
}

/** Often at first, for what is nearly there already. */
const POLL_MS = [250, 250, 500, 500, 1000, 2000];
const HEARTBEATS = 2;

/**
 * Waits until the kubelet reports this very boot and version as Ready, and has renewed its Lease twice since: two
 * changes of the mark prove a live kubelet without comparing any clocks.
 * @throws the signal's reason
 */
export async function waitHealthy(
  check: HealthCheck,
  { cluster, clock, view }: Watching,
  onWaiting: (because: string) => void,
  signal: AbortSignal,
): Promise<Health> {
  const limit = new Limit(clock, check.timeoutMs);
  const firstSeen = view.find(check.node)?.bootId;
  const pulse = new Pulse();
  let told = '';
  for (let count = 0; ; count++) {
    signal.throwIfAborted();
    pulse.take(await limit.ask(() => heartbeat(cluster, check.node)));
    const node = view.find(check.node);
    if (anotherBoot(node, check.bootId, firstSeen)) return { verdict: 'rebooted' };
    const problem = problemOf(node, check) ?? pulse.problem();
    if (problem === undefined) return { verdict: 'healthy' };
    const left = limit.left();
    if (left <= 0) return { verdict: 'unhealthy', because: limit.away ? API_AWAY : problem };
    if (problem !== told) onWaiting(problem);
    told = problem;
    await clock.sleep(Math.min(POLL_MS[count] ?? 2000, left), signal);
  }
}

const API_AWAY = "the cluster's API does not answer";
/** An answer that took longer came only after the API had been away: the adapter asks again by itself. */
const SLOW_MS = 10_000;
/** The kubelet renews its Lease every 10 seconds (a quarter of 40 s), and tries every 7 while the API is away. */
const TWO_BEATS_MS = 40_000;
/** A node that takes the API down for good, as the only control plane may, must still be sent back some time. */
const MOST_STANDING_MS = 10 * 60_000;

/** The time for a node's health, which stands still while the API cannot tell of it. */
class Limit {
  /** The API does not answer now. */
  away = false;
  readonly #clock: Clock;
  #deadline: number;
  #answeredAt: number;
  #standing = MOST_STANDING_MS;

  constructor(clock: Clock, timeoutMs: number) {
    this.#clock = clock;
    this.#answeredAt = clock.now();
    this.#deadline = timeoutMs === 0 ? Infinity : clock.now() + timeoutMs;
  }

  /** Asks the API; resolves to undefined where it does not answer. */
  async ask<T>(question: () => Promise<T>): Promise<T | undefined> {
    const askedAt = this.#clock.now();
    try {
      const answer = await question();
      this.away = false;
      return answer;
    } catch (error) {
      if (!(error instanceof ApiUnreachableError)) throw error;
      this.away = true;
      return undefined;
    } finally {
      this.#count(this.away || this.#clock.now() - askedAt > SLOW_MS);
    }
  }

  left(): number {
    return this.#deadline - this.#clock.now();
  }

  #count(wasAway: boolean): void {
    const now = this.#clock.now();
    if (wasAway && this.#standing > 0) {
      const stood = Math.min(now - this.#answeredAt, this.#standing);
      this.#standing -= stood;
      // The kubelet could not beat either: it gets the time for that once the API answers again.
      this.#deadline = Math.max(this.#deadline + stood, now + TWO_BEATS_MS);
    }
    this.#answeredAt = now;
  }
}

/** Counts how often the heartbeat's mark changed. */
export class Pulse {
  #mark: string | undefined;
  #beats = 0;

  take(mark: string | undefined): void {
    if (mark === undefined) return;
    if (this.#mark !== undefined && mark !== this.#mark) this.#beats++;
    this.#mark = mark;
  }

  /** What is missing of the proof that the kubelet lives; undefined once it is proved. */
  problem(): string | undefined {
    if (this.#beats >= HEARTBEATS) return undefined;
    return this.#mark === undefined ? 'no heartbeat' : `${this.#beats} of ${HEARTBEATS} heartbeats`;
  }
}

/** An answer that is of no use is no news about the node. */
export async function heartbeat(cluster: Pick<Cluster, 'heartbeat'>, node: string): Promise<string | undefined> {
  try {
    return await cluster.heartbeat(node);
  } catch (error) {
    if (error instanceof KubeosError && !(error instanceof ApiUnreachableError)) return undefined;
    throw error;
  }
}

function anotherBoot(node: ClusterNode | undefined, bootId: string, firstSeen: string | undefined): boolean {
  return node !== undefined && node.bootId !== bootId && node.bootId !== firstSeen;
}

function problemOf(node: ClusterNode | undefined, check: HealthCheck): string | undefined {
  if (node === undefined) return 'the node is not in the cluster';
  if (node.bootId !== check.bootId) return 'the kubelet has not reported since this boot';
  if (!node.ready) return `kubelet not Ready${node.notReadyBecause === undefined ? '' : `: ${node.notReadyBecause}`}`;
  if (node.osImage !== check.version) return `the kubelet reports ${node.osImage}`;
  return undefined;
}
