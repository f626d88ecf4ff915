const LEAST_BYTES = 64 * 1024;
const MOST_BYTES = 256 * 1024;
const QUICK_MS = 100;
const SLOW_MS = 1000;

/**
 * How much is written at once, and gone before more is: little over a slow link, since whatever else is said, a keepalive
 * say, stands behind it; much over a quick one, since small writes cost processor time.
 */
export class Portion {
  #bytes = LEAST_BYTES;

  get bytes(): number {
    return this.#bytes;
  }

  /** Notes how long one was on its way out. What went at once says nothing: it may lie in a buffer before a slow link. */
  took(ms: number): void {
    if (ms < QUICK_MS) this.#bytes = Math.min(2 * this.#bytes, MOST_BYTES);
    else if (ms > SLOW_MS) this.#bytes = Math.max(this.#bytes / 2, LEAST_BYTES);
  }
}
