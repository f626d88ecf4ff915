/** The lab's time; a test can bring its own. */
export interface ApiClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls `run` once, `ms` milliseconds from now, unless the returned function is called before. */
  later(ms: number, run: () => void): () => void;
}

/** The machine's clock; its timers do not keep the process alive. */
export const systemClock: ApiClock = {
  now: () => Date.now(),
  later: (ms, run) => {
    const timer = setTimeout(run, ms);
    timer.unref();
    return () => {
      clearTimeout(timer);
    };
  },
};
