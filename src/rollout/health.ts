import { KubeosError } from '../errors.ts';
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
  /** Milliseconds; 0 waits for ever. */
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

const POLL_MS = 2000;
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
  const deadline = check.timeoutMs === 0 ? Infinity : clock.now() + check.timeoutMs;
  const firstSeen = view.find(check.node)?.bootId;
  const pulse = new Pulse();
  let told = '';
  for (;;) {
    signal.throwIfAborted();
    pulse.take(await heartbeat(cluster, check.node));
    const node = view.find(check.node);
    if (anotherBoot(node, check.bootId, firstSeen)) return { verdict: 'rebooted' };
    const problem = problemOf(node, check) ?? pulse.problem();
    if (problem === undefined) return { verdict: 'healthy' };
    const left = deadline - clock.now();
    if (left <= 0) return { verdict: 'unhealthy', because: problem };
    if (problem !== told) onWaiting(problem);
    told = problem;
    await clock.sleep(Math.min(POLL_MS, left), signal);
  }
}

/** Counts how often the heartbeat's mark changed. */
class Pulse {
  #mark: string | undefined;
  #beats = 0;

  take(mark: string | undefined): void {
    if (mark === undefined) return;
    if (this.#mark !== undefined && mark !== this.#mark) this.#beats++;
    this.#mark = mark;
  }

  problem(): string | undefined {
    if (this.#beats >= HEARTBEATS) return undefined;
    return this.#mark === undefined ? 'no heartbeat' : `${this.#beats} of ${HEARTBEATS} heartbeats`;
  }
}

/** The API may be away while a control plane boots: that is no news about the node. */
async function heartbeat(cluster: Cluster, node: string): Promise<string | undefined> {
  try {
    return await cluster.heartbeat(node);
  } catch (error) {
    if (error instanceof KubeosError) return undefined;
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
