import type { Clock } from './ports.ts';

/** More is never saved up while nothing moves. */
const SAVED_MS = 250;

/** Lets so many bytes a second by, over all who ask. */
export class Rate {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number;
  #freeAt = 0;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves once these bytes may go; rejects with the signal's reason. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const now = this.#clock.now();
    const from = Math.max(this.#freeAt, now - SAVED_MS);
    this.#freeAt = from + (bytes / this.#bytesPerSecond) * 1000;
    if (this.#freeAt > now) await this.#clock.sleep(this.#freeAt - now, signal);
  }
}
