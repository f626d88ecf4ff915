import { at, isObject, textAt, type Json, type JsonObject } from './objects.ts';
import type { ResourceKind } from './kinds.ts';

/** Fills in what a real server fills in, as far as kubectl or the controllers read it. Changes nothing in place. */
export function withDefaults(kind: ResourceKind, object: JsonObject): JsonObject {
  const spec = isObject(object['spec']) ? object['spec'] : undefined;
  switch (kind.plural) {
    case 'namespaces':
      return {
        ...object,
        metadata: withLabel(object, 'kubernetes.io/metadata.name', textAt(object, 'metadata', 'name')),
        spec: { finalizers: ['kubernetes'], ...spec },
      };
    case 'pods':
      return { ...object, spec: podSpec(spec ?? {}) };
    case 'deployments':
      return { ...object, spec: { replicas: 1, progressDeadlineSeconds: 600, strategy: ROLLING, ...templated(spec) } };
    case 'replicasets':
      return { ...object, spec: { replicas: 1, ...templated(spec) } };
    case 'statefulsets':
      return { ...object, spec: { replicas: 1, podManagementPolicy: 'OrderedReady', ...templated(spec) } };
    case 'daemonsets':
      return { ...object, spec: { updateStrategy: ROLLING, ...templated(spec) } };
    default:
      return object;
  }
}

/** The status of an object that has just been made; undefined where the kind has none or keeps what it was sent. */
export function initialStatus(kind: ResourceKind): JsonObject | undefined {
  switch (kind.plural) {
    case 'namespaces':
      return { phase: 'Active' };
    case 'pods':
      return { phase: 'Pending', qosClass: 'BestEffort' };
    case 'customresourcedefinitions':
      // What `kubectl wait --for=condition=Established` asks for.
      return { conditions: ['NamesAccepted', 'Established'].map((type) => ({ type, status: 'True' })) };
    default:
      return undefined;
  }
}

/**
 * Leaves out what a real server's encoder leaves out: nulls, empty maps and lists of the metadata, a false
 * `spec.unschedulable`.
 */
export function normalized(kind: ResourceKind, object: JsonObject): JsonObject {
  const result = withoutNulls(object) as JsonObject;
  const metadata: JsonObject = { ...(isObject(result['metadata']) ? result['metadata'] : {}) };
  for (const field of ['labels', 'annotations', 'ownerReferences', 'finalizers']) {
    const value = metadata[field];
    const size = Array.isArray(value) ? value.length : isObject(value) ? Object.keys(value).length : 1;
    if (size === 0) Reflect.deleteProperty(metadata, field);
  }
  for (const field of ['managedFields', 'selfLink']) Reflect.deleteProperty(metadata, field);
  result['metadata'] = metadata;
  if (kind.plural === 'nodes') result['spec'] = nodeSpec(result['spec']);
  return result;
}

function nodeSpec(spec: Json | undefined): JsonObject {
  const result: JsonObject = { ...(isObject(spec) ? spec : {}) };
  if (result['unschedulable'] === false) Reflect.deleteProperty(result, 'unschedulable');
  if (Array.isArray(result['taints']) && result['taints'].length === 0) Reflect.deleteProperty(result, 'taints');
  return result;
}

function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== null && inner !== undefined);
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutNulls(inner as Json)]));
}

const ROLLING = { type: 'RollingUpdate' };

function templated(spec: JsonObject | undefined): JsonObject {
  const template = spec?.['template'];
  if (!isObject(template)) return spec ?? {};
  const inner = isObject(template['spec']) ? template['spec'] : {};
  return { ...spec, template: { ...template, spec: containerDefaults({ ...POD_DEFAULTS, ...inner }) } };
}

const POD_DEFAULTS: JsonObject = {
  restartPolicy: 'Always',
  terminationGracePeriodSeconds: 30,
  dnsPolicy: 'ClusterFirst',
  schedulerName: 'default-scheduler',
  securityContext: {},
};

/** What the admission of a real server gives every pod: it stays five minutes on a node that is down. */
const STAYS = ['not-ready', 'unreachable'].map((state) => ({
  key: `node.kubernetes.io/${state}`,
  operator: 'Exists',
  effect: 'NoExecute',
  tolerationSeconds: 300,
}));

function podSpec(spec: JsonObject): JsonObject {
  const tolerations = Array.isArray(spec['tolerations']) ? spec['tolerations'] : [];
  const missing = STAYS.filter(({ key }) => !tolerations.some((has) => ['', key].includes(textAt(has, 'key'))));
  const base = { ...POD_DEFAULTS, serviceAccountName: 'default', enableServiceLinks: true, priority: 0 };
  return containerDefaults({ ...base, ...spec, tolerations: [...tolerations, ...missing] });
}

function containerDefaults(spec: JsonObject): JsonObject {
  const containers = spec['containers'];
  if (!Array.isArray(containers)) return spec;
  const filled = containers.map((container) =>
    isObject(container) ? { imagePullPolicy: 'IfNotPresent', resources: {}, ...container } : container,
  );
  return { ...spec, containers: filled };
}

function withLabel(object: JsonObject, key: string, value: string): JsonObject {
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  const labels = at(metadata, 'labels');
  return { ...metadata, labels: { ...(isObject(labels) ? labels : {}), [key]: value } };
}
