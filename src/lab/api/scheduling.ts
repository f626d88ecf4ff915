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
  const pods = core.catalog.byName('pods');
  const nodes = core.store.list(core.catalog.byName('nodes'));
  for (const pod of core.store.list(pods)) {
    if (textAt(pod, 'spec', 'nodeName') !== '' || pod.metadata.deletionTimestamp !== undefined) continue;
    const bound = core.store.list(pods).filter((other) => textAt(other, 'spec', 'nodeName') !== '');
    const node = emptiest(
      pod,
      nodes.filter((candidate) => mayTake(candidate, pod, bound)),
      bound,
    );
    if (node === undefined) markUnschedulable(core, pod, nodes.length);
    else core.store.replace(pods, { ...pod, spec: { ...pod.spec, nodeName: node.metadata.name } });
  }
}

function markUnschedulable(core: Core, pod: KubeObject, nodes: number): void {
  const message = `0/${nodes} nodes are available`;
  const now = timestamp(core.clock.now());
  const before = conditionOf(pod, 'PodScheduled');
  const condition = changedCondition(before, 'PodScheduled', 'False', now, { reason: 'Unschedulable', message });
  core.store.replace(core.catalog.byName('pods'), { ...pod, status: { ...pod.status, conditions: [condition] } });
}

/** The node with the fewest pods of the same owner, then with the fewest pods. */
function emptiest(pod: KubeObject, nodes: readonly KubeObject[], bound: readonly KubeObject[]): KubeObject | undefined {
  const owner = controllerOf(pod)?.uid;
  const load = (node: KubeObject): number => {
    const here = bound.filter((other) => textAt(other, 'spec', 'nodeName') === node.metadata.name);
    const siblings = here.filter((other) => owner !== undefined && controllerOf(other)?.uid === owner);
    return siblings.length * 1000 + here.length;
  };
  return [...nodes].sort((a, b) => load(a) - load(b))[0];
}

function mayTake(node: KubeObject, pod: KubeObject, bound: readonly KubeObject[]): boolean {
  if (!isReady(node) || at(node, 'spec', 'unschedulable') === true) return false;
  const wanted = at(pod, 'spec', 'nodeSelector');
  if (isObject(wanted) && !selectorMatcher({ matchLabels: wanted })(node)) return false;
  const taints = listAt(node, 'spec', 'taints').filter((taint) => textAt(taint, 'effect') !== 'PreferNoSchedule');
  return taints.every((taint) => tolerates(pod, taint)) && !standsApart(pod, node, bound);
}

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
function standsApart(pod: KubeObject, node: KubeObject, bound: readonly KubeObject[]): boolean {
  const path = ['spec', 'affinity', 'podAntiAffinity', 'requiredDuringSchedulingIgnoredDuringExecution'];
  return listAt(pod, ...path).some((term) => {
    if (textAt(term, 'topologyKey') !== 'kubernetes.io/hostname') return false;
    const matches = selectorMatcher(at(term, 'labelSelector'));
    return bound.some(
      (other) =>
        textAt(other, 'spec', 'nodeName') === node.metadata.name &&
        other.metadata.namespace === pod.metadata.namespace &&
        matches(other),
    );
  });
}
