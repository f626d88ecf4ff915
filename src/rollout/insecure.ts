import pLimit from 'p-limit';
import { KubeosError } from '../errors.ts';
import type { UpgradeSpec } from '../validate/index.ts';
import type { Cluster, Remote } from './ports.ts';
import { selectNodes, type SelectionOptions } from './selection.ts';

/** Which nodes were told that the image's address is insecure. */
export interface InsecureReport {
  told: readonly string[];
  unreached: readonly { node: string; because: string }[];
}

const TOLD_AT_ONCE = 64;

/**
 * For a spec whose image is on http without flagSafe: nothing is downloaded, and the log of each selected node that is
 * to be upgraded says so (KubeOS's usage instructions demand it).
 * @param message what the nodes' logs shall say
 */
export async function reportInsecure(
  { cluster, remote }: { cluster: Cluster; remote: Remote },
  spec: UpgradeSpec,
  selection: Omit<SelectionOptions, 'nodeselector'>,
  message: string,
): Promise<InsecureReport> {
  const nodes = await cluster.nodes();
  const { selected } = selectNodes(nodes, { ...selection, nodeselector: spec.nodeselector }, spec.osversion);
  const concerned = selected.filter((node) => node.osImage !== spec.osversion);
  const limit = pLimit(TOLD_AT_ONCE);
  const outcomes = await Promise.allSettled(concerned.map((node) => limit(() => remote.log(node, message))));
  const told: string[] = [];
  const unreached: { node: string; because: string }[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    const node = concerned[index]?.name ?? '';
    if (outcome.status === 'fulfilled') told.push(node);
    else if (outcome.reason instanceof KubeosError) unreached.push({ node, because: outcome.reason.message });
    else throw outcome.reason;
  }
  return { told, unreached };
}
