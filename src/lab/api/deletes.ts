import type { Core } from './core.ts';
import { apiVersionOf } from './kinds.ts';
import { isObject, numberAt, textAt, timestamp, type Json, type KubeObject } from './objects.ts';
import { badRequest, conflict, notFound, success, type StatusBody } from './status-errors.ts';
import type { Target } from './writes.ts';

export interface DeleteOptions {
  dryRun: boolean;
  gracePeriodSeconds?: number;
  /** `Orphan` lets dependents live; everything else removes them in the background. */
  propagationPolicy: string;
  preconditions: { uid?: string; resourceVersion?: string };
}

/** Reads DeleteOptions from the query and the body; the query goes first, as on a real server. */
export function deleteOptions(query: URLSearchParams, body: Json | undefined): DeleteOptions {
  if (body !== undefined && body !== null && !isObject(body)) throw badRequest('the body is no DeleteOptions');
  const grace = query.get('gracePeriodSeconds');
  const seconds = grace === null ? numberAt(body, 'gracePeriodSeconds') : Number(grace);
  if (seconds !== undefined && (!Number.isInteger(seconds) || seconds < 0)) {
    throw badRequest(`gracePeriodSeconds: Invalid value: ${seconds}: must be a whole number of at least 0`);
  }
  const uid = textAt(body, 'preconditions', 'uid');
  const resourceVersion = textAt(body, 'preconditions', 'resourceVersion');
  const dryRun = isObject(body) && Array.isArray(body['dryRun']) && body['dryRun'].includes('All');
  return {
    dryRun: dryRun || query.getAll('dryRun').includes('All'),
    ...(seconds === undefined ? {} : { gracePeriodSeconds: seconds }),
    propagationPolicy: query.get('propagationPolicy') ?? textAt(body, 'propagationPolicy'),
    preconditions: { ...(uid === '' ? {} : { uid }), ...(resourceVersion === '' ? {} : { resourceVersion }) },
  };
}

/**
 * Deletes as a DELETE does: pods get their grace period, finalizers are waited for. Returns what the server answers:
 * the object where it is still there or is a pod or namespace, else a Status. Throws ApiError: 404, 409.
 */
export function deleteObject(core: Core, target: Target, options: DeleteOptions): KubeObject | StatusBody {
  const { kind, namespace, name } = target;
  const current = core.store.get(kind, namespace, name);
  if (current === undefined) throw notFound(kind, name);
  refuseOtherState(target, current, options);
  const grace = kind.plural === 'pods' ? podGrace(current, options.gracePeriodSeconds) : 0;
  const marked = markDeleted(core, current, grace);
  if (options.dryRun) return grace > 0 || kind.plural === 'pods' ? marked : deleted(target, current);
  if (options.propagationPolicy === 'Orphan') orphan(core, current);
  if (grace > 0 || (current.metadata.finalizers ?? []).length > 0) return core.store.replace(kind, marked);
  if (kind.plural === 'namespaces') emptyNamespace(core, name);
  const last = core.store.remove(kind, namespace, name);
  core.applied.forget(current.metadata.uid);
  return kind.plural === 'pods' || kind.plural === 'namespaces' ? (last ?? marked) : deleted(target, current);
}

function refuseOtherState(target: Target, current: KubeObject, { preconditions }: DeleteOptions): void {
  const { uid, resourceVersion } = current.metadata;
  if (preconditions.uid !== undefined && preconditions.uid !== uid) {
    const why = `the UID in the precondition (${preconditions.uid}) does not match the UID in record (${uid}). The object might have been deleted and then recreated`;
    throw conflict(target.kind, target.name, why);
  }
  if (preconditions.resourceVersion !== undefined && preconditions.resourceVersion !== resourceVersion) {
    const why = `the ResourceVersion in the precondition (${preconditions.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion}). The object might have been modified`;
    throw conflict(target.kind, target.name, why);
  }
}

/** Pods that run nowhere, or no longer, end at once. */
function podGrace(pod: KubeObject, asked: number | undefined): number {
  if (textAt(pod, 'spec', 'nodeName') === '' || ['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase')))
    return 0;
  const grace = asked ?? numberAt(pod, 'spec', 'terminationGracePeriodSeconds') ?? 30;
  // A deletion that runs already can only be made shorter.
  return Math.min(grace, pod.metadata.deletionGracePeriodSeconds ?? grace);
}

function markDeleted(core: Core, current: KubeObject, grace: number): KubeObject {
  const { metadata } = current;
  if (metadata.deletionTimestamp !== undefined && metadata.deletionGracePeriodSeconds === grace) return current;
  const deletionTimestamp = timestamp(core.clock.now() + grace * 1000);
  return { ...current, metadata: { ...metadata, deletionTimestamp, deletionGracePeriodSeconds: grace } };
}

function orphan(core: Core, owner: KubeObject): void {
  for (const kind of core.catalog.kinds) {
    for (const object of core.store.list(kind)) {
      const owners = object.metadata.ownerReferences ?? [];
      const others = owners.filter(({ uid }) => uid !== owner.metadata.uid);
      if (others.length < owners.length) {
        core.store.replace(kind, { ...object, metadata: { ...object.metadata, ownerReferences: others } });
      }
    }
  }
}

function emptyNamespace(core: Core, namespace: string): void {
  for (const kind of core.catalog.kinds.filter(({ namespaced }) => namespaced)) {
    for (const { metadata } of core.store.list(kind, namespace)) core.store.remove(kind, namespace, metadata.name);
  }
}

const deleted = ({ kind, name }: Target, { metadata }: KubeObject): StatusBody =>
  success(undefined, {
    name,
    ...(kind.group === '' ? {} : { group: kind.group }),
    kind: kind.plural,
    uid: metadata.uid,
  });

/** A list as the server answers it. */
export const asList = (
  target: Pick<Target, 'kind'>,
  version: string,
  items: readonly unknown[],
  meta: object,
): object => ({
  kind: `${target.kind.kind}List`,
  apiVersion: apiVersionOf(target.kind, version),
  metadata: meta,
  items,
});
