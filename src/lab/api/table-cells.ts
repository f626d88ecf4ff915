import { humanSpan } from './age.ts';
import { at, conditionOf, isObject, listAt, numberAt, textAt, type KubeObject } from './objects.ts';

/** One column of a Table: how `kubectl get` heads it, and what stands in it. */
export interface Column {
  name: string;
  type: 'string' | 'integer';
  /** 1: shown with `-o wide` only. */
  priority: 0 | 1;
  cell(object: KubeObject, now: number): string | number;
}

const NONE = '<none>';

const text = (name: string, cell: Column['cell'], priority: 0 | 1 = 0): Column => ({
  name,
  type: 'string',
  priority,
  cell,
});
const wide = (name: string, cell: Column['cell']): Column => text(name, cell, 1);
const count = (name: string, ...path: string[]): Column => ({
  ...{ name, type: 'integer', priority: 0 },
  cell: (object) => numberAt(object, ...path) ?? 0,
});

const NAME = text('Name', (object) => object.metadata.name);
const since = (time: string, now: number): string => (time === '' ? '<unknown>' : humanSpan(now - Date.parse(time)));
const AGE = text('Age', (object, now) => since(object.metadata.creationTimestamp, now));

const containersOf = (object: KubeObject): readonly unknown[] => [
  ...listAt(object, 'spec', 'containers'),
  ...listAt(object, 'spec', 'template', 'spec', 'containers'),
];
const TEMPLATE = [
  wide('Containers', (object) =>
    containersOf(object)
      .map((one) => textAt(one, 'name'))
      .join(','),
  ),
  wide('Images', (object) =>
    containersOf(object)
      .map((one) => textAt(one, 'image'))
      .join(','),
  ),
];
const SELECTOR = wide('Selector', (object) => {
  const labels = at(object, 'spec', 'selector', 'matchLabels');
  return pairs(isObject(labels) ? labels : {});
});

const pairs = (labels: object): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${String(value)}`)
    .sort()
    .join(',') || NONE;

const outOf = (...path: string[]): Column =>
  text('Ready', (object) => `${numberAt(object, 'status', 'readyReplicas') ?? 0}/${numberAt(object, ...path) ?? 0}`);

/** The columns of each kind, as v1.34.4 has them; a kind that is not here shows its name and age. */
export const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  nodes: [
    NAME,
    text('Status', nodeStatus),
    text('Roles', nodeRoles),
    AGE,
    text('Version', (node) => textAt(node, 'status', 'nodeInfo', 'kubeletVersion')),
    wide('Internal-IP', (node) => nodeAddress(node, 'InternalIP')),
    wide('External-IP', (node) => nodeAddress(node, 'ExternalIP')),
    wide('OS-Image', (node) => textAt(node, 'status', 'nodeInfo', 'osImage') || '<unknown>'),
    wide('Kernel-Version', (node) => textAt(node, 'status', 'nodeInfo', 'kernelVersion') || '<unknown>'),
    wide('Container-Runtime', (node) => textAt(node, 'status', 'nodeInfo', 'containerRuntimeVersion') || '<unknown>'),
  ],
  pods: [
    NAME,
    text('Ready', (pod) => {
      const states = listAt(pod, 'status', 'containerStatuses');
      return `${states.filter((state) => at(state, 'ready') === true).length}/${containersOf(pod).length}`;
    }),
    text('Status', podStatus),
    text('Restarts', (pod) => {
      const restarts = listAt(pod, 'status', 'containerStatuses').map((state) => numberAt(state, 'restartCount') ?? 0);
      return String(restarts.reduce((sum, one) => sum + one, 0));
    }),
    AGE,
    wide('IP', (pod) => textAt(pod, 'status', 'podIP') || NONE),
    wide('Node', (pod) => textAt(pod, 'spec', 'nodeName') || NONE),
    wide('Nominated Node', () => NONE),
    wide('Readiness Gates', () => NONE),
  ],
  namespaces: [NAME, text('Status', (namespace) => textAt(namespace, 'status', 'phase')), AGE],
  events: [
    text('Last Seen', (event, now) => since(textAt(event, 'lastTimestamp') || textAt(event, 'eventTime'), now)),
    text('Type', (event) => textAt(event, 'type')),
    text('Reason', (event) => textAt(event, 'reason')),
    text('Object', (event) => {
      const [kind, name] = [textAt(event, 'involvedObject', 'kind'), textAt(event, 'involvedObject', 'name')];
      return `${kind.toLowerCase()}/${name}`;
    }),
    wide('Subobject', (event) => textAt(event, 'involvedObject', 'fieldPath')),
    wide('Source', (event) => textAt(event, 'source', 'component') || textAt(event, 'reportingComponent')),
    text('Message', (event) => textAt(event, 'message').trim()),
    wide('First Seen', (event, now) => since(textAt(event, 'firstTimestamp') || textAt(event, 'eventTime'), now)),
    wide('Count', (event) => numberAt(event, 'count') ?? 1),
    wide('Name', (event) => event.metadata.name),
  ],
  deployments: [
    ...[NAME, outOf('spec', 'replicas'), count('Up-to-date', 'status', 'updatedReplicas')],
    ...[count('Available', 'status', 'availableReplicas'), AGE, ...TEMPLATE, SELECTOR],
  ],
  replicasets: [
    ...[NAME, count('Desired', 'spec', 'replicas'), count('Current', 'status', 'replicas')],
    ...[count('Ready', 'status', 'readyReplicas'), AGE, ...TEMPLATE, SELECTOR],
  ],
  statefulsets: [NAME, outOf('spec', 'replicas'), AGE, ...TEMPLATE],
  daemonsets: [
    NAME,
    count('Desired', 'status', 'desiredNumberScheduled'),
    count('Current', 'status', 'currentNumberScheduled'),
    count('Ready', 'status', 'numberReady'),
    count('Up-to-date', 'status', 'updatedNumberScheduled'),
    count('Available', 'status', 'numberAvailable'),
    text('Node Selector', (set) => {
      const selector = at(set, 'spec', 'template', 'spec', 'nodeSelector');
      return pairs(isObject(selector) ? selector : {});
    }),
    ...[AGE, ...TEMPLATE, SELECTOR],
  ],
  poddisruptionbudgets: [
    NAME,
    text('Min Available', (budget) => amount(at(budget, 'spec', 'minAvailable'))),
    text('Max Unavailable', (budget) => amount(at(budget, 'spec', 'maxUnavailable'))),
    count('Allowed Disruptions', 'status', 'disruptionsAllowed'),
    AGE,
  ],
  customresourcedefinitions: [NAME, text('Created At', (definition) => definition.metadata.creationTimestamp)],
  leases: [NAME, text('Holder', (lease) => textAt(lease, 'spec', 'holderIdentity')), AGE],
};

export const PLAIN_COLUMNS: readonly Column[] = [NAME, AGE];

const amount = (value: unknown): string =>
  typeof value === 'number' || typeof value === 'string' ? String(value) : 'N/A';

function nodeStatus(node: KubeObject): string {
  const ready = conditionOf(node, 'Ready');
  const state = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return at(node, 'spec', 'unschedulable') === true ? `${state},SchedulingDisabled` : state;
}

function nodeRoles(node: KubeObject): string {
  const prefix = 'node-role.kubernetes.io/';
  const labels = Object.entries(node.metadata.labels ?? {});
  const roles = labels.flatMap(([key, value]) => {
    if (key.startsWith(prefix)) return [key.slice(prefix.length)];
    return key === 'kubernetes.io/role' && value !== '' ? [value] : [];
  });
  return roles.sort().join(',') || NONE;
}

function nodeAddress(node: KubeObject, type: string): string {
  const found = listAt(node, 'status', 'addresses').find((address) => textAt(address, 'type') === type);
  return textAt(found, 'address') || NONE;
}

function podStatus(pod: KubeObject): string {
  if (pod.metadata.deletionTimestamp !== undefined) return 'Terminating';
  const phase = textAt(pod, 'status', 'reason') || textAt(pod, 'status', 'phase');
  if (phase === 'Pending' && textAt(pod, 'spec', 'nodeName') !== '') return 'ContainerCreating';
  return phase === 'Succeeded' ? 'Completed' : phase;
}
