import type { Core } from './core.ts';
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
  const bodyDryRun = isObject(body) && Array.isArray(body['dryRun']) ? body['dryRun'] : [];
  const seconds = graceOf(query.get('gracePeriodSeconds'), body);
  return {
    dryRun: [...query.getAll('dryRun'), ...bodyDryRun].includes('All'),
    ...(seconds === undefined ? {} : { gracePeriodSeconds: seconds }),
    propagationPolicy: query.get('propagationPolicy') ?? textAt(body, 'propagationPolicy'),
    preconditions: { ...texts(body, 'uid'), ...texts(body, 'resourceVersion') },
  };
}

function graceOf(asked: string | null, body: Json | undefined): number | undefined {
  const seconds = asked === null ? numberAt(body, 'gracePeriodSeconds') : Number(asked);
  if (seconds === undefined || (Number.isInteger(seconds) && seconds >= 0)) return seconds;
  throw badRequest(`gracePeriodSeconds: Invalid value: ${seconds}: must be a whole number of at least 0`);
}

function texts(body: Json | undefined, field: string): Record<string, string> {
  const value = textAt(body, 'preconditions', field);
  return value === '' ? {} : { [field]: value };
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
  const isShown = ['pods', 'namespaces'].includes(kind.plural);
  const grace = kind.plural === 'pods' ? podGrace(current, options.gracePeriodSeconds) : 0;
  const waits = grace > 0 || (current.metadata.finalizers ?? []).length > 0;
  const marked = markDeleted(core, current, grace);
  if (options.dryRun) return isShown ? marked : deleted(target, current);
  if (options.propagationPolicy === 'Orphan') orphan(core, current);
  if (waits) return core.store.replace(kind, marked);
  const last = takeOut(core, target) ?? marked;
  return isShown ? last : deleted(target, current);
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
        const metadata = { ...object.metadata, ownerReferences: others };
        if (others.length === 0) Reflect.deleteProperty(metadata, 'ownerReferences');
        core.store.replace(kind, { ...object, metadata });
      }
    }
  }
}

function takeOut(core: Core, { kind, namespace, name }: Target): KubeObject | undefined {
  if (kind.plural === 'namespaces') emptyNamespace(core, name);
  const last = core.store.remove(kind, namespace, name);
  if (last !== undefined) core.applied.forget(last.metadata.uid);
  return last;
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
