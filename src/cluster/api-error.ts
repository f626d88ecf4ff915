import * as z from 'zod';
import { ApiUnreachableError, KubeosError, PreflightError, type FailureContext } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { HttpAnswer } from './http.ts';

/** The API server refused a request, with a typed reason (`metav1.Status`). */
export class ApiError extends KubeosError {
  override readonly name = 'ApiError';
  /** The HTTP status. */
  readonly status: number;
  /** `Conflict`, `NotFound`, `AlreadyExists`, …; '' where the answer has none. */
  readonly statusReason: string;
  constructor(what: string, status: number, statusReason: string, context: FailureContext) {
    super(what, EXIT.incomplete, context);
    this.status = status;
    this.statusReason = statusReason;
  }
}

/** The API server was reached, and does not accept the login (401). */
export class LoginRefusedError extends ApiUnreachableError {}

export const isNotFound = (error: unknown): boolean => error instanceof ApiError && error.status === 404;
export const isConflict = (error: unknown): boolean => error instanceof ApiError && error.status === 409;

const statusSchema = z.object({
  kind: z.literal('Status'),
  message: z.string().optional(),
  reason: z.string().optional(),
});

/**
 * The failure that an answer stands for. `doing` says what kubeos was about, as `read the nodes`. An answer without a
 * Status comes from kubectl proxy itself or from something on the way: then the API server was not reached.
 */
export function failureOf(doing: string, answer: HttpAnswer): KubeosError {
  const status = parseStatus(answer.body);
  const said = status?.message ?? answer.body.trim().slice(0, 500);
  const reason = said === '' ? `HTTP ${answer.status}` : said;
  if (answer.status === 401) {
    return new LoginRefusedError('the cluster refuses the login', {
      reason,
      next: 'sign in again (the login of the kubeconfig has expired or was revoked), then give the same command again',
    });
  }
  if (answer.status === 403) {
    return new PreflightError(`not allowed to ${doing}`, {
      reason,
      next: 'have an administrator grant the right; examples/rbac.yaml holds the least role',
    });
  }
  if (status === undefined && answer.status >= 500) return apiAway(doing, reason);
  return new ApiError(`could not ${doing}`, answer.status, status?.reason ?? '', {
    reason: `${reason} (HTTP ${answer.status})`,
    next: answer.status === 409 ? 'something else changed it at the same time: give the same command again' : RETRY,
  });
}

/** The API server cannot be reached at all. */
export function apiAway(doing: string, reason: string): ApiUnreachableError {
  return new ApiUnreachableError(`could not ${doing}: the cluster's API cannot be reached`, {
    reason,
    next: 'see whether the API server is up and the login valid (kubectl get nodes), then give the same command again',
  });
}

/** An answer that is not what the API documents. */
export function unexpectedAnswer(doing: string, cause: unknown): ApiError {
  const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
  return new ApiError(`could not ${doing}: the answer of the API is not understood`, 200, '', {
    reason,
    next: 'check that --context names a Kubernetes cluster of 1.20 or newer',
    cause,
  });
}

const RETRY = 'give the same command again; if it stays, look at the API server’s log';

function parseStatus(body: string): z.infer<typeof statusSchema> | undefined {
  try {
    return statusSchema.parse(JSON.parse(body));
  } catch {
    return undefined;
  }
}
