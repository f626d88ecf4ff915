import type { KubeosError } from '../errors.ts';
import type { ClusterNode, NodeObservation } from './facts.ts';
import type { Finding } from './plan-types.ts';

/**
 * Nodes that SSH finds on one machine: an address that is another node's, by a hosts file or by what a kubelet says of
 * itself, must not have that node drained for this one. A boot id is random and new with each boot (Linux, random(4)).
 * @returns by node, what forbids to start it
 */
export function sameMachines(
  observed: ReadonlyMap<string, NodeObservation | KubeosError>,
  nodes: readonly ClusterNode[],
): ReadonlyMap<string, Finding> {
  const byBoot = new Map<string, string[]>();
  // Of a node that nobody asked by SSH, its kubelet tells the boot.
  for (const { name, bootId } of nodes) {
    const seen = observed.get(name);
    if ((seen === undefined || seen instanceof Error) && bootId !== '') byBoot.set(bootId, [name]);
  }
  for (const [node, seen] of observed) {
    if (seen instanceof Error || seen.bootId === '') continue;
    byBoot.set(seen.bootId, [...(byBoot.get(seen.bootId) ?? []), node]);
  }
  const findings = new Map<string, Finding>();
  for (const [bootId, nodes] of byBoot) {
    if (nodes.length < 2) continue;
    for (const node of nodes)
      findings.set(
        node,
        finding(
          bootId,
          nodes.filter((other) => other !== node),
        ),
      );
  }
  return findings;
}

const finding = (bootId: string, others: readonly string[]): Finding => ({
  what: `SSH reaches the same machine for it as for ${others.join(', ')}`,
  reason: `all answer with the boot id ${bootId}, so that it is not known which of them the machine is`,
  next: 'give each its own address: --hosts FILE, or another of its addresses: --address-type',
});
