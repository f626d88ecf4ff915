import type { Core } from './core.ts';
import { apiVersionOf, type ResourceKind } from './kinds.ts';
import { isObject, type Json, type KubeObject } from './objects.ts';
import type { Form } from './negotiation.ts';
import type { Request, ResourcePath } from './requests.ts';
import { fieldMatcher, labelMatcher, type Matcher } from './selectors.ts';
import { ApiError, badRequest, expired } from './status-errors.ts';
import { asTable, type IncludeObject, type TableRequest } from './tables.ts';
import type { WatchRequest } from './watches.ts';

/** A list as the server answers it, in the client's form; `?limit` and `?continue` page through it. */
export function listObjects(core: Core, path: ResourcePath, kind: ResourceKind, request: Request, form: Form): object {
  refuseFuture(core, request.query);
  const matches = matcherOf(kind, request.query);
  const all = core.store.list(kind, path.namespace).filter(matches);
  const { items, meta } = page(core, all, request.query);
  const shown = items.map((object) => inVersion(kind, path.version, object));
  if (form.as === 'table') return asTable(kind, shown, meta, tableRequest(core, form, request));
  const list = { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind, path.version), metadata: meta };
  // Seen on v1.34.4: items of a built-in kind do not repeat their kind and version, those of a custom resource do.
  return { ...list, items: kind.custom ? shown : shown.map(withoutType) };
}

/** The object itself in the client's form. */
export function showObject(
  core: Core,
  path: ResourcePath,
  kind: ResourceKind,
  object: KubeObject,
  request: Request,
  form: Form,
): object {
  const shown = inVersion(kind, path.version, object);
  if (form.as !== 'table') return shown;
  const meta = { resourceVersion: object.metadata.resourceVersion };
  return asTable(kind, [shown], meta, tableRequest(core, form, request));
}

/** The watch that a request's query asks for. */
export function watchObjects(
  core: Core,
  path: ResourcePath,
  kind: ResourceKind,
  request: Request,
  form: Form,
): WatchRequest {
  const { query } = request;
  if (query.get('sendInitialEvents') !== null) {
    // What servers without the WatchList feature answer; clients then list and watch.
    const message =
      'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled';
    throw new ApiError(422, 'Invalid', `ListOptions.meta.k8s.io "" is invalid: ${message}`);
  }
  const byName: Matcher = path.name === '' ? () => true : (object) => object.metadata.name === path.name;
  const matches = matcherOf(kind, query);
  const timeout = query.get('timeoutSeconds');
  return {
    ...{ kind, version: path.version, namespace: path.namespace },
    matches: (object) => byName(object) && matches(object),
    resourceVersion: query.get('resourceVersion') ?? '',
    bookmarks: isTrue(query.get('allowWatchBookmarks')),
    timeoutMs: timeout === null ? undefined : seconds(timeout) * 1000,
    render: (object, first) => {
      if (form.as !== 'table') return object;
      const meta = { resourceVersion: object.metadata.resourceVersion };
      return asTable(kind, [object], meta, tableRequest(core, form, request), first);
    },
  };
}

export const isTrue = (value: string | null): boolean => value === '1' || value === 'true';

/** Both selectors of a query. */
export function matcherOf(kind: ResourceKind, query: URLSearchParams): Matcher {
  const byLabel = labelMatcher(query.get('labelSelector') ?? '');
  const byField = fieldMatcher(kind, query.get('fieldSelector') ?? '');
  return (object) => byLabel(object) && byField(object);
}

const inVersion = (kind: ResourceKind, version: string, object: KubeObject): KubeObject => ({
  ...object,
  apiVersion: apiVersionOf(kind, version),
});

function withoutType(object: KubeObject): object {
  return Object.fromEntries(Object.entries(object).filter(([key]) => key !== 'apiVersion' && key !== 'kind'));
}

function tableRequest(core: Core, form: Form & { as: 'table' }, { query }: Request): TableRequest {
  const include = query.get('includeObject') ?? 'Metadata';
  if (!['None', 'Metadata', 'Object'].includes(include))
    throw badRequest(`unrecognized includeObject value: "${include}"`);
  return { apiVersion: form.apiVersion, include: include as IncludeObject, now: core.clock.now() };
}

/** A list asked for from a resourceVersion that does not exist yet: a real server waits, then says so. */
function refuseFuture(core: Core, query: URLSearchParams): void {
  const wanted = Number(query.get('resourceVersion') ?? '0');
  const current = core.store.resourceVersion;
  if (!(wanted > current)) return;
  throw new ApiError(504, 'Timeout', `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}

function page(core: Core, all: readonly KubeObject[], query: URLSearchParams): { items: KubeObject[]; meta: object } {
  const limit = seconds(query.get('limit') ?? '0');
  const start = continueAfter(query.get('continue') ?? '');
  requireRemembered(core, start?.resourceVersion);
  const rest = start === undefined ? [...all] : all.filter((object) => keyOf(object) > start.after);
  const resourceVersion = String(start?.resourceVersion ?? core.store.resourceVersion);
  const items = limit === 0 ? rest : rest.slice(0, limit);
  const last = items.at(-1);
  const left = rest.length - items.length;
  if (left === 0 || last === undefined) return { items, meta: { resourceVersion } };
  const token = { v: 'meta.k8s.io/v1', rv: Number(resourceVersion), start: keyOf(last) };
  const next = Buffer.from(JSON.stringify(token)).toString('base64url');
  // Real servers leave the count out of a list with selectors, which they would have to search to its end for it.
  const counted = query.get('labelSelector') === null && query.get('fieldSelector') === null;
  return { items, meta: { resourceVersion, continue: next, ...(counted ? { remainingItemCount: left } : {}) } };
}

/** Seen on v1.20.2 and v1.34.4: a list cannot go on from a version that was compacted away. */
function requireRemembered(core: Core, resourceVersion: number | undefined): void {
  if (resourceVersion !== undefined && core.store.since(resourceVersion) === undefined) throw expired(TOO_OLD);
}

const TOO_OLD =
  'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.';

const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace ?? ''}/${metadata.name}`;

function continueAfter(token: string): { after: string; resourceVersion: number } | undefined {
  if (token === '') return undefined;
  try {
    const parsed = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as Json;
    if (isObject(parsed) && typeof parsed['start'] === 'string' && typeof parsed['rv'] === 'number') {
      return { after: parsed['start'], resourceVersion: parsed['rv'] };
    }
  } catch {
    // Told below.
  }
  throw badRequest('invalid continue token: continue key is not valid');
}

function seconds(text: string): number {
  if (!/^\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  return Number(text);
}
