import { KubeosError, LockLostError } from '../errors.ts';
import type { Clock, HeldLock, LockRequest, LockState } from '../rollout/ports.ts';
import { isConflict, isNotFound } from './api-error.ts';
import { isOwnedBy, lockState, released, renewed, tokenOf, type Lease, type LeaseStore } from './lease.ts';
import { shortTime } from './short-time.ts';

/** How long giving the lock back may take; after that it runs out by itself. */
const RELEASE_FOR_MS = 10_000;
/** A look at the Lease is good for so long: a run of many nodes asks once for all that they change in that time. */
const FRESH_MS = 1_000;
/** How long a change waits for the API server to say whose the lock is. */
const LOOK_FOR_MS = 5_000;
/** A look that took longer was not waited for: the process was frozen meanwhile, and what it read is of before. */
const FROZEN_MS = 2 * LOOK_FOR_MS;
/** The pause between two looks, while new work waits for one that is answered. */
const LOOK_EVERY_MS = 1_000;

export interface RenewedLockOptions {
  store: LeaseStore;
  clock: Clock;
  seconds: number;
  request: LockRequest;
  /** The Lease as our acquisition left it. */
  lease: Lease;
  /** By `clock`: when it was about to be taken, or was asked for and found to be ours. */
  provenAt: number;
  /** Told once where renewals have failed for the lock's duration, and once where one succeeds again. */
  notice?: (message: string) => void;
  /** The dead holder that it was taken from. */
  tookOverFrom: LockState | undefined;
}

/**
 * A lock that is ours, renewed until it is released or found to be another's. An API server that is away loses it
 * nothing: whoever would take it meanwhile needs the same API server, and that shows in the next renewal.
 */
export class RenewedLock implements HeldLock {
  readonly tookOverFrom?: LockState;
  private readonly options: RenewedLockOptions;
  private readonly renewEveryMs: number;
  private readonly stopper = new AbortController();
  private readonly loser = new AbortController();
  private lease: Lease;
  private held: number;
  /** The tokens by which we tell that the Lease is ours: two while a raised one is being written. */
  private tokens: readonly number[];
  private what: string;
  /** When the Lease was last seen to be ours, by the clock before it was asked. */
  private seenAt: number;
  /** When a read or a write of the Lease last proved it to be ours, by the clock before it was asked. */
  private provenAt: number;
  private renewedAt: number;
  private told = false;
  private looking: Promise<void> | undefined;
  /** When the look that is under way began. */
  private lookedAt = 0;
  /** Writes come one after the other, since each needs the version that the one before left. */
  private queue: Promise<unknown> = Promise.resolve();
  private giving: Promise<void> | undefined;

  constructor(options: RenewedLockOptions) {
    this.options = options;
    if (options.tookOverFrom !== undefined) this.tookOverFrom = options.tookOverFrom;
    this.renewEveryMs = (options.seconds * 1000) / 4;
    this.lease = options.lease;
    this.held = tokenOf(options.lease);
    this.tokens = [this.held];
    this.what = options.request.what;
    this.seenAt = Number.NEGATIVE_INFINITY;
    this.provenAt = options.provenAt;
    this.renewedAt = options.provenAt;
    void this.keep();
  }

  get token(): number {
    return this.held;
  }

  get lost(): AbortSignal {
    return this.loser.signal;
  }

  async confirm(): Promise<void> {
    const { clock } = this.options;
    for (;;) {
      this.lost.throwIfAborted();
      if (this.giving !== undefined) return;
      const askedAt = clock.now();
      // A clock that was set back says nothing either.
      const age = askedAt - this.seenAt;
      if (age >= 0 && age < FRESH_MS) return;
      if (this.looking === undefined) this.lookedAt = askedAt;
      this.looking ??= this.look().finally(() => (this.looking = undefined));
      const since = this.lookedAt;
      await this.looking;
      if (clock.now() - since <= FROZEN_MS) return;
    }
  }

  async confirmStart(signal: AbortSignal): Promise<void> {
    const either = AbortSignal.any([signal, this.lost]);
    for (;;) {
      await this.confirm();
      if (this.giving !== undefined || this.isWithinDuration(this.provenAt)) return;
      await this.options.clock.sleep(LOOK_EVERY_MS, either);
    }
  }

  describe(what: string): void {
    this.what = what;
  }

  async raiseAbove(floor: number): Promise<void> {
    await this.inTurn(async () => {
      if (this.held > floor) return;
      this.tokens = [this.held, floor + 1];
      await this.write((lease) => renewed(lease, { ...this.change(), token: floor + 1 }));
      this.held = floor + 1;
      this.tokens = [this.held];
    });
  }

  release(): Promise<void> {
    this.giving ??= this.giveBack();
    return this.giving;
  }

  private async giveBack(): Promise<void> {
    this.stopper.abort();
    await this.inTurn(() => this.write((lease) => released(lease, this.change()), RELEASE_FOR_MS)).catch(
      () => undefined,
    );
  }

  private async keep(): Promise<void> {
    const { signal } = this.stopper;
    for (;;) {
      const stopped = await this.options.clock.sleep(this.renewEveryMs, signal).then(
        () => false,
        () => true,
      );
      if (stopped) return;
      // A failed renewal is tried again at the next turn; a lost lock has stopped this loop.
      await this.inTurn(() => this.renew()).catch((error: unknown) => this.tellSilence(error));
    }
  }

  private async renew(): Promise<void> {
    const askedAt = this.options.clock.now();
    await this.write((lease) => renewed(lease, { ...this.change(), token: this.held }), this.renewEveryMs);
    this.renewedAt = askedAt;
    if (this.told) this.options.notice?.('the lock is renewed again');
    this.told = false;
  }

  /** Others may take a lock that was not renewed for its duration: the user should know. */
  private tellSilence(error: unknown): void {
    if (this.told || this.stopper.signal.aborted || this.isWithinDuration(this.renewedAt)) return;
    this.told = true;
    const { message, reason } = error instanceof KubeosError ? error : { message: String(error), reason: undefined };
    const why = reason === undefined ? message : `${message} (${reason})`;
    const silence = shortTime(Math.max(0, this.options.clock.now() - this.renewedAt));
    this.options.notice?.(
      `the lock could not be renewed for ${silence}: ${why}; nothing new is started while it cannot be read either`,
    );
  }

  /** A clock that was set back says nothing. */
  private isWithinDuration(since: number): boolean {
    const age = this.options.clock.now() - since;
    return age >= 0 && age <= this.options.seconds * 1000;
  }

  private change(): { nowMs: number; what: string } {
    return { nowMs: this.options.store.now(), what: this.what };
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(work);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  /** Reads the Lease; whatever keeps the API server from answering is left to the renewals. */
  private async look(): Promise<void> {
    const { store, clock } = this.options;
    const askedAt = clock.now();
    let now: Lease | undefined;
    try {
      now = await store.read({ retryForMs: 0, signal: AbortSignal.timeout(LOOK_FOR_MS) });
    } catch {
      return;
    }
    this.lost.throwIfAborted();
    if (!this.isOurs(now)) throw this.lose(now);
    this.seenAt = askedAt;
    this.provenAt = askedAt;
  }

  private isOurs(now: Lease | undefined): now is Lease {
    const { request } = this.options;
    return now !== undefined && this.tokens.some((token) => isOwnedBy(now, { request, token }));
  }

  /**
   * Writes the Lease anew; after a conflict once more, if it still bears one of our tokens and our name (a person's
   * annotation, or our own write whose answer was lost). Throws LockLostError where it is not ours any more.
   */
  private async write(make: (lease: Lease) => Lease, retryForMs?: number): Promise<void> {
    const options = retryForMs === undefined ? {} : { retryForMs };
    const { store, clock } = this.options;
    for (;;) {
      this.lost.throwIfAborted();
      const askedAt = clock.now();
      try {
        this.lease = await store.write(make(this.lease), options);
        this.provenAt = askedAt;
        return;
      } catch (error) {
        if (isNotFound(error)) throw this.lose(undefined);
        if (!isConflict(error)) throw error;
      }
      const now = await store.read(options);
      if (!this.isOurs(now)) throw this.lose(now);
      this.lease = now;
    }
  }

  private lose(now: Lease | undefined): LockLostError {
    this.stopper.abort();
    const error = new LockLostError('this run has lost its lock', {
      reason: whereItWent(now, this.options.request),
      next: 'see what the nodes run (kubeos status), then give the same command again',
    });
    // While the lock is being given back, a Lease that is not ours any more is what was wanted.
    if (this.giving === undefined) this.loser.abort(error);
    return error;
  }
}

function whereItWent(now: Lease | undefined, ours: LockRequest): string {
  if (now === undefined) return 'the Lease was deleted';
  const { held, holder, run, freedBy } = lockState(now, 0);
  const by = `${holder}${run === '' ? '' : ` (run ${run})`}`;
  if (held) return `it was taken over by ${by}`;
  if (run !== ours.run) return `it was taken over by ${by}, which has given it back since`;
  return `it was freed by hand${freedBy === undefined ? '' : `, by ${freedBy}`}`;
}
