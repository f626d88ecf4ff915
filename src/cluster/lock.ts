import { LockHeldError, PreflightError } from '../errors.ts';
import type { Clock, HeldLock, LockRequest, LockState } from '../rollout/ports.ts';
import { isConflict, isNotFound } from './api-error.ts';
import { RenewedLock } from './held-lock.ts';
import {
  acquired,
  durationMsOf,
  isFree,
  isOwnedBy,
  lockState,
  LOCK_NAME,
  processOf,
  tokenOf,
  type Lease,
  type LeaseStore,
} from './lease.ts';
import { fateOf, markOfThisProcess } from './process-mark.ts';

const LOOK_EVERY_MS = 1_000;

export interface LockOptions {
  store: LeaseStore;
  clock: Clock;
  seconds: number;
}

/** As `Cluster.acquireLock`. */
export async function acquireLock(options: LockOptions, request: LockRequest, signal: AbortSignal): Promise<HeldLock> {
  const { store, clock, seconds } = options;
  let wanted: Lease | undefined;
  for (;;) {
    const before = await store.read({ signal });
    // Our own write, whose answer was lost on the way.
    if (before !== undefined && wanted !== undefined && isOwnedBy(before, { request, token: tokenOf(wanted) })) {
      return new RenewedLock({ store, clock, seconds, request, lease: before });
    }
    if (before !== undefined && !isFree(before)) await outlive(options, before, request, signal);
    wanted = acquired(before, request, { nowMs: clock.now(), seconds, process: markOfThisProcess() });
    try {
      const lease = await store.write(wanted, { signal });
      return new RenewedLock({ store, clock, seconds, request, lease });
    } catch (error) {
      if (isNotFound(error) && before === undefined) throw noNamespace(store.namespace, error);
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }
}

/**
 * Resolves once the holder of this Lease is known to be gone: it gave the lock back, its process on this machine ended, or the Lease stood
 * still for its duration. The time is counted in our own sleeps, so that no two clocks are compared and a clock that is
 * set meanwhile does no harm. Rejects with LockHeldError as soon as the holder shows a sign of life, which a live one
 * does within a quarter of the duration.
 */
async function outlive(options: LockOptions, held: Lease, request: LockRequest, signal: AbortSignal): Promise<void> {
  const { store, clock } = options;
  const fate = fateOf(processOf(held));
  if (fate === 'dead') return;
  if (fate === 'alive') throw heldError(store, held, clock.now());
  const durationMs = durationMsOf(held, options.seconds);
  request.onWaiting?.(lockState(held), durationMs);
  for (let watchedMs = 0; watchedMs < durationMs; watchedMs += LOOK_EVERY_MS) {
    await clock.sleep(LOOK_EVERY_MS, signal);
    const now = await store.read({ signal });
    if (now === undefined || isFree(now)) return;
    if (now.metadata.resourceVersion !== held.metadata.resourceVersion) throw heldError(store, now, clock.now());
  }
}

const noNamespace = (namespace: string, cause: unknown): PreflightError =>
  new PreflightError(`the namespace of the lock does not exist: ${namespace}`, {
    next: `name another (--lock-namespace), or make it: kubectl create namespace ${namespace}`,
    cause,
  });

function heldError(store: LeaseStore, lease: Lease, nowMs: number): LockHeldError {
  const state = lockState(lease);
  const free = `kubectl -n ${store.namespace} patch lease ${LOCK_NAME} --type=merge -p '{"spec":{"holderIdentity":""}}'`;
  return new LockHeldError('another run holds the lock', {
    reason: describeHolder(state, nowMs).join('\n'),
    next: [
      'wait until it has ended, or look: kubeos status',
      'a run that died gives the lock up by itself; if you are sure that it is dead, free it at once:',
      free,
    ].join('\n'),
  });
}

/** Who, since when and what, a line each. */
export function describeHolder(state: LockState, nowMs: number): string[] {
  const since = state.acquiredAt === undefined ? 'unknown' : `${state.acquiredAt}${ago(state.acquiredAt, nowMs)}`;
  const life = state.renewedAt === undefined ? '' : ago(state.renewedAt, nowMs).replace(' (', ', last sign of life ');
  return [
    `who    ${state.holder}${state.run === '' ? '' : `, run ${state.run}`}`,
    `since  ${since}${life.replace(')', '')}`,
    `what   ${state.what === '' ? 'unknown' : state.what}`,
  ];
}

/** ` (9m ago)`; '' where the clocks differ so much that it would be nonsense. */
function ago(time: string, nowMs: number): string {
  const seconds = Math.round((nowMs - Date.parse(time)) / 1000);
  if (!Number.isFinite(seconds) || seconds < 0) return '';
  if (seconds < 120) return ` (${seconds}s ago)`;
  return seconds < 7200 ? ` (${Math.round(seconds / 60)}m ago)` : ` (${Math.round(seconds / 3600)}h ago)`;
}
