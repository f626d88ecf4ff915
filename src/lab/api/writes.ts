import { isDeepStrictEqual } from 'node:util';
import type { Core } from './core.ts';
import { initialStatus, normalized, withDefaults } from './defaults.ts';
import { apiVersionOf, type ResourceKind } from './kinds.ts';
import { isObject, textAt, type Draft, type Json, type JsonObject, type KubeObject } from './objects.ts';
import { ApiError, alreadyExists, badRequest, conflict, invalid, notFound } from './status-errors.ts';
import { decodingProblem, validate } from './validation.ts';

/** Which object a write is about. */
export interface Target {
  kind: ResourceKind;
  /** Empty for kinds without namespaces. */
  namespace: string;
  name: string;
}

/** Makes an object as a POST does. Throws ApiError: 400, 404 (namespace), 409, 422. */
export function createObject(core: Core, target: Omit<Target, 'name'>, body: Json, dryRun = false): KubeObject {
  const { kind } = target;
  const namespace = kind.namespaced ? target.namespace : '';
  const object = drafted(kind, namespace, checkedBody(kind, body));
  refuseUndecodable(kind, object);
  validate(kind, object);
  const namespaces = core.catalog.byName('namespaces');
  if (namespace !== '' && core.store.get(namespaces, '', namespace) === undefined)
    throw notFound(namespaces, namespace);
  const name = textAt(object, 'metadata', 'name');
  if (core.store.get(kind, namespace, name) !== undefined) throw alreadyExists(kind, name);
  const status = initialStatus(kind);
  const draft = { ...withDefaults(kind, object), ...(status === undefined ? {} : { status }) } as Draft;
  return dryRun ? core.store.asCreated(kind, draft) : core.store.create(kind, draft);
}

/** What was sent, with its name and place, without what the server alone decides. */
function drafted(kind: ResourceKind, namespace: string, sent: JsonObject): JsonObject {
  const metadata = isObject(sent['metadata']) ? sent['metadata'] : {};
  const place = namespace === '' ? {} : { namespace };
  if (namespace !== '' && (textAt(metadata, 'namespace') || namespace) !== namespace) {
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  }
  if (textAt(metadata, 'resourceVersion') !== '') {
    // Seen on v1.34.4: a 500 without a reason.
    throw new ApiError(500, '', 'resourceVersion should not be set on objects to be created');
  }
  const name = textAt(metadata, 'name') || generatedName(textAt(metadata, 'generateName'));
  const object = normalized(kind, { ...sent, metadata: { ...own(metadata), ...place, name } });
  // A kubelet registers its node with its status; everything else gets one from the server.
  if (kind.hasStatus && kind.plural !== 'nodes') Reflect.deleteProperty(object, 'status');
  return object;
}

export interface UpdateOptions {
  dryRun?: boolean;
  /** `status` changes the status alone; without it the status stays as it is. */
  subresource?: '' | 'status';
  /** What a patch made of the current object, as opposed to what a client sent whole. */
  patched?: boolean;
}

/** Replaces an object as a PUT does, or as the last part of a PATCH. Throws ApiError: 400, 404, 409, 422. */
export function updateObject(core: Core, target: Target, body: Json, options: UpdateOptions = {}): KubeObject {
  const { kind, namespace, name } = target;
  const sent = checkedBody(kind, body);
  const current = core.store.get(kind, namespace, name);
  if (current === undefined) {
    if (!kind.createOnUpdate || options.patched === true) throw notFound(kind, name);
    const uid = textAt(sent, 'metadata', 'uid');
    if (uid !== '')
      throw conflict(kind, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: `);
    return createObject(core, target, withoutVersion(sent), options.dryRun);
  }
  refuseOtherIdentity(target, current, sent, options.patched === true);
  const next = merged(kind, current, normalized(kind, sent), options.subresource === 'status');
  refuseUndecodable(kind, next as unknown as JsonObject);
  validate(kind, next as unknown as JsonObject);
  if (kind.plural === 'pods') refusePodChange(kind, current, next);
  if (options.dryRun === true) return next;
  const stored = core.store.replace(kind, next);
  return isGone(stored) ? (core.store.remove(kind, namespace, name) ?? stored) : stored;
}

function withoutVersion(sent: JsonObject): JsonObject {
  const metadata: JsonObject = { ...(isObject(sent['metadata']) ? sent['metadata'] : {}) };
  Reflect.deleteProperty(metadata, 'resourceVersion');
  return { ...sent, metadata };
}

/** A deletion that only waited for its finalizers is over. */
const isGone = ({ metadata }: KubeObject): boolean =>
  metadata.deletionTimestamp !== undefined &&
  (metadata.deletionGracePeriodSeconds ?? 0) === 0 &&
  (metadata.finalizers ?? []).length === 0;

function refuseOtherIdentity(target: Target, current: KubeObject, sent: JsonObject, patched: boolean): void {
  const { kind, name } = target;
  const sentName = textAt(sent, 'metadata', 'name');
  if (sentName !== name) {
    throw badRequest(`the name of the object (${sentName}) does not match the name on the URL (${name})`);
  }
  const uid = textAt(sent, 'metadata', 'uid');
  if (uid !== '' && uid !== current.metadata.uid) {
    if (patched) {
      const message = `Invalid value: ${JSON.stringify(uid)}: field is immutable`;
      throw invalid(kind, name, [{ reason: 'FieldValueInvalid', message, field: 'metadata.uid' }]);
    }
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata.uid}`;
    throw conflict(kind, name, why);
  }
  const version = textAt(sent, 'metadata', 'resourceVersion');
  if (version === '' && !patched && NEEDS_VERSION.has(kind.plural)) {
    const message = 'Invalid value: 0: must be specified for an update';
    throw invalid(kind, name, [{ reason: 'FieldValueInvalid', message, field: 'metadata.resourceVersion' }]);
  }
  if (version !== '' && version !== current.metadata.resourceVersion) throw conflict(kind, name);
}

/** Kinds whose PUT must say which version it replaces; seen on v1.34.4. */
const NEEDS_VERSION: ReadonlySet<string> = new Set(['leases', 'poddisruptionbudgets', 'os']);

/** The sent object with everything that the server alone decides taken from the current one. */
function merged(kind: ResourceKind, current: KubeObject, sent: JsonObject, statusOnly: boolean): KubeObject {
  const sentMetadata = isObject(sent['metadata']) ? sent['metadata'] : {};
  const kept = kind.custom && statusOnly ? current.metadata : own(sentMetadata);
  const metadata = { ...kept, ...serverOwned(current) } as KubeObject['metadata'];
  if (statusOnly) {
    const next: KubeObject = { ...current, metadata };
    if (isObject(sent['status'])) next.status = sent['status'];
    return next;
  }
  const next = { ...sent, apiVersion: current.apiVersion, kind: current.kind, metadata } as KubeObject;
  if (kind.hasStatus) {
    Reflect.deleteProperty(next, 'status');
    if (current.status !== undefined) next.status = current.status;
  }
  if (kind.hasGeneration && !isDeepStrictEqual(next.spec, current.spec)) {
    next.metadata = { ...metadata, generation: (current.metadata.generation ?? 0) + 1 };
  }
  return next;
}

const SERVER_OWNED = [
  ...['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'deletionTimestamp'],
  'deletionGracePeriodSeconds',
] as const;

const own = (metadata: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(metadata).filter(([key]) => !(SERVER_OWNED as readonly string[]).includes(key)));

function serverOwned({ metadata }: KubeObject): Partial<KubeObject['metadata']> {
  const place = metadata.namespace === undefined ? {} : { namespace: metadata.namespace };
  const kept = SERVER_OWNED.filter((key) => metadata[key] !== undefined).map((key) => [key, metadata[key]]);
  return { name: metadata.name, ...place, ...(Object.fromEntries(kept) as Partial<KubeObject['metadata']>) };
}

function checkedBody(kind: ResourceKind, body: Json): JsonObject {
  if (!isObject(body)) throw badRequest(`the object provided is unrecognized (must be of type ${kind.kind})`);
  const [sentKind, sentVersion] = [textAt(body, 'kind') || kind.kind, textAt(body, 'apiVersion')];
  const versions = kind.versions.map((version) => apiVersionOf(kind, version));
  if (sentKind !== kind.kind || (sentVersion !== '' && !versions.includes(sentVersion))) {
    throw badRequest(`${sentKind} in version "${sentVersion}" cannot be handled as a ${kind.kind}`);
  }
  return body;
}

function refuseUndecodable(kind: ResourceKind, object: JsonObject): void {
  const problem = decodingProblem(kind, object);
  if (problem === undefined) return;
  const version = apiVersionOf(kind);
  throw badRequest(`${kind.kind} in version "${version}" cannot be handled as a ${kind.kind}: ${problem}`);
}

function refusePodChange(kind: ResourceKind, before: KubeObject, after: KubeObject): void {
  const fixed = ({ spec }: KubeObject): JsonObject => {
    const rest: JsonObject = { ...spec };
    for (const field of ['tolerations', 'activeDeadlineSeconds', 'terminationGracePeriodSeconds']) {
      Reflect.deleteProperty(rest, field);
    }
    const containers = Array.isArray(rest['containers']) ? rest['containers'] : [];
    return { ...rest, containers: containers.map((one) => (isObject(one) ? { ...one, image: '' } : one)) };
  };
  if (isDeepStrictEqual(fixed(before), fixed(after))) return;
  const message =
    'Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';
  throw invalid(kind, after.metadata.name, [{ reason: 'FieldValueForbidden', message, field: 'spec' }]);
}

/** The letters that Kubernetes makes names of: none that form words. */
const LETTERS = 'bcdfghjklmnpqrstvwxz2456789';

export function generatedName(prefix: string): string {
  if (prefix === '') return '';
  const suffix = Array.from({ length: 5 }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)] ?? 'x');
  return prefix + suffix.join('');
}
