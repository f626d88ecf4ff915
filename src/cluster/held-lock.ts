import { LockLostError } from '../errors.ts';
import type { Clock, HeldLock, LockRequest } from '../rollout/ports.ts';
import { isConflict, isNotFound } from './api-error.ts';
import { isOwnedBy, lockState, released, renewed, tokenOf, type Lease, type LeaseStore } from './lease.ts';

/** How long giving the lock back may take; after that it runs out by itself. */
const RELEASE_FOR_MS = 10_000;

export interface RenewedLockOptions {
  store: LeaseStore;
  clock: Clock;
  seconds: number;
  request: LockRequest;
  /** The Lease as our acquisition left it. */
  lease: Lease;
}

/**
 * A lock that is ours, renewed until it is released or found to be another's. An API server that is away loses it
 * nothing: whoever would take it meanwhile needs the same API server, and that shows in the next renewal.
 */
export class RenewedLock implements HeldLock {
  private readonly options: RenewedLockOptions;
  private readonly renewEveryMs: number;
  private readonly stopper = new AbortController();
  private readonly loser = new AbortController();
  private lease: Lease;
  private held: number;
  private what: string;
  /** Writes come one after the other, since each needs the version that the one before left. */
  private queue: Promise<unknown> = Promise.resolve();
  private giving: Promise<void> | undefined;

  constructor(options: RenewedLockOptions) {
    this.options = options;
    this.renewEveryMs = (options.seconds * 1000) / 4;
    this.lease = options.lease;
    this.held = tokenOf(options.lease);
    this.what = options.request.what;
    void this.keep();
  }

  get token(): number {
    return this.held;
  }

  get lost(): AbortSignal {
    return this.loser.signal;
  }

  describe(what: string): void {
    this.what = what;
  }

  async raiseAbove(floor: number): Promise<void> {
    await this.inTurn(async () => {
      if (this.held > floor) return;
      // The write changes the token, by which we tell that the Lease is ours: both are ours until it has succeeded.
      await this.write((lease) => renewed(lease, { ...this.change(), token: floor + 1 }), [this.held, floor + 1]);
      this.held = floor + 1;
    });
  }

  release(): Promise<void> {
    this.giving ??= this.giveBack();
    return this.giving;
  }

  private async giveBack(): Promise<void> {
    this.stopper.abort();
    await this.inTurn(() => this.write((lease) => released(lease, this.change()), [this.held], RELEASE_FOR_MS)).catch(
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
      await this.inTurn(() =>
        this.write((lease) => renewed(lease, { ...this.change(), token: this.held }), [this.held], this.renewEveryMs),
      ).catch(() => undefined);
    }
  }

  private change(): { nowMs: number; what: string } {
    return { nowMs: this.options.clock.now(), what: this.what };
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(work);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Writes the Lease anew; after a conflict once more, if it still bears one of these tokens and our name (a person's
   * annotation, or our own write whose answer was lost). Throws LockLostError where it is not ours any more.
   */
  private async write(make: (lease: Lease) => Lease, tokens: readonly number[], retryForMs?: number): Promise<void> {
    const options = retryForMs === undefined ? {} : { retryForMs };
    const { store, request } = this.options;
    for (;;) {
      this.lost.throwIfAborted();
      try {
        this.lease = await store.write(make(this.lease), options);
        return;
      } catch (error) {
        if (isNotFound(error)) throw this.lose(undefined);
        if (!isConflict(error)) throw error;
      }
      const now = await store.read(options);
      if (now === undefined || !tokens.some((token) => isOwnedBy(now, { request, token }))) throw this.lose(now);
      this.lease = now;
    }
  }

  private lose(now: Lease | undefined): LockLostError {
    this.stopper.abort();
    const by = now === undefined ? undefined : lockState(now);
    const taken = by?.held === true ? `it was taken over by ${by.holder} (run ${by.run})` : 'it was freed by hand';
    const error = new LockLostError('this run has lost its lock', {
      reason: by === undefined ? 'the Lease was deleted' : taken,
      next: 'see what the nodes run (kubeos status), then give the same command again',
    });
    // While the lock is being given back, a Lease that is not ours any more is what was wanted.
    if (this.giving === undefined) this.loser.abort(error);
    return error;
  }
}
