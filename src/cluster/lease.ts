import * as z from 'zod';
import { PreflightError } from '../errors.ts';
import type { LockRequest, LockState } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { isNotFound } from './api-error.ts';
import { leasePath } from './names.ts';
import { DEFAULT_LOCK_SECONDS } from './settings.ts';

/** The Lease that is the lock. */
export const LOCK_NAME = 'kubeos';

const ANNOTATION = {
  run: 'kubeos.openeuler.org/run',
  holder: 'kubeos.openeuler.org/holder',
  what: 'kubeos.openeuler.org/what',
  process: 'kubeos.openeuler.org/process',
  freedBy: 'kubeos.openeuler.org/freed-by',
} as const;

/** Loose all the way down: what others put on the Lease is sent back as it came. */
export const leaseSchema = z.looseObject({
  metadata: z.looseObject({
    resourceVersion: z.string().optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
  spec: z
    .looseObject({
      holderIdentity: z.string().nullish(),
      leaseDurationSeconds: z.number().nullish(),
      acquireTime: z.string().nullish(),
      renewTime: z.string().nullish(),
      leaseTransitions: z.number().nullish(),
    })
    .optional(),
});
export type Lease = z.infer<typeof leaseSchema>;

export const tokenOf = (lease: Lease | undefined): number => lease?.spec?.leaseTransitions ?? 0;
export const isFree = (lease: Lease): boolean => (lease.spec?.holderIdentity ?? '') === '';
export const processOf = (lease: Lease): string => lease.metadata.annotations?.[ANNOTATION.process] ?? '';

/** How long the holder's silence must last before it counts as dead: what the holder itself promised. */
export const durationMsOf = (lease: Lease): number => (lease.spec?.leaseDurationSeconds ?? DEFAULT_LOCK_SECONDS) * 1000;

/** Who holds a lock: the run, its holder and the token of this very acquisition. */
export interface Ownership {
  request: Pick<LockRequest, 'run' | 'holder'>;
  token: number;
}

export const isOwnedBy = (lease: Lease, { request, token }: Ownership): boolean =>
  lease.spec?.holderIdentity === request.holder &&
  tokenOf(lease) === token &&
  lease.metadata.annotations?.[ANNOTATION.run] === request.run;

/** The Lease as a new holder writes it over `before`; the token is one higher than any before. */
export function acquired(
  before: Lease | undefined,
  request: LockRequest,
  by: { nowMs: number; seconds: number; process: string },
): Lease {
  const time = microTime(by.nowMs);
  const others = Object.entries(before?.metadata.annotations ?? {}).filter(([key]) => key !== ANNOTATION.freedBy);
  return {
    ...before,
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name: LOCK_NAME,
      ...before?.metadata,
      annotations: {
        ...Object.fromEntries(others),
        [ANNOTATION.run]: request.run,
        [ANNOTATION.holder]: request.holder,
        [ANNOTATION.what]: request.what,
        [ANNOTATION.process]: by.process,
      },
    },
    spec: {
      ...before?.spec,
      holderIdentity: request.holder,
      leaseDurationSeconds: by.seconds,
      acquireTime: time,
      renewTime: time,
      leaseTransitions: tokenOf(before) + 1,
    },
  };
}

/** The Lease with a new sign of life. */
export function renewed(lease: Lease, change: { nowMs: number; what: string; token: number }): Lease {
  return {
    ...lease,
    metadata: { ...lease.metadata, annotations: { ...lease.metadata.annotations, [ANNOTATION.what]: change.what } },
    spec: { ...lease.spec, renewTime: microTime(change.nowMs), leaseTransitions: change.token },
  };
}

/** The Lease given back: nobody holds it, and its annotations still tell of the run. */
export function released(lease: Lease, change: { nowMs: number; what: string }): Lease {
  const last = renewed(lease, { ...change, token: tokenOf(lease) });
  return { ...last, spec: { ...last.spec, holderIdentity: '' } };
}

/** The Lease taken from its holder by hand: nothing else changes, so that it still tells of the run and its last sign of life. */
export function freed(lease: Lease, by: string): Lease {
  return {
    ...lease,
    metadata: { ...lease.metadata, annotations: { ...lease.metadata.annotations, [ANNOTATION.freedBy]: by } },
    spec: { ...lease.spec, holderIdentity: '' },
  };
}

/**
 * What people are shown of the lock.
 * @param serverNow the API server's time, in milliseconds since 1970: holders write theirs by the same clock
 */
export function lockState(lease: Lease, serverNow: number): LockState {
  const identity = lease.spec?.holderIdentity ?? '';
  const told = (key: keyof typeof ANNOTATION): string => lease.metadata.annotations?.[ANNOTATION[key]] ?? '';
  return {
    held: identity !== '',
    holder: identity === '' ? told('holder') : identity,
    what: told('what'),
    run: told('run'),
    ...timesOf(lease, serverNow),
    durationMs: durationMsOf(lease),
    ...(identity === '' && told('freedBy') !== '' ? { freedBy: told('freedBy') } : {}),
    token: tokenOf(lease),
    version: lease.metadata.resourceVersion ?? '',
  };
}

function timesOf({ spec }: Lease, serverNow: number): Pick<LockState, 'acquiredAt' | 'renewedAt' | 'silentMs'> {
  const { acquireTime, renewTime } = spec ?? {};
  const silentMs = Math.max(0, serverNow - Date.parse(renewTime ?? ''));
  return {
    ...(typeof acquireTime === 'string' ? { acquiredAt: acquireTime } : {}),
    ...(typeof renewTime === 'string' ? { renewedAt: renewTime } : {}),
    ...(Number.isNaN(silentMs) ? {} : { silentMs }),
  };
}

/** Kubernetes' MicroTime: RFC 3339 with six decimals. */
const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');

export interface LeaseCallOptions {
  signal?: AbortSignal;
  retryForMs?: number;
}

/** Reads and writes the Lease; a write holds only for the state that it was made from (409 otherwise). */
export class LeaseStore {
  private readonly api: Api;
  readonly namespace: string;
  /** The flags that lead a command which is shown to the same Lease, each behind a blank. */
  readonly flags: string;

  constructor(api: Api, namespace: string, flags = '') {
    this.api = api;
    this.namespace = namespace;
    this.flags = flags;
  }

  /** The clock that all runs write into the Lease. */
  now(): number {
    return this.api.serverNow();
  }

  /** Undefined where there is no such Lease. */
  async read(options: LeaseCallOptions = {}): Promise<Lease | undefined> {
    const path = leasePath(this.namespace, LOCK_NAME);
    try {
      return await this.api.send({ doing: 'read the lock', path, answer: leaseSchema, ...options });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /**
   * A Lease that is not there may be free, or looked for in the wrong place.
   * @throws PreflightError where the namespace does not exist; a login that may not look at namespaces is not told
   */
  async requireNamespace(): Promise<void> {
    const path = `/api/v1/namespaces/${encodeURIComponent(this.namespace)}`;
    try {
      await this.api.send({ doing: "look for the lock's namespace", path, answer: z.looseObject({}) });
    } catch (error) {
      if (isNotFound(error)) throw noNamespace(this.namespace, error);
      if (!(error instanceof PreflightError)) throw error;
    }
  }

  /**
   * Makes the Lease where it has no resourceVersion yet, else replaces that very version of it. The Lease's uid goes
   * along with all that was read: without it a PUT makes a deleted Lease anew (seen with 1.20 and 1.34), with it the
   * answer is 409.
   */
  write(lease: Lease, options: LeaseCallOptions = {}): Promise<Lease> {
    const isNew = lease.metadata.resourceVersion === undefined;
    return this.api.send({
      doing: 'write the lock',
      method: isNew ? 'POST' : 'PUT',
      path: leasePath(this.namespace, isNew ? '' : LOCK_NAME).replace(/\/$/, ''),
      body: lease,
      answer: leaseSchema,
      ...options,
    });
  }
}

/** What the API server says of a Lease whose namespace is missing, in words that help. */
export const noNamespace = (namespace: string, cause: unknown): PreflightError =>
  new PreflightError(`the namespace of the lock does not exist: ${namespace}`, {
    next: `name another (--lock-namespace), or make it:\nkubectl create namespace ${namespace}`,
    cause,
  });
