import type { ServerResponse } from 'node:http';
import { accessReview, authorize, rulesReview, selfReview } from './access.ts';
import { patch, post, put, remove, removeAll, scale, type Changed } from './changes.ts';
import type { Core } from './core.ts';
import { aggregated, coreVersions, groupList, groupOf, resourceList } from './discovery.ts';
import { evict } from './evictions.ts';
import type { ResourceKind } from './kinds.ts';
import { formOf, type Form } from './negotiation.ts';
import type { Json, KubeObject } from './objects.ts';
import { openapiIndex, openapiV2, openapiV3 } from './openapi.ts';
import { isTrue, listObjects, showObject, watchObjects } from './reads.ts';
import { bodyOf, resourcePath, type Request, type ResourcePath } from './requests.ts';
import { badRequest, methodNotAllowed, noSuchResource, notFound, PageNotFound } from './status-errors.ts';
import type { Watches } from './watches.ts';
import type { Target } from './writes.ts';

/** An answer that is not a stream. */
export interface Reply {
  code: number;
  contentType: string;
  body: string | Buffer;
}

const json = (body: object, code = 200, contentType = 'application/json'): Reply => ({
  ...{ code, contentType },
  body: `${JSON.stringify(body)}\n`,
});

const AGGREGATED = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/** Answers one request; undefined where the answer is a watch that runs on. Throws ApiError and PageNotFound. */
export function route(core: Core, watches: Watches, request: Request, response: ServerResponse): Reply | undefined {
  const path = resourcePath(core, request.path);
  if (path === undefined) return plainPath(core, request);
  if (path.kind === undefined) return question(core, path, request);
  authorizeRequest(core, path, request);
  return onResource(core, watches, path, path.kind, request, response);
}

/** Everything outside of resources: discovery, health, version, OpenAPI. */
function plainPath(core: Core, request: Request): Reply {
  const { catalog } = core;
  const path = request.path.length > 1 ? request.path.replace(/\/$/, '') : '/';
  const fixed = FIXED[path];
  const isKnown = fixed !== undefined || /^\/(apis?|openapi)\//.test(path);
  if (!isKnown) throw new PageNotFound();
  if (request.method !== 'GET') throw methodNotAllowed();
  if (fixed !== undefined) return fixed(core, request);
  const found = path.startsWith('/openapi/v3/')
    ? catalog.minor < 24
      ? undefined
      : openapiV3(catalog, path.slice('/openapi/v3/'.length))
    : discoveryOf(core, path);
  if (found === undefined) throw new PageNotFound();
  return json(found);
}

function discoveryOf({ catalog }: Core, path: string): object | undefined {
  const [, root, first = '', second = '', ...more] = path.split('/');
  if (more.length > 0) return undefined;
  if (root === 'api') return second === '' ? resourceList(catalog, '', first) : undefined;
  return second === '' ? groupOf(catalog, first) : resourceList(catalog, first, second);
}

const health = (): Reply => ({ code: 200, contentType: 'text/plain; charset=utf-8', body: 'ok' });

const FIXED: Readonly<Record<string, (core: Core, request: Request) => Reply>> = {
  '/': () => json({ paths: Object.keys(FIXED) }),
  '/healthz': health,
  '/livez': health,
  '/readyz': health,
  '/version': ({ catalog }) =>
    json({
      ...{ major: '1', minor: String(catalog.minor), gitVersion: catalog.gitVersion, gitCommit: 'kubeos-lab' },
      ...{ gitTreeState: 'clean', buildDate: '1970-01-01T00:00:00Z', goVersion: 'none', compiler: 'none' },
      platform: 'linux/amd64',
    }),
  '/api': (core, request) =>
    formOf(request.accept, core.catalog.minor >= 30).as === 'aggregated'
      ? json(aggregated(core.catalog, true), 200, AGGREGATED)
      : json(coreVersions(request.address)),
  '/apis': (core, request) =>
    formOf(request.accept, core.catalog.minor >= 30).as === 'aggregated'
      ? json(aggregated(core.catalog, false), 200, AGGREGATED)
      : json(groupList(core.catalog)),
  '/openapi/v2': ({ catalog }) => ({
    code: 200,
    contentType: 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
    body: openapiV2(catalog),
  }),
  // Real servers have it since 1.24; older ones are asked for v2.
  '/openapi/v3': ({ catalog }) => {
    if (catalog.minor < 24) throw new PageNotFound();
    return json(openapiIndex(catalog));
  },
};

/** Reviews: kinds that are posted to get an answer. */
function question(core: Core, path: ResourcePath, request: Request): Reply {
  const answer = QUESTIONS[`${path.group}/${path.resource}`];
  if (answer === undefined || path.name !== '' || path.namespace !== '') throw noSuchResource();
  if (request.method !== 'POST') throw methodNotAllowed();
  formOf(request.accept, false);
  return json(answer(core, request.user, bodyOf(request) ?? {}), 201);
}

const QUESTIONS: Readonly<Record<string, (core: Core, user: string, body: Json) => object>> = {
  'authorization.k8s.io/selfsubjectaccessreviews': accessReview,
  'authorization.k8s.io/selfsubjectrulesreviews': rulesReview,
  'authentication.k8s.io/selfsubjectreviews': (_core, user) => selfReview(user),
};

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

function authorizeRequest(core: Core, path: ResourcePath, { method, query, user }: Request): void {
  const reading = isTrue(query.get('watch')) ? 'watch' : path.name === '' ? 'list' : 'get';
  const changing = method === 'DELETE' && path.name === '' ? 'deletecollection' : VERBS[method];
  const verb = method === 'GET' ? reading : changing;
  if (verb === undefined) throw methodNotAllowed();
  const { group, resource, subresource, namespace, name } = path;
  authorize(core, { user, verb, group, resource, subresource, namespace, name });
}

function onResource(
  core: Core,
  watches: Watches,
  path: ResourcePath,
  kind: ResourceKind,
  request: Request,
  response: ServerResponse,
): Reply | undefined {
  const form = formOf(request.accept, false);
  if (path.subresource !== '') return onSubresource(core, path, kind, request, form);
  if (request.method === 'GET' && isTrue(request.query.get('watch'))) {
    watches.serve(watchObjects(core, path, kind, request, form), response);
    return undefined;
  }
  if (path.name === '') return onList(core, path, kind, request, form);
  return onObject(core, path, kind, request, form);
}

function onList(core: Core, path: ResourcePath, kind: ResourceKind, request: Request, form: Form): Reply {
  switch (request.method) {
    case 'GET':
      return json(listObjects(core, path, kind, request, form));
    case 'POST':
      if (kind.namespaced && path.namespace === '') throw methodNotAllowed();
      return changed(core, path, kind, post(core, kind, path, request), request, form);
    case 'DELETE':
      if (kind.plural === 'namespaces') throw methodNotAllowed();
      return json(removeAll(core, kind, path, request));
    default:
      throw methodNotAllowed();
  }
}

function onObject(core: Core, path: ResourcePath, kind: ResourceKind, request: Request, form: Form): Reply {
  const target: Target = { kind, namespace: path.namespace, name: path.name };
  switch (request.method) {
    case 'GET': {
      const object = core.store.get(kind, path.namespace, path.name);
      if (object === undefined) throw notFound(kind, path.name);
      return json(showObject(core, path, kind, object, request, form));
    }
    case 'PUT':
      return changed(core, path, kind, put(core, target, path, request), request, form);
    case 'PATCH':
      return changed(core, path, kind, patch(core, target, path, request), request, form);
    case 'DELETE':
      return changed(core, path, kind, remove(core, target, request), request, form);
    default:
      throw methodNotAllowed();
  }
}

function onSubresource(core: Core, path: ResourcePath, kind: ResourceKind, request: Request, form: Form): Reply {
  const { namespace, name, subresource } = path;
  const target: Target = { kind, namespace, name };
  if (subresource === 'status' && kind.hasStatus) {
    if (!['GET', 'PUT', 'PATCH'].includes(request.method)) throw methodNotAllowed();
    return onObject(core, path, kind, request, form);
  }
  if (subresource === 'scale' && kind.hasScale) {
    if (!['GET', 'PUT', 'PATCH'].includes(request.method)) throw methodNotAllowed();
    const { code, body } = scale(core, target, path, request);
    return json(body, code);
  }
  if (subresource === 'eviction' && kind.plural === 'pods') {
    if (request.method !== 'POST') throw methodNotAllowed();
    const body = bodyOf(request);
    if (body === undefined) throw badRequest('an Eviction is needed');
    const status = evict(core, namespace, name, body, request.query);
    return json(status, status.code);
  }
  throw noSuchResource();
}

function changed(
  core: Core,
  path: ResourcePath,
  kind: ResourceKind,
  { code, body }: Changed,
  request: Request,
  form: Form,
): Reply {
  if (body.kind === 'Status') return json(body, code);
  return json(showObject(core, path, kind, body as KubeObject, request, form), code);
}
