import { InterruptedError } from '../errors.ts';

/** As much of `process` as is needed; a test hands in its own. */
export interface SignalTarget {
  readonly pid: number;
  on(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  off(signal: NodeJS.Signals, listener: (signal: NodeJS.Signals) => void): unknown;
  kill(pid: number, signal: NodeJS.Signals): unknown;
}

/** How the user or the system asks a run to stop. Both are aborted with an InterruptedError as their reason. */
export interface StopSignals {
  /** Start nothing more, bring what is armed to its end. */
  readonly graceful: AbortSignal;
  /** Stop at once. */
  readonly hard: AbortSignal;
  /** From now on something may have been changed; before, a stop says that nothing was. */
  begin(): void;
  /** Stops gracefully because of a bug, as the first signal does. */
  stopFor(bug: unknown): void;
  /** Gives the signals their usual meaning back. */
  dispose(): void;
}

const STOP = ['SIGINT', 'SIGTERM'] as const;

/**
 * The first SIGINT or SIGTERM stops gracefully, the second at once, a third ends the process as if nobody had listened.
 * SIGHUP changes nothing: a lost login must not strand nodes between two slots.
 * @param onSignal is told each time, to say what happens now
 */
export function listenForSignals(
  onSignal: (signal: NodeJS.Signals, count: number) => void = () => undefined,
  target: SignalTarget = process,
): StopSignals {
  const graceful = new AbortController();
  const hard = new AbortController();
  let count = 0;
  let begun = false;
  const stop = (signal: NodeJS.Signals): void => {
    count += 1;
    if (count > 2) {
      dispose();
      target.kill(target.pid, signal);
      return;
    }
    const why = begun
      ? new InterruptedError(`interrupted by ${signal}`, { next: CARRY_ON })
      : new InterruptedError(`interrupted by ${signal}: nothing was changed`);
    (count === 1 ? graceful : hard).abort(why);
    onSignal(signal, count);
  };
  const ignore = (): void => undefined;
  const dispose = (): void => {
    for (const signal of STOP) target.off(signal, stop);
    target.off('SIGHUP', ignore);
  };
  for (const signal of STOP) target.on(signal, stop);
  target.on('SIGHUP', ignore);
  const stopFor = (bug: unknown): void =>
    graceful.abort(new InterruptedError('stopped by a bug in kubeos', { next: CARRY_ON, cause: bug }));
  const begin = (): void => void (begun = true);
  return { graceful: graceful.signal, hard: hard.signal, begin, stopFor, dispose };
}

const CARRY_ON = 'the same command again carries on; where the nodes stand is shown by:\n  kubeos status';
