import { createHash } from 'node:crypto';
import type { Core } from './core.ts';
import { deleteObject } from './deletes.ts';
import type { ResourceKind } from './kinds.ts';
import {
  at,
  controllerOf,
  isObject,
  isReady,
  listAt,
  numberAt,
  textAt,
  type Draft,
  type JsonObject,
  type KubeObject,
} from './objects.ts';
import { selectorMatcher } from './selectors.ts';
import { createObject } from './writes.ts';

/** What the workload controllers of a real cluster do: as many pods as their owners want, and the owners' status. */
export function syncReplicas(core: Core): void {
  const { store, catalog } = core;
  for (const owner of store.list(catalog.byName('deployments'))) syncDeployment(core, owner);
  for (const owner of store.list(catalog.byName('replicasets'))) syncReplicaSet(core, owner);
  for (const owner of store.list(catalog.byName('statefulsets'))) syncStatefulSet(core, owner);
  for (const owner of store.list(catalog.byName('daemonsets'))) syncDaemonSet(core, owner);
}

const wanted = (owner: KubeObject): number => numberAt(owner, 'spec', 'replicas') ?? 1;

const ownedBy = (core: Core, kind: ResourceKind, owner: KubeObject): KubeObject[] =>
  core.store.list(kind, owner.metadata.namespace).filter((one) => controllerOf(one)?.uid === owner.metadata.uid);

const isLeaving = (object: KubeObject): boolean => object.metadata.deletionTimestamp !== undefined;

/** One ReplicaSet a template; earlier ones go down to nothing. */
function syncDeployment(core: Core, owner: KubeObject): void {
  const sets = core.catalog.byName('replicasets');
  const template = at(owner, 'spec', 'template');
  if (!isObject(template)) return;
  const hash = createHash('sha256').update(JSON.stringify(template)).digest('hex').slice(0, 10);
  const name = `${owner.metadata.name}-${hash}`;
  const owned = ownedBy(core, sets, owner);
  const current = owned.find((set) => set.metadata.name === name);
  for (const set of owned) setReplicas(core, sets, set, set === current ? wanted(owner) : 0);
  if (current === undefined && !isLeaving(owner)) {
    const labels = { ...stringMap(at(template, 'metadata', 'labels')), 'pod-template-hash': hash };
    const selector = {
      matchLabels: { ...stringMap(at(owner, 'spec', 'selector', 'matchLabels')), 'pod-template-hash': hash },
    };
    const metadata = { ...objectAt(template, 'metadata'), labels };
    const spec = { replicas: wanted(owner), selector, template: { ...template, metadata } };
    make(core, sets, owner, { metadata: { name, labels }, spec });
  }
  const [replicas, readyReplicas] = ['replicas', 'readyReplicas'].map((field) =>
    owned.reduce((sum, set) => sum + (numberAt(set, 'status', field) ?? 0), 0),
  ) as [number, number];
  const updatedReplicas = numberAt(current, 'status', 'replicas') ?? 0;
  setStatus(core, owner, { replicas, updatedReplicas, readyReplicas, availableReplicas: readyReplicas });
}

function setReplicas(core: Core, kind: ResourceKind, owner: KubeObject, replicas: number): void {
  if (wanted(owner) === replicas) return;
  const metadata = { ...owner.metadata, generation: (owner.metadata.generation ?? 0) + 1 };
  core.store.replace(kind, { ...owner, metadata, spec: { ...owner.spec, replicas } });
}

function syncReplicaSet(core: Core, owner: KubeObject): void {
  const pods = core.catalog.byName('pods');
  const isOver = (pod: KubeObject): boolean => ['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase'));
  const active = ownedBy(core, pods, owner).filter((pod) => !isLeaving(pod) && !isOver(pod));
  if (!isLeaving(owner)) {
    for (let i = active.length; i < wanted(owner); i++) {
      make(core, pods, owner, { metadata: { generateName: `${owner.metadata.name}-` } });
    }
    // The unready ones go first.
    const spare = [...active].sort((a, b) => Number(isReady(a)) - Number(isReady(b)));
    for (const pod of spare.slice(0, Math.max(0, active.length - wanted(owner)))) end(core, pod);
  }
  const readyReplicas = active.filter(isReady).length;
  setStatus(core, owner, { replicas: active.length, readyReplicas, availableReplicas: readyReplicas });
}

/** A name of its own for each pod: the next one waits until the last one of its name is gone. */
function syncStatefulSet(core: Core, owner: KubeObject): void {
  const pods = core.catalog.byName('pods');
  const owned = ownedBy(core, pods, owner);
  const names = Array.from({ length: wanted(owner) }, (_, index) => `${owner.metadata.name}-${index}`);
  if (!isLeaving(owner)) {
    for (const name of names) {
      if (core.store.get(pods, owner.metadata.namespace ?? '', name) === undefined) {
        make(core, pods, owner, { metadata: { name, labels: { 'statefulset.kubernetes.io/pod-name': name } } });
      }
    }
    for (const pod of owned) if (!names.includes(pod.metadata.name) && !isLeaving(pod)) end(core, pod);
  }
  const replicas = owned.length;
  const readyReplicas = owned.filter((pod) => isReady(pod) && !isLeaving(pod)).length;
  const counts = { replicas, currentReplicas: replicas, updatedReplicas: replicas };
  setStatus(core, owner, { ...counts, readyReplicas, availableReplicas: readyReplicas });
}

/** One pod on each node that its template selects, cordoned and unready ones included. */
function syncDaemonSet(core: Core, owner: KubeObject): void {
  const pods = core.catalog.byName('pods');
  const selector = at(owner, 'spec', 'template', 'spec', 'nodeSelector');
  const matches = selectorMatcher({ matchLabels: isObject(selector) ? selector : {} });
  const nodes = core.store.list(core.catalog.byName('nodes')).filter(matches);
  const owned = ownedBy(core, pods, owner);
  for (const { metadata } of isLeaving(owner) ? [] : nodes) {
    if (owned.some((pod) => textAt(pod, 'spec', 'nodeName') === metadata.name)) continue;
    const spec = { nodeName: metadata.name, tolerations: [{ operator: 'Exists' }] };
    make(core, pods, owner, { metadata: { generateName: `${owner.metadata.name}-` }, spec });
  }
  const ready = owned.filter((pod) => isReady(pod) && !isLeaving(pod)).length;
  setStatus(core, owner, {
    ...{ desiredNumberScheduled: nodes.length, currentNumberScheduled: owned.length, numberMisscheduled: 0 },
    ...{ numberReady: ready, numberAvailable: ready, updatedNumberScheduled: owned.length },
  });
}

/** Makes an object of an owner; a pod from the owner's template, with what `draft` adds. */
function make(core: Core, kind: ResourceKind, owner: KubeObject, draft: Draft): void {
  const template = kind.plural === 'pods' ? at(owner, 'spec', 'template') : undefined;
  const { apiVersion, kind: ownerKind, metadata } = owner;
  const reference = { apiVersion, kind: ownerKind, name: metadata.name, uid: metadata.uid };
  const fromTemplate = isObject(template) ? template : {};
  const body = {
    metadata: {
      ...objectAt(fromTemplate, 'metadata'),
      ...draft.metadata,
      labels: { ...stringMap(at(template, 'metadata', 'labels')), ...draft.metadata?.labels },
      ownerReferences: [{ ...reference, controller: true, blockOwnerDeletion: true }],
    },
    spec: { ...objectAt(fromTemplate, 'spec'), ...draft.spec },
  };
  createObject(core, { kind, namespace: metadata.namespace ?? '' }, body);
}

function end(core: Core, { metadata }: KubeObject): void {
  const target = { kind: core.catalog.byName('pods'), namespace: metadata.namespace ?? '', name: metadata.name };
  deleteObject(core, target, { dryRun: false, propagationPolicy: '', preconditions: {} });
}

function setStatus(core: Core, owner: KubeObject, counts: JsonObject): void {
  const kind = core.catalog.kinds.find((one) => one.kind === owner.kind);
  const fresh =
    kind === undefined ? undefined : core.store.get(kind, owner.metadata.namespace ?? '', owner.metadata.name);
  if (kind === undefined || fresh === undefined) return;
  const conditions = listAt(fresh, 'status', 'conditions') as JsonObject[];
  const kept = conditions.length === 0 ? {} : { conditions };
  core.store.replace(kind, {
    ...fresh,
    status: { ...kept, ...counts, observedGeneration: fresh.metadata.generation ?? 1 },
  });
}

const stringMap = (value: unknown): Record<string, string> =>
  isObject(value) ? (value as Record<string, string>) : {};

const objectAt = (value: JsonObject, key: string): JsonObject => (isObject(value[key]) ? value[key] : {});
