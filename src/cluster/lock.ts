import { LockHeldError } from '../errors.ts';
import type { Clock, HeldLock, LockRequest, LockState } from '../rollout/ports.ts';
import { isConflict, isNotFound } from './api-error.ts';
import { RenewedLock } from './held-lock.ts';
import {
  acquired,
  durationMsOf,
  freed,
  isFree,
  isOwnedBy,
  lockState,
  noNamespace,
  processOf,
  tokenOf,
  type Lease,
  type LeaseStore,
} from './lease.ts';
import { fateOf, markOfThisProcess } from './process-mark.ts';
import { shortTime } from './short-time.ts';

const LOOK_EVERY_MS = 1_000;

export interface LockOptions {
  store: LeaseStore;
  clock: Clock;
  /** How long this run may be silent before it counts as dead. */
  seconds: number;
  /** Something the user should know that is no failure. */
  notice?: (message: string) => void;
}

/** As `Cluster.acquireLock`. */
export async function acquireLock(options: LockOptions, request: LockRequest, signal: AbortSignal): Promise<HeldLock> {
  const { store, clock } = options;
  const patience = { request, waitUntil: endOfWait(request.waitMs, clock.now()), signal };
  let wanted: Lease | undefined;
  let tookOverFrom: LockState | undefined;
  for (;;) {
    const readAt = clock.now();
    const found = await store.read({ signal });
    // Our own write, whose answer was lost on the way.
    if (found !== undefined && wanted !== undefined && isOwnedBy(found, { request, token: tokenOf(wanted) })) {
      return new RenewedLock({ ...options, request, lease: found, provenAt: readAt, tookOverFrom });
    }
    const before = isHeld(found) ? await outlive(options, found, patience) : found;
    tookOverFrom = isHeld(before) ? lockState(before, store.now()) : undefined;
    wanted = acquired(before, request, {
      nowMs: store.now(),
      seconds: options.seconds,
      process: markOfThisProcess(),
    });
    const provenAt = clock.now();
    const lease = await tryWrite(store, wanted, signal);
    if (lease !== undefined) return new RenewedLock({ ...options, request, lease, provenAt, tookOverFrom });
  }
}

const isHeld = (lease: Lease | undefined): lease is Lease => lease !== undefined && !isFree(lease);

/** Undefined where the Lease is not as it was read any more. */
async function tryWrite(store: LeaseStore, lease: Lease, signal: AbortSignal): Promise<Lease | undefined> {
  try {
    return await store.write(lease, { signal });
  } catch (error) {
    const isNew = lease.metadata.resourceVersion === undefined;
    if (isNotFound(error) && isNew) throw noNamespace(store.namespace, error);
    if (isConflict(error) || isNotFound(error)) return undefined;
    throw error;
  }
}

function endOfWait(waitMs: number | undefined, now: number): number {
  if (waitMs === undefined) return Number.NEGATIVE_INFINITY;
  return waitMs === 0 ? Number.POSITIVE_INFINITY : now + waitMs;
}

interface Patience {
  request: LockRequest;
  /** By our own clock: until when a live holder is waited for. */
  waitUntil: number;
  signal: AbortSignal;
}

/**
 * Resolves to the Lease as it stands once its holder is known to be gone: it gave the lock back, its process on this
 * machine ended, or the Lease stood still for the duration that the holder wrote into it. That time is counted in our
 * own sleeps, so that no two clocks are compared and a clock that is set meanwhile does no harm. Rejects with
 * LockHeldError once a holder that has shown a sign of life has been waited for long enough: a live one shows it within
 * a quarter of the duration, or lives on this very machine.
 */
async function outlive(options: LockOptions, held: Lease, patience: Patience): Promise<Lease | undefined> {
  const { store, clock } = options;
  const { request, waitUntil, signal } = patience;
  let fate = fateOf(processOf(held));
  let alive = fate === 'alive';
  let seen = held;
  let stillMs = 0;
  let news = true;
  while (fate !== 'dead' && stillMs < durationMsOf(seen)) {
    if (alive && clock.now() >= waitUntil) throw heldError(store, seen, request.waitMs);
    if (news) request.onWaiting?.({ holder: lockState(seen, store.now()), alive });
    await clock.sleep(LOOK_EVERY_MS, signal);
    const now = await store.read({ signal });
    if (now === undefined || isFree(now)) return now;
    news = now.metadata.resourceVersion !== seen.metadata.resourceVersion;
    stillMs = news ? 0 : stillMs + LOOK_EVERY_MS;
    alive ||= news;
    fate = fateOf(processOf(now));
    seen = now;
  }
  return seen;
}

/** As `Cluster.freeLock`. */
export async function freeLock(store: LeaseStore, seen: LockState, by: string, whileAlive: boolean): Promise<void> {
  for (;;) {
    const lease = await store.read();
    if (lease === undefined || isFree(lease)) return;
    const now = lockState(lease, store.now());
    const sameHolder = now.run === seen.run && now.holder === seen.holder && now.token === seen.token;
    if (now.version !== seen.version && !(whileAlive && sameHolder)) {
      throw new LockHeldError('the lock changed while it was looked at', {
        reason: describeHolder(now, store.now()).join('\n'),
        next: 'somebody lives who holds it: look again\nkubeos lock status',
      });
    }
    try {
      await store.write(freed(lease, by));
      return;
    } catch (error) {
      if (!isConflict(error) && !isNotFound(error)) throw error;
    }
  }
}

function heldError(store: LeaseStore, lease: Lease, waitedMs: number | undefined): LockHeldError {
  const state = lockState(lease, store.now());
  const after = waitedMs === undefined ? undefined : shortTime(waitedMs);
  return new LockHeldError(
    `another run ${after === undefined ? 'holds the lock' : `still holds the lock after ${after}`}`,
    {
      reason: describeHolder(state, store.now()).join('\n'),
      next: [
        `${after === undefined ? 'wait for it: --lock-wait 30m, or look' : 'look'}: kubeos status`,
        `one that died gives it up by itself after ${shortTime(state.durationMs)}; where you know that it is dead, free it at once:`,
        `kubeos lock release${store.flags}`,
      ].join('\n'),
    },
  );
}

/**
 * Who, since when and what, a line each.
 * @param serverNow the API server's time, in milliseconds since 1970
 */
export function describeHolder(state: LockState, serverNow: number): string[] {
  const since = state.acquiredAt === undefined ? 'unknown' : `${state.acquiredAt}${ago(state.acquiredAt, serverNow)}`;
  const life =
    state.renewedAt === undefined ? '' : ago(state.renewedAt, serverNow).replace(' (', ', last sign of life ');
  return [
    `who    ${state.holder}${state.run === '' ? '' : `, run ${state.run}`}`,
    `since  ${since}${life.replace(')', '')}`,
    `what   ${state.what === '' ? 'unknown' : state.what}`,
  ];
}

/** ` (9m ago)`; '' where a foreign holder's clock differs so much that it would be nonsense. */
function ago(time: string, nowMs: number): string {
  const seconds = Math.round((nowMs - Date.parse(time)) / 1000);
  if (!Number.isFinite(seconds) || seconds < 0) return '';
  if (seconds < 120) return ` (${seconds}s ago)`;
  return seconds < 7200 ? ` (${Math.round(seconds / 60)}m ago)` : ` (${Math.round(seconds / 3600)}h ago)`;
}
