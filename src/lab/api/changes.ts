import type { Core } from './core.ts';
import { deleteObject, deleteOptions } from './deletes.ts';
import { serverSideApply } from './apply.ts';
import { apiVersionOf, type ResourceKind } from './kinds.ts';
import { isObject, textAt, type Json, type JsonObject, type KubeObject } from './objects.ts';
import { jsonPatch, mergePatch } from './patch.ts';
import { isTrue, matcherOf } from './reads.ts';
import { bodyOf, parseJson, type Request, type ResourcePath } from './requests.ts';
import { badRequest, invalid, notFound, unsupportedMediaType, type StatusBody } from './status-errors.ts';
import { strategicMergePatch } from './strategic.ts';
import { createObject, updateObject, type Target } from './writes.ts';

/** What a changing request answers. */
export interface Changed {
  code: number;
  body: KubeObject | StatusBody;
}

/** POST to a list. */
export function post(core: Core, kind: ResourceKind, path: ResourcePath, request: Request): Changed {
  const { namespace } = path;
  const body = createObject(core, { kind, namespace }, bodyOf(request) ?? {}, isDryRun(request, 'CreateOptions'));
  return { code: 201, body };
}

/** PUT of an object or of its status. */
export function put(core: Core, target: Target, path: ResourcePath, request: Request): Changed {
  const isNew = core.store.get(target.kind, target.namespace, target.name) === undefined;
  const dryRun = isDryRun(request, 'UpdateOptions');
  const body = updateObject(core, target, bodyOf(request) ?? {}, { dryRun, subresource: subresourceOf(path) });
  return { code: isNew ? 201 : 200, body };
}

const APPLY = 'application/apply-patch+yaml';
const PATCHES: Readonly<Record<string, (target: Json, patch: Json) => Json>> = {
  'application/json-patch+json': jsonPatch,
  'application/merge-patch+json': (target, patch) => {
    if (isObject(patch)) return mergePatch(target, patch);
    throw badRequest(
      'error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}',
    );
  },
  'application/strategic-merge-patch+json': strategicMergePatch,
};

/** PATCH of an object or of its status, in the four forms that real servers take (three for custom resources). */
export function patch(core: Core, target: Target, path: ResourcePath, request: Request): Changed {
  const { kind, namespace, name } = target;
  const accepted = [...Object.keys(PATCHES), APPLY].filter((type) => !kind.custom || !type.includes('strategic'));
  if (!accepted.includes(request.contentType)) throw unsupportedMediaType(accepted);
  const dryRun = isDryRun(request, 'PatchOptions');
  const sent = parseJson(request, 'error decoding patch');
  if (request.contentType === APPLY) return apply(core, target, path, request, sent, dryRun);
  const current = core.store.get(kind, namespace, name);
  if (current === undefined) throw notFound(kind, name);
  const patched = PATCHES[request.contentType]?.(current as unknown as Json, sent);
  if (!isObject(patched)) throw badRequest('the patch leaves no object');
  const body = updateObject(core, target, patched, { dryRun, subresource: subresourceOf(path), patched: true });
  return { code: 200, body };
}

/** YAML bodies are taken where they are JSON, which is what kubectl sends under this name. */
function apply(core: Core, target: Target, path: ResourcePath, request: Request, sent: Json, dryRun: boolean): Changed {
  const { kind, namespace, name } = target;
  const manager = request.query.get('fieldManager') ?? '';
  if (manager === '') {
    const cause = {
      reason: 'FieldValueRequired',
      message: 'Required value: is required for apply patch',
      field: 'fieldManager',
    };
    throw invalid({ ...kind, group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [cause]);
  }
  if (!isObject(sent) || textAt(sent, 'apiVersion') === '' || textAt(sent, 'kind') === '') {
    throw badRequest('error decoding patch: apiVersion and kind must be set');
  }
  const config = configOf(kind, sent, name);
  const current = core.store.get(kind, namespace, name);
  if (current === undefined) {
    if (subresourceOf(path) === 'status') throw notFound(kind, name);
    const made = createObject(core, { kind, namespace }, config, dryRun);
    if (!dryRun) core.applied.record(made.metadata.uid, manager, config);
    return { code: 201, body: made };
  }
  const { uid } = current.metadata;
  const merged = serverSideApply({
    ...{ current: current as unknown as JsonObject, config, custom: kind.custom },
    last: core.applied.of(uid, manager),
    others: core.applied.others(uid, manager),
    force: isTrue(request.query.get('force')),
  });
  const body = updateObject(core, target, merged, { dryRun, subresource: subresourceOf(path), patched: true });
  if (!dryRun) core.applied.record(uid, manager, config);
  return { code: 200, body };
}

/** The applied configuration without what only identifies the object. */
function configOf(kind: ResourceKind, sent: JsonObject, name: string): JsonObject {
  const metadata = isObject(sent['metadata']) ? sent['metadata'] : {};
  return { ...sent, apiVersion: apiVersionOf(kind), metadata: { ...metadata, name } };
}

/** DELETE of an object. */
export function remove(core: Core, target: Target, request: Request): Changed {
  isDryRun(request, 'DeleteOptions');
  return { code: 200, body: deleteObject(core, target, deleteOptions(request.query, bodyOf(request))) };
}

/** DELETE of a list: everything that the selectors match. */
export function removeAll(core: Core, kind: ResourceKind, path: ResourcePath, request: Request): object {
  const options = deleteOptions(request.query, bodyOf(request));
  const found = core.store.list(kind, path.namespace).filter(matcherOf(kind, request.query));
  for (const { metadata } of found) {
    deleteObject(core, { kind, namespace: metadata.namespace ?? '', name: metadata.name }, options);
  }
  const metadata = { resourceVersion: String(core.store.resourceVersion) };
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind, path.version), metadata, items: found };
}

/** GET, PUT and PATCH of …/scale (autoscaling/v1), which `kubectl scale` uses. */
export function scale(core: Core, target: Target, path: ResourcePath, request: Request): Changed {
  const { kind, namespace, name } = target;
  const current = core.store.get(kind, namespace, name);
  if (current === undefined) throw notFound(kind, name);
  const { resourceVersion, uid, creationTimestamp } = current.metadata;
  const shown = (object: KubeObject): KubeObject => ({
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion: object.metadata.resourceVersion, creationTimestamp },
    spec: { replicas: object.spec?.['replicas'] ?? 1 },
    status: { replicas: object.status?.['replicas'] ?? 0 },
  });
  if (request.method === 'GET') return { code: 200, body: shown(current) };
  const sent =
    request.method === 'PUT'
      ? bodyOf(request)
      : mergePatch(shown(current) as unknown as Json, parseJson(request, 'error decoding patch'));
  const wanted = isObject(sent) && isObject(sent['spec']) ? sent['spec']['replicas'] : undefined;
  if (typeof wanted !== 'number' || !Number.isInteger(wanted) || wanted < 0) {
    throw badRequest('Scale.spec.replicas must be a whole number of at least 0');
  }
  const version = textAt(sent, 'metadata', 'resourceVersion') || resourceVersion;
  const next = {
    ...current,
    metadata: { ...current.metadata, resourceVersion: version },
    spec: { ...current.spec, replicas: wanted },
  };
  const dryRun = isDryRun(request, 'UpdateOptions');
  return {
    code: 200,
    body: shown(updateObject(core, target, next as unknown as Json, { dryRun, patched: path.subresource !== '' })),
  };
}

const subresourceOf = (path: ResourcePath): '' | 'status' => (path.subresource === 'status' ? 'status' : '');

/** Seen on v1.34.4: anything but `All` is a 422. */
function isDryRun({ query }: Request, options: string): boolean {
  const given = query.getAll('dryRun').filter((value) => value !== '');
  const wrong = given.filter((value) => value !== 'All');
  if (wrong.length === 0) return given.length > 0;
  const message = `Unsupported value: ${JSON.stringify(wrong)}: supported values: "All"`;
  const kind = { group: 'meta.k8s.io', kind: options, plural: options } as ResourceKind;
  throw invalid(kind, '', [{ reason: 'FieldValueNotSupported', message, field: 'dryRun' }]);
}
