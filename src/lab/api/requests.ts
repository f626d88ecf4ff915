import type { IncomingMessage } from 'node:http';
import type { Core } from './core.ts';
import { groupsOf } from './discovery.ts';
import type { ResourceKind } from './kinds.ts';
import type { Json } from './objects.ts';
import { readProtobuf } from './protobuf.ts';
import { ApiError, badRequest, noSuchResource, PageNotFound, unsupportedMediaType } from './status-errors.ts';

/** One request, its user known. */
export interface Request {
  method: string;
  path: string;
  query: URLSearchParams;
  accept: string | undefined;
  /** Without parameters, lower case. */
  contentType: string;
  body: Buffer;
  user: string;
  /** host:port under which the server was asked. */
  address: string;
}

/** What a path under /api/v1 or /apis/GROUP/VERSION is about. */
export interface ResourcePath {
  group: string;
  version: string;
  /** The plural, which may be one that only answers questions (selfsubjectaccessreviews). */
  resource: string;
  kind: ResourceKind | undefined;
  namespace: string;
  name: string;
  subresource: string;
}

const BODY_LIMIT = 3 * 1024 * 1024;

/** Reads a request whole. Real servers refuse bodies over 3 MiB. */
export async function readRequest(incoming: IncomingMessage, user: string): Promise<Request> {
  const url = new URL(incoming.url ?? '/', 'https://lab');
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT)
      throw new ApiError(413, 'RequestEntityTooLarge', 'Request entity too large: limit is 3145728');
    chunks.push(chunk);
  }
  return {
    method: incoming.method ?? 'GET',
    path: url.pathname,
    query: url.searchParams,
    accept: incoming.headers.accept,
    contentType: (incoming.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '',
    body: Buffer.concat(chunks),
    user,
    address: incoming.headers.host ?? '',
  };
}

/** The body of a POST, PUT or DELETE; undefined where there is none. */
export function bodyOf(request: Request): Json | undefined {
  if (request.body.length === 0) return undefined;
  switch (request.contentType) {
    case '':
    case 'application/json':
      return parseJson(request, 'the object provided is unrecognized');
    case 'application/vnd.kubernetes.protobuf':
      return readProtobuf(request.body);
    default:
      throw unsupportedMediaType(['application/json', 'application/vnd.kubernetes.protobuf']);
  }
}

/** Parses a body as JSON; a 400 that begins with `what` where it is none. */
export function parseJson(request: Request, what: string): Json {
  try {
    return JSON.parse(request.body.toString('utf8')) as Json;
  } catch (error) {
    throw badRequest(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Takes a path apart. Undefined where it is not below a version (/api, /apis/GROUP, /version). Throws PageNotFound for
 * a group or version that is not served, ApiError 404 for a resource that is not.
 */
export function resourcePath(core: Core, path: string): ResourcePath | undefined {
  const [root, ...rest] = path.split('/').slice(1).map(decoded);
  if (root !== 'api' && root !== 'apis') return undefined;
  const [group = '', version = '', ...below] = root === 'api' ? ['', ...rest] : rest;
  if (version === '' || (below[0] ?? '') === '') return undefined;
  const versions = group === '' ? ['v1'] : (groupsOf(core.catalog).get(group) ?? []);
  if (!versions.includes(version)) throw new PageNotFound();
  return { group, version, ...placeOf(core, group, version, below) };
}

type Place = Omit<ResourcePath, 'group' | 'version'>;

function placeOf(core: Core, group: string, version: string, below: readonly string[]): Place {
  const namespace = namespaceIn(group, below);
  const [resource = '', name = '', subresource = '', ...more] = namespace === '' ? below : below.slice(2);
  const kind = core.catalog.find(group, version, resource);
  if (more.length > 0 || (kind !== undefined && isMisplaced(kind, namespace, name))) throw noSuchResource();
  return { resource, kind, namespace, name, subresource };
}

/** `namespaces/NAME` alone, or with a subresource of its own, is the namespace itself and lies in none. */
function namespaceIn(group: string, [first, second = '', third]: readonly string[]): string {
  if (first !== 'namespaces' || third === undefined) return '';
  return group === '' && ['status', 'finalize'].includes(third) ? '' : second;
}

/** Objects of a namespace can be listed across all of them, but only be named inside their own. */
const isMisplaced = (kind: ResourceKind, namespace: string, name: string): boolean =>
  kind.namespaced ? namespace === '' && name !== '' : namespace !== '';

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw badRequest(`the path holds a malformed escape: ${part}`);
  }
}
