import { qualified, type ResourceKind } from './kinds.ts';

export interface StatusCause {
  reason?: string;
  message: string;
  field?: string;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

/** Kubernetes' answer where there is no object to show. */
export interface StatusBody {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: Record<string, never>;
  status: 'Success' | 'Failure';
  message?: string;
  reason?: string;
  details?: StatusDetails;
  code?: number;
}

/** A refusal with the Status that a real server answers; the texts below are those seen on v1.34.4. */
export class ApiError extends Error {
  readonly body: StatusBody;
  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.body = {
      ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message },
      ...(reason === '' ? {} : { reason }),
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
  get code(): number {
    return this.body.code ?? 500;
  }
}

/** A path that leads to no group or version at all: real servers answer it as plain text. */
export class PageNotFound extends Error {}

export const success = (code?: number, details?: StatusDetails): StatusBody => ({
  ...{ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' },
  ...(details === undefined ? {} : { details }),
  ...(code === undefined ? {} : { code }),
});

const grouped = (group: string): { group?: string } => (group === '' ? {} : { group });

/** How most refusals name an object: its plural. */
const named = (kind: ResourceKind, name: string): StatusDetails => ({
  ...(name === '' ? {} : { name }),
  ...grouped(kind.group),
  kind: kind.plural,
});

/** How refusals of an object's content name it: its kind. */
const typed = (kind: ResourceKind, name: string): StatusDetails => ({ ...named(kind, name), kind: kind.kind });

export const badRequest = (message: string): ApiError => new ApiError(400, 'BadRequest', message);

export const unauthorized = (): ApiError => new ApiError(401, 'Unauthorized', 'Unauthorized');

export const notFound = (kind: ResourceKind, name: string): ApiError =>
  new ApiError(404, 'NotFound', `${qualified(kind.plural, kind.group)} "${name}" not found`, named(kind, name));

export const noSuchResource = (): ApiError =>
  new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});

export const methodNotAllowed = (): ApiError =>
  new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});

export const notAcceptable = (): ApiError =>
  new ApiError(406, 'NotAcceptable', '406: Not Acceptable\n\nAvailable representations: application/json', {});

export const alreadyExists = (kind: ResourceKind, name: string): ApiError =>
  new ApiError(
    409,
    'AlreadyExists',
    `${qualified(kind.plural, kind.group)} "${name}" already exists`,
    named(kind, name),
  );

export const conflict = (kind: ResourceKind, name: string, why: string = MODIFIED): ApiError =>
  new ApiError(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(kind.plural, kind.group)} "${name}": ${why}`,
    named(kind, name),
  );

const MODIFIED = 'the object has been modified; please apply your changes to the latest version and try again';

export const expired = (message: string): ApiError => new ApiError(410, 'Expired', message);

export const unsupportedMediaType = (accepted: readonly string[]): ApiError =>
  new ApiError(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );

export function invalid(kind: ResourceKind, name: string, causes: readonly StatusCause[]): ApiError {
  const texts = causes.map((cause) => `${cause.field ?? ''}: ${cause.message}`);
  const list = texts.length === 1 ? (texts[0] ?? '') : `[${texts.join(', ')}]`;
  const message = `${qualified(kind.kind, kind.group)} "${name}" is invalid: ${list}`;
  return new ApiError(422, 'Invalid', message, { ...typed(kind, name), causes: [...causes] });
}

/** What a real server says of an impossible JSON patch. */
export const unprocessable = (): ApiError =>
  new ApiError(422, 'Invalid', 'the server rejected our request due to an error in our request', {});

/** What someone wanted to do, for the right that they lack. */
export interface Attempt {
  user: string;
  verb: string;
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
}

export function forbidden(attempt: Attempt): ApiError {
  const { user, verb, group, resource, subresource, namespace, name } = attempt;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  const object = name === '' ? qualified(resource, group) : `${qualified(resource, group)} "${name}"`;
  const message = `${object} is forbidden: User "${user}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`;
  return new ApiError(403, 'Forbidden', message, {
    ...(name === '' ? {} : { name }),
    ...grouped(group),
    kind: resource,
  });
}

const PDB_CAUSE = 'DisruptionBudget';

/** The refusal of an eviction that a PodDisruptionBudget does not allow. */
export const disruptionRefused = (budget: string, needed: number, healthy: number): ApiError =>
  new ApiError(
    429,
    'TooManyRequests',
    "Cannot evict pod as it would violate the pod's disruption budget.",
    // Seen on v1.20.2 and v1.34.4 alike.
    {
      causes: [
        {
          reason: PDB_CAUSE,
          message: `The disruption budget ${budget} needs ${needed} healthy pods and has ${healthy} currently`,
        },
      ],
    },
  );
