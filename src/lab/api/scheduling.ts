import type { Core } from './core.ts';
import { changedCondition } from './kubelet.ts';
import {
  at,
  conditionOf,
  controllerOf,
  isObject,
  isReady,
  listAt,
  textAt,
  timestamp,
  type KubeObject,
} from './objects.ts';
import { selectorMatcher } from './selectors.ts';

/** Binds every pod that has no node to the emptiest one that may take it; says so on the pod where there is none. */
export function schedulePods(core: Core): void {
  const kind = core.catalog.byName('pods');
  const pods = core.store.list(kind);
  const waiting = pods.filter((pod) => nodeOf(pod) === '' && pod.metadata.deletionTimestamp === undefined);
  if (waiting.length === 0) return;
  const nodes = core.store.list(core.catalog.byName('nodes'));
  const bound = new Map(nodes.map((node): [string, KubeObject[]] => [node.metadata.name, []]));
  for (const pod of pods) bound.get(nodeOf(pod))?.push(pod);
  for (const pod of waiting) {
    const podsOn = (node: KubeObject): readonly KubeObject[] => bound.get(node.metadata.name) ?? [];
    const fitting = nodes.filter((node) => mayTake(node, pod, podsOn(node)));
    const node = emptiest(pod, fitting, podsOn);
    if (node === undefined) markUnschedulable(core, pod, nodes.length);
    else bound.get(node.metadata.name)?.push(core.store.replace(kind, boundTo(node, pod)));
  }
}

const nodeOf = (pod: KubeObject): string => textAt(pod, 'spec', 'nodeName');

const boundTo = ({ metadata }: KubeObject, pod: KubeObject): KubeObject => ({
  ...pod,
  spec: { ...pod.spec, nodeName: metadata.name },
});

function markUnschedulable(core: Core, pod: KubeObject, nodes: number): void {
  const message = `0/${nodes} nodes are available`;
  const now = timestamp(core.clock.now());
  const before = conditionOf(pod, 'PodScheduled');
  const condition = changedCondition(before, 'PodScheduled', 'False', now, { reason: 'Unschedulable', message });
  core.store.replace(core.catalog.byName('pods'), { ...pod, status: { ...pod.status, conditions: [condition] } });
}

/** The node with the fewest pods of the same owner, then with the fewest pods. */
function emptiest(
  pod: KubeObject,
  nodes: readonly KubeObject[],
  podsOn: (node: KubeObject) => readonly KubeObject[],
): KubeObject | undefined {
  const owner = controllerOf(pod)?.uid;
  const loads = nodes.map((node) => {
    const here = podsOn(node);
    const siblings = owner === undefined ? 0 : here.filter((other) => controllerOf(other)?.uid === owner).length;
    return { node, load: siblings * 1000 + here.length };
  });
  return loads.sort((a, b) => a.load - b.load)[0]?.node;
}

function mayTake(node: KubeObject, pod: KubeObject, here: readonly KubeObject[]): boolean {
  if (!isReady(node)) return false;
  const wanted = at(pod, 'spec', 'nodeSelector');
  if (isObject(wanted) && !selectorMatcher({ matchLabels: wanted })(node)) return false;
  // A cordon counts as its taint, which may come a moment later: who tolerates that is placed on a cordoned node.
  const cordon = at(node, 'spec', 'unschedulable') === true ? [UNSCHEDULABLE] : [];
  const hard = listAt(node, 'spec', 'taints').filter((taint) => textAt(taint, 'effect') !== 'PreferNoSchedule');
  const taints = [...cordon, ...hard];
  return taints.every((taint) => tolerates(pod, taint)) && !isKeptApart(pod, here);
}

const UNSCHEDULABLE = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };

/** The rule of a taint and a toleration: key, operator, value, effect. */
function tolerates(pod: KubeObject, taint: unknown): boolean {
  return listAt(pod, 'spec', 'tolerations').some((toleration) => {
    const key = textAt(toleration, 'key');
    const effect = textAt(toleration, 'effect');
    const exists = textAt(toleration, 'operator') === 'Exists';
    return (
      (key === '' ? exists : key === textAt(taint, 'key')) &&
      (exists || textAt(toleration, 'value') === textAt(taint, 'value')) &&
      (effect === '' || effect === textAt(taint, 'effect'))
    );
  });
}

/** Required anti-affinity by host name: a pod that it names is on this node already. */
function isKeptApart(pod: KubeObject, here: readonly KubeObject[]): boolean {
  const path = ['spec', 'affinity', 'podAntiAffinity', 'requiredDuringSchedulingIgnoredDuringExecution'];
  return listAt(pod, ...path).some((term) => {
    if (textAt(term, 'topologyKey') !== 'kubernetes.io/hostname') return false;
    const matches = selectorMatcher(at(term, 'labelSelector'));
    return here.some((other) => other.metadata.namespace === pod.metadata.namespace && matches(other));
  });
}
