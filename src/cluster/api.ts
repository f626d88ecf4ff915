import * as z from 'zod';
import type { Clock } from '../rollout/ports.ts';
import type { ClockOffset } from '../rollout/preflight-types.ts';
import type { KubeosError } from '../errors.ts';
import type { Absence } from './absence.ts';
import { ApiError, apiAway, failureOf, unexpectedAnswer } from './api-error.ts';
import { ConnectionLost, exchange, type HttpAnswer, type HttpCall } from './http.ts';
import type { ProxyAddress } from './proxy.ts';

export interface ApiOptions {
  /** Where to send requests now; may start a proxy anew. */
  address: () => Promise<ProxyAddress>;
  clock: Clock;
  /** How long failures that may pass are retried, in milliseconds. */
  retryForMs: number;
  /** Told of every request that was answered, and of every one that was not. */
  absence?: Absence;
}

export interface Request<T> {
  /** What this is about, for errors: `read the nodes`. */
  doing: string;
  method?: HttpCall['method'];
  path: string;
  query?: Readonly<Record<string, string>>;
  body?: unknown;
  contentType?: 'application/json' | 'application/merge-patch+json';
  answer: z.ZodType<T>;
  signal?: AbortSignal;
  /** Milliseconds; instead of the usual time that failures are retried. */
  retryForMs?: number;
}

const ATTEMPT_TIMEOUT_MS = 30_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
const PAGE = '500';
/** Clocks that differ by no more are taken for equal: the header is cut to the second, and answers take their time. */
const CLOCK_TOLERANCE_MS = 2_000;
/** These may pass: the server is overloaded, starting, or away behind the proxy. */
const PASSING: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);
/** These may pass where the server has just come back. */
const PASSING_WHILE_SETTLING: ReadonlySet<number> = new Set([401, 403]);

/**
 * Typed requests to the API server. Only requests that can be sent twice without harm go through it (reads, and writes
 * that carry a resourceVersion or create one named thing), so that every passing failure is simply tried again.
 */
export class Api {
  /** How the server's clock stood to this machine's at its last answer. */
  clockOffset: ClockOffset | undefined;
  private readonly options: ApiOptions;

  constructor(options: ApiOptions) {
    this.options = options;
  }

  /**
   * The API server's time in milliseconds since 1970, as the `Date` header of its latest answer told it: the one clock
   * that all runs share.
   */
  serverNow(): number {
    const now = this.options.clock.now();
    if (this.clockOffset === undefined) return now;
    const aheadMs = (this.clockOffset.atLeastMs + this.clockOffset.atMostMs) / 2;
    return Math.abs(aheadMs) <= CLOCK_TOLERANCE_MS ? now : now + aheadMs;
  }

  /**
   * Throws ApiUnreachableError (away for longer than the retry time, or 401), PreflightError (403), ApiError (any other
   * refusal), or the signal's reason.
   */
  async send<T>(request: Request<T>): Promise<T> {
    const answer = await this.exchangePatiently(request);
    try {
      return request.answer.parse(JSON.parse(answer.body));
    } catch (cause) {
      throw unexpectedAnswer(request.doing, cause);
    }
  }

  /** All items of a collection, read in pages. `resourceVersion` is the state that the list shows. */
  async list<T>(
    request: Omit<Request<unknown>, 'answer'> & { item: z.ZodType<T> },
  ): Promise<{ items: T[]; resourceVersion: string }> {
    const page = z.object({
      metadata: z.object({ resourceVersion: z.string().default(''), continue: z.string().default('') }),
      items: z
        .array(request.item)
        .nullish()
        .transform((items) => items ?? []),
    });
    const items: T[] = [];
    let token = '';
    for (;;) {
      const query = { ...request.query, limit: PAGE, ...(token === '' ? {} : { continue: token }) };
      try {
        const answer = await this.send({ ...request, query, answer: page });
        items.push(...answer.items);
        token = answer.metadata.continue;
        if (token === '') return { items, resourceVersion: answer.metadata.resourceVersion };
      } catch (error) {
        // The pages' common state has been compacted away meanwhile (410): begin again.
        if (!(error instanceof ApiError) || error.status !== 410 || token === '') throw error;
        items.length = 0;
        token = '';
      }
    }
  }

  private async exchangePatiently(request: Request<unknown>): Promise<HttpAnswer> {
    const { clock } = this.options;
    const deadline = clock.now() + (request.retryForMs ?? this.options.retryForMs);
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      request.signal?.throwIfAborted();
      const outcome = await this.attempt(request);
      if (outcome.answer !== undefined) return outcome.answer;
      const waitMs = Math.max(pauseMs, (outcome.retryAfterSeconds ?? 0) * 1000);
      if (!outcome.passing || clock.now() + waitMs > deadline) throw outcome.failure;
      await clock.sleep(waitMs, request.signal);
    }
  }

  /** HTTP's Date is in whole seconds, without the part that has gone (RFC 9110, 6.6.1). */
  private compareClocks(dateMs: number | undefined, askedAt: number): void {
    if (dateMs === undefined) return;
    this.clockOffset = { atLeastMs: dateMs - this.options.clock.now(), atMostMs: dateMs + 1000 - askedAt };
  }

  /** The proxy's own answers (502) tell this machine's time, and of an API server that is away. */
  private hear({ status, dateMs }: HttpAnswer, askedAt: number): void {
    if (status < 500) this.compareClocks(dateMs, askedAt);
    this.options.absence?.heard(status < 500);
  }

  private mayPass(status: number): boolean {
    return PASSING.has(status) || (this.options.absence?.settling === true && PASSING_WHILE_SETTLING.has(status));
  }

  private async attempt(request: Request<unknown>): Promise<Attempt> {
    const query = new URLSearchParams(request.query).toString();
    const askedAt = this.options.clock.now();
    try {
      const answer = await exchange(await this.options.address(), {
        method: request.method ?? 'GET',
        path: query === '' ? request.path : `${request.path}?${query}`,
        timeoutMs: ATTEMPT_TIMEOUT_MS,
        ...(request.body === undefined ? {} : { body: request.body }),
        ...(request.contentType === undefined ? {} : { contentType: request.contentType }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
      this.hear(answer, askedAt);
      if (answer.status >= 200 && answer.status < 300) return { answer };
      return {
        failure: failureOf(request.doing, answer),
        passing: this.mayPass(answer.status),
        retryAfterSeconds: answer.retryAfterSeconds,
      };
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw error;
      this.options.absence?.heard(false);
      return { failure: apiAway(request.doing, error.message), passing: true, retryAfterSeconds: undefined };
    }
  }
}

type Attempt =
  | { answer: HttpAnswer }
  | { answer?: undefined; failure: KubeosError; passing: boolean; retryAfterSeconds: number | undefined };
