import type { Core } from './core.ts';
import type { JsonObject, KubeObject } from './objects.ts';
import { createObject } from './writes.ts';

/** What every pod of the lab can be given. */
export interface PodShape {
  labels?: Readonly<Record<string, string>>;
  /** POD_ANNOTATIONS among them say how the pod behaves. */
  annotations?: Readonly<Record<string, string>>;
  /** Has a volume whose data is lost with the pod. */
  emptyDir?: boolean;
  /** 30 by default. */
  terminationGracePeriodSeconds?: number;
  finalizers?: readonly string[];
}

/** A pod of its own; without `node` the scheduler finds one. */
export interface NewPod extends PodShape {
  namespace: string;
  name: string;
  node?: string;
}

/** Pods with an owner that brings them back. */
export interface NewWorkload extends PodShape {
  kind: 'Deployment' | 'ReplicaSet' | 'StatefulSet' | 'DaemonSet';
  namespace: string;
  name: string;
  /** How many pods; a DaemonSet has one a node. */
  replicas?: number;
  nodeSelector?: Readonly<Record<string, string>>;
  /** At most one of its pods on a node. */
  spread?: boolean;
}

export interface NewBudget {
  namespace: string;
  name: string;
  /** The pods' labels; by default `app: NAME`. */
  selector?: Readonly<Record<string, string>>;
  /** A number, or a percentage as text; exactly one of the two. */
  minAvailable?: number | string;
  maxUnavailable?: number | string;
}

/** Adds a namespace unless it is there. */
export function ensureNamespace(core: Core, name: string): void {
  const kind = core.catalog.byName('namespaces');
  if (core.store.get(kind, '', name) === undefined) createObject(core, { kind, namespace: '' }, { metadata: { name } });
}

/** Adds a bare pod, which nothing brings back. */
export function addPod(core: Core, pod: NewPod): KubeObject {
  ensureNamespace(core, pod.namespace);
  const template = podTemplate(pod.name, pod);
  const metadata = { ...(template['metadata'] as JsonObject), name: pod.name };
  const spec = { ...(template['spec'] as JsonObject), ...(pod.node === undefined ? {} : { nodeName: pod.node }) };
  return make(core, 'pods', pod.namespace, { metadata, spec });
}

/** Adds an owner; its pods follow by themselves, spread over the nodes, and each that goes is replaced. */
export function addWorkload(core: Core, workload: NewWorkload): KubeObject {
  ensureNamespace(core, workload.namespace);
  const { name, namespace, kind } = workload;
  const labels = { app: name, ...workload.labels };
  const template = podTemplate(name, { ...workload, labels });
  const spec: JsonObject = {
    ...(kind === 'DaemonSet' ? {} : { replicas: workload.replicas ?? 1 }),
    ...(kind === 'StatefulSet' ? { serviceName: name, podManagementPolicy: 'Parallel' } : {}),
    selector: { matchLabels: { app: name } },
    template: { ...template, spec: { ...(template['spec'] as JsonObject), ...placement(workload) } },
  };
  return make(core, `${kind.toLowerCase()}s`, namespace, { metadata: { name, labels }, spec });
}

/** Adds a PodDisruptionBudget; its status follows by itself. */
export function addBudget(core: Core, budget: NewBudget): KubeObject {
  ensureNamespace(core, budget.namespace);
  const { name, namespace, minAvailable, maxUnavailable } = budget;
  const spec: JsonObject = {
    selector: { matchLabels: { ...(budget.selector ?? { app: name }) } },
    ...(minAvailable === undefined ? {} : { minAvailable }),
    ...(maxUnavailable === undefined ? {} : { maxUnavailable }),
  };
  return make(core, 'poddisruptionbudgets', namespace, { metadata: { name }, spec });
}

/** Removes any object at once, whatever its grace period or finalizers; false where it was not there. */
export const removeNow = (core: Core, plural: string, namespace: string, name: string): boolean =>
  core.store.remove(core.catalog.byName(plural), namespace, name) !== undefined;

const make = (core: Core, plural: string, namespace: string, body: JsonObject): KubeObject =>
  createObject(core, { kind: core.catalog.byName(plural), namespace }, body);

function podTemplate(name: string, shape: PodShape): JsonObject {
  const { labels, annotations, emptyDir, terminationGracePeriodSeconds, finalizers } = shape;
  return {
    metadata: {
      labels: { ...(labels ?? { app: name }) },
      ...(annotations === undefined ? {} : { annotations: { ...annotations } }),
      ...(finalizers === undefined ? {} : { finalizers: [...finalizers] }),
    },
    spec: {
      containers: [{ name: 'main', image: `lab/${name}:1` }],
      ...(emptyDir === true ? { volumes: [{ name: 'scratch', emptyDir: {} }] } : {}),
      ...(terminationGracePeriodSeconds === undefined ? {} : { terminationGracePeriodSeconds }),
    },
  };
}

function placement({ name, nodeSelector, spread }: NewWorkload): JsonObject {
  const term = { labelSelector: { matchLabels: { app: name } }, topologyKey: 'kubernetes.io/hostname' };
  return {
    ...(nodeSelector === undefined ? {} : { nodeSelector: { ...nodeSelector } }),
    ...(spread === true
      ? { affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } }
      : {}),
  };
}
