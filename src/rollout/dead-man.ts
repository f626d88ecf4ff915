import { ConnectError, KubeosError, LockLostError } from '../errors.ts';
import type { Trip } from './trip.ts';

/** A trial's timer is renewed this many times in its span, so that a renewal may fail. */
const RENEWALS = 4;

/** Keeps the dead man's timer of a node on trial wound, for as long as this run lives and reaches the node. */
export class DeadMan {
  readonly #trip: Trip;
  readonly #over = new AbortController();
  #renewing: Promise<void> | undefined;
  #told = false;

  constructor(trip: Trip) {
    this.#trip = trip;
  }

  /** To be called at each first contact with a boot on trial. Rejects with LockLostError where a newer run is at work. */
  async plant(): Promise<void> {
    if (this.#trip.context.options.deadManMs === 0) return;
    await this.#wind();
    this.#renewing ??= this.#renew();
  }

  /** Ends the renewals; the timer itself ends with the trial. */
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    const { ports, options } = this.#trip.context;
    for (;;) {
      const slept = await ports.clock.sleep(options.deadManMs / RENEWALS, this.#over.signal).then(
        () => true,
        () => false,
      );
      if (!slept) return;
      try {
        await this.#wind();
      } catch {
        // Whose the lock is now, every step of the trial finds out by itself.
        return;
      }
    }
  }

  /** A node that cannot be reached is told of by what follows. */
  async #wind(): Promise<void> {
    const { ports, options } = this.#trip.context;
    try {
      await ports.remote.deadMan(this.#trip.node, this.#trip.authority, options.deadManMs);
      this.#trip.deadManWound = true;
    } catch (error) {
      if (!(error instanceof KubeosError) || error instanceof LockLostError) throw error;
      if (error instanceof ConnectError || this.#told) return;
      this.#told = true;
      const why = error.reason === undefined ? error.message : `${error.message} (${error.reason})`;
      this.#trip.notice(`were this run to end now, it would stay on trial until it is reset: ${why}`);
    }
  }
}
