import { UsageError } from '../errors.ts';
import type { NodeSelector } from '../validate/spec.ts';
import type { ClusterNode } from './facts.ts';
import { parseLabelSelector } from './label-selector.ts';
import type { Finding } from './plan-types.ts';
import { compareNatural } from './versions.ts';

/** Which nodes a command means; each part narrows the one before. */
export interface SelectionOptions {
  /** The spec's nodeselector; missing for commands without a spec, which then mean every node. */
  nodeselector?: NodeSelector;
  includeControlPlane: boolean;
  /** `-l`, as kubectl reads it. */
  selector?: string;
  /** `--nodes`. */
  nodes?: readonly string[];
  /** `--exclude`. */
  exclude?: readonly string[];
}

export interface Selection {
  /** All KubeOS nodes that the spec means, whatever narrows the run: the budget is counted over these. */
  addressed: readonly ClusterNode[];
  /** The nodes of this run. */
  selected: readonly ClusterNode[];
  /** Every other node, and what left it out. */
  leftOut: readonly { node: string; because: string }[];
}

/** Nodes whose label has this key belong to the spec whose nodeselector is the label's value (KubeOS 1.0.7). */
const NODE_SELECTOR_LABEL = 'upgrade.openeuler.org/node-selector';

/**
 * Sorts the cluster's nodes into those that a run means and those it leaves out. Nodes are in natural order of name.
 * @param version a node that reports exactly this as its osImage is KubeOS too, whatever its name begins with
 * @throws UsageError for a name that is no node's, or a node named by `--nodes` that the command cannot mean
 */
export function selectNodes(nodes: readonly ClusterNode[], options: SelectionOptions, version?: string): Selection {
  const sorted = [...nodes].sort((a, b) => compareNatural(a.name, b.name));
  refuseUnknownNames('--nodes', options.nodes, sorted);
  refuseUnknownNames('--exclude', options.exclude, sorted);
  const matches = options.selector === undefined ? undefined : parseLabelSelector(options.selector);
  const addressed: ClusterNode[] = [];
  const selected: ClusterNode[] = [];
  const leftOut: { node: string; because: string }[] = [];
  for (const node of sorted) {
    const notMeant = whyNotAddressed(node, options, version);
    if (notMeant === undefined) addressed.push(node);
    else refuseNamed(node, notMeant, options);
    const because = notMeant?.because ?? whyNarrowedAway(node, options, matches);
    if (because === undefined) selected.push(node);
    else leftOut.push({ node: node.name, because });
  }
  return { addressed, selected, leftOut };
}

/** What to say where nothing is selected: what left the nodes out. */
export function emptySelection(selection: Selection): Finding | undefined {
  if (selection.selected.length > 0) return undefined;
  const reasons = new Map<string, string[]>();
  for (const { node, because } of selection.leftOut) reasons.set(because, [...(reasons.get(because) ?? []), node]);
  return {
    what: 'no node is selected',
    reason:
      reasons.size === 0
        ? 'the cluster has no nodes'
        : [...reasons].map(([because, names]) => `${names.join(', ')}: ${because}`).join('\n'),
    next: 'change --nodes, --selector, --exclude, --include-control-plane or the nodeselector of the spec',
  };
}

interface NotMeant {
  because: string;
  next: string;
}

function whyNotAddressed(node: ClusterNode, options: SelectionOptions, version?: string): NotMeant | undefined {
  if (!isKubeOS(node, version)) {
    return { because: `not KubeOS (${node.osImage === '' ? 'no osImage reported' : node.osImage})`, next: '' };
  }
  if (node.controlPlane && !options.includeControlPlane) {
    return { because: 'control plane; --include-control-plane', next: 'add --include-control-plane' };
  }
  const selector = options.nodeselector ?? { kind: 'all' };
  if (matchesNodeSelector(node, selector)) return undefined;
  const label = node.labels[NODE_SELECTOR_LABEL];
  const has = label === undefined ? 'no such label' : JSON.stringify(label);
  return {
    because: `the spec's nodeselector (label ${NODE_SELECTOR_LABEL}: ${has})`,
    next: "change the spec's nodeselector or the node's label",
  };
}

/** KubeOS names itself so in PRETTY_NAME, which the kubelet reports as osImage. */
export const isKubeOS = (node: ClusterNode, version?: string): boolean =>
  node.osImage.startsWith('KubeOS') || (version !== undefined && node.osImage === version);

/** As KubeOS's operator reads the field: `no-label` wants nodes without the label, `all-label` takes every node. */
function matchesNodeSelector(node: ClusterNode, selector: NodeSelector): boolean {
  const label = node.labels[NODE_SELECTOR_LABEL];
  switch (selector.kind) {
    case 'all':
      return true;
    case 'no-label':
      return label === undefined;
    case 'value':
      return label === selector.value;
  }
}

function whyNarrowedAway(
  node: ClusterNode,
  options: SelectionOptions,
  matches: ((labels: ClusterNode['labels']) => boolean) | undefined,
): string | undefined {
  if (options.exclude?.includes(node.name) === true) return '--exclude';
  if (options.nodes !== undefined && !options.nodes.includes(node.name)) return 'not in --nodes';
  if (matches !== undefined && !matches(node.labels)) return `--selector ${options.selector ?? ''}`;
  return undefined;
}

/** @throws UsageError where a flag names a node that the cluster does not have */
export function refuseUnknownNames(
  flag: string,
  names: readonly string[] | undefined,
  nodes: readonly ClusterNode[],
): void {
  const known = new Set(nodes.map((node) => node.name));
  const unknown = (names ?? []).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new UsageError(`${flag} names ${unknown.join(', ')}, which the cluster does not have`, {
    next: `use the names that the cluster uses: ${[...known].slice(0, 20).join(', ')}${known.size > 20 ? ' …' : ''}`,
  });
}

/** A node asked for by name is never passed over in silence. */
function refuseNamed(node: ClusterNode, notMeant: NotMeant, options: SelectionOptions): void {
  if (options.nodes?.includes(node.name) !== true || options.exclude?.includes(node.name) === true) return;
  const next = notMeant.next === '' ? `take ${node.name} out of --nodes` : notMeant.next;
  throw new UsageError(`--nodes names ${node.name}, which is left out`, { reason: notMeant.because, next });
}
