import { ConnectError, type KubeosError } from '../errors.ts';
import type { ClusterNode, NodeObservation } from './facts.ts';
import { heartbeat, Pulse } from './health.ts';
import type { Finding } from './plan-types.ts';
import type { Clock, Cluster, Remote } from './ports.ts';

/**
 * What it means that a node's kubelet tells of another boot than the machine that SSH reaches.
 *
 * - `other machine`: the kubelet lives all the same, so that it is not this machine's.
 * - `unreported`: nothing is heard of the kubelet: the machine was reset, and it has not reported since.
 */
export type BootDoubt = 'other machine' | 'unreported';

interface Neighbours {
  cluster: Pick<Cluster, 'nodes' | 'heartbeat'>;
  remote: Pick<Remote, 'observe'>;
  clock: Clock;
}

interface Suspect {
  node: ClusterNode;
  seen: NodeObservation;
  pulse: Pulse;
}

const LOOK_MS = 1000;
/** A kubelet beats every 10 s, and the cluster stops calling one Ready that has been silent for 40 or 50 s. */
const PATIENCE_MS = 60_000;

/**
 * Ready nodes whose bootID (status.nodeInfo, which the kubelet reports when it starts) is not that of the machine which
 * answers SSH. One that was reset a moment ago looks the same until its kubelet reports: so it is looked again, until
 * the two agree, or two heartbeats have proved that the kubelet lives and still tells of another boot.
 * @param observed what SSH showed of them
 * @returns by node, what is doubtful; mostly at once, after a minute at most
 */
export async function findBootDoubts(
  { cluster, remote, clock }: Neighbours,
  nodes: readonly ClusterNode[],
  observed: ReadonlyMap<string, NodeObservation | KubeosError>,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, BootDoubt>> {
  const doubts = new Map<string, BootDoubt>();
  let suspects = nodes.flatMap((node): Suspect[] => {
    const seen = observed.get(node.name);
    return seen === undefined || seen instanceof Error || !differ(node, seen)
      ? []
      : [{ node, seen, pulse: new Pulse() }];
  });
  const until = clock.now() + PATIENCE_MS;
  while (suspects.length > 0) {
    await Promise.all(suspects.map(async ({ node, pulse }) => pulse.take(await heartbeat(cluster, node.name))));
    const now = new Map((await cluster.nodes(signal)).map((node) => [node.name, node]));
    const left = suspects.filter(({ node, seen }) => differ(now.get(node.name), seen));
    for (const { node, seen, pulse } of left) {
      if (pulse.problem() === undefined && (await bootOf(remote, node, signal)) === seen.bootId)
        doubts.set(node.name, 'other machine');
    }
    suspects = left.filter(({ pulse }) => pulse.problem() !== undefined);
    if (suspects.length === 0) break;
    if (clock.now() >= until) {
      for (const { node } of suspects) doubts.set(node.name, 'unreported');
      break;
    }
    await clock.sleep(LOOK_MS, signal);
  }
  return doubts;
}

/** One that is not Ready says nothing of its boot that could be relied on. */
const differ = (node: ClusterNode | undefined, seen: NodeObservation): boolean =>
  node?.ready === true && node.bootId !== '' && seen.bootId !== '' && node.bootId !== seen.bootId;

/** A node that was reset meanwhile, or is not reached any more, is no other machine for that. */
async function bootOf(remote: Pick<Remote, 'observe'>, node: ClusterNode, signal?: AbortSignal): Promise<string> {
  try {
    return (await remote.observe(node, signal)).bootId;
  } catch (error) {
    if (error instanceof ConnectError) return '';
    throw error;
  }
}

export const OTHER_MACHINE: Finding = {
  what: 'SSH reaches another machine than the one whose kubelet is this node',
  reason: 'the kubelet lives, and tells the cluster of another boot than the machine shows that answers SSH',
  next: 'see where its address leads (--hosts FILE, --address-type, ssh_config), then give the same command again',
};

export const UNREPORTED: Finding = {
  what: 'its kubelet has not reported since its last boot',
  reason: 'nothing was heard of it for a minute, though the cluster calls the node Ready',
  next: 'see why on the node (systemctl status kubelet): unless it is Ready after the trial boot, the node is sent back',
};
