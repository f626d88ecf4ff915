/** Time that passes only when everybody waits: a run of hours takes milliseconds, always in the same order. */
export class VirtualClock {
  #now: number;
  #sequence = 0;
  readonly #timers: { at: number; order: number; fire: () => void }[] = [];

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  /** Calls `fire` in so many milliseconds; returns the way to call it off. */
  after(ms: number, fire: () => void): () => void {
    const timer = { at: this.#now + ms, order: this.#sequence++, fire };
    const index = this.#timers.findIndex((other) => other.at > timer.at);
    this.#timers.splice(index === -1 ? this.#timers.length : index, 0, timer);
    return () => {
      const found = this.#timers.indexOf(timer);
      if (found !== -1) this.#timers.splice(found, 1);
    };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const onAbort = (): void => {
        cancel();
        reject(signal?.reason as Error);
      };
      const cancel = this.after(ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Lets time pass until the work is done. Fails where everybody waits for nothing. */
  async run<T>(work: Promise<T>, atMostMs = 48 * 3_600_000): Promise<T> {
    const state = { done: false };
    const mark = (): void => void (state.done = true);
    work.then(mark, mark);
    const end = this.#now + atMostMs;
    for (;;) {
      await settled();
      if (state.done) return work;
      if (!this.#step(end)) throw new Error(`nothing happens any more at ${this.#now - end + atMostMs} ms`);
    }
  }

  /** Lets so much time pass. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    do await settled();
    while (this.#step(end));
    this.#now = end;
  }

  /** Lets time pass all the while, for work that knows nothing of this clock; returns the way to stop it. */
  runAlways(): () => void {
    const state = { over: false };
    void (async () => {
      while (!state.over) {
        await settled();
        this.#step(Infinity);
      }
    })();
    return () => void (state.over = true);
  }

  #step(end: number): boolean {
    const next = this.#timers[0];
    if (next === undefined || next.at > end) return false;
    this.#timers.shift();
    this.#now = Math.max(this.#now, next.at);
    next.fire();
    return true;
  }
}

/** All promises that could move have moved. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
