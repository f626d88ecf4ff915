import type { Core } from './core.ts';
import { changedCondition } from './kubelet.ts';
import {
  conditionOf,
  isReady,
  listAt,
  textAt,
  timestamp,
  type Condition,
  type JsonObject,
  type KubeObject,
} from './objects.ts';

/**
 * What the node controllers of a real cluster do: taints follow cordon and readiness, pods of a node that is not Ready
 * are not Ready either, pods of a node that is gone are removed.
 */
export function syncNodes(core: Core): void {
  const nodes = core.catalog.byName('nodes');
  for (const node of core.store.list(nodes)) {
    const taints = taintsOf(core, node);
    if (taints !== undefined) core.store.replace(nodes, { ...node, spec: withTaints(node, taints) });
  }
  const pods = core.catalog.byName('pods');
  for (const pod of core.store.list(pods)) {
    const name = textAt(pod, 'spec', 'nodeName');
    if (name === '') continue;
    const node = core.store.get(nodes, '', name);
    if (node === undefined) core.store.remove(pods, pod.metadata.namespace ?? '', pod.metadata.name);
    else if (!isReady(node) && isReady(pod)) markUnready(core, pod);
  }
}

const PREFIX = 'node.kubernetes.io/';
const MANAGED = ['unschedulable', 'not-ready', 'unreachable'].map((name) => PREFIX + name);

/** The taints that the node should have; undefined where it has them. */
function taintsOf(core: Core, node: KubeObject): JsonObject[] | undefined {
  const has = listAt(node, 'spec', 'taints') as JsonObject[];
  const ready = conditionOf(node, 'Ready')?.status ?? 'Unknown';
  const state = ready === 'False' ? 'not-ready' : 'unreachable';
  const wanted = [
    ...(node.spec?.['unschedulable'] === true ? [{ key: `${PREFIX}unschedulable`, effect: 'NoSchedule' }] : []),
    ...(ready === 'True' ? [] : ['NoSchedule', 'NoExecute'].map((effect) => ({ key: PREFIX + state, effect }))),
  ];
  const same = (a: JsonObject, b: JsonObject): boolean => a['key'] === b['key'] && a['effect'] === b['effect'];
  const kept = has.filter((taint) => !MANAGED.includes(textAt(taint, 'key')) || wanted.some((one) => same(one, taint)));
  const added = wanted.filter((taint) => !has.some((one) => same(one, taint)));
  if (kept.length === has.length && added.length === 0) return undefined;
  const timeAdded = timestamp(core.clock.now());
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded }))];
}

function withTaints(node: KubeObject, taints: JsonObject[]): JsonObject {
  const spec: JsonObject = { ...node.spec, taints };
  if (taints.length === 0) Reflect.deleteProperty(spec, 'taints');
  return spec;
}

function markUnready(core: Core, pod: KubeObject): void {
  const now = timestamp(core.clock.now());
  const conditions = (listAt(pod, 'status', 'conditions') as Condition[]).map((condition) =>
    condition.type === 'Ready' ? changedCondition(condition, 'Ready', 'False', now) : condition,
  );
  const status = { ...pod.status, conditions: conditions as unknown as JsonObject[] };
  core.store.replace(core.catalog.byName('pods'), { ...pod, status });
}
