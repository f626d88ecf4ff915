import { ApiUnreachableError, ConnectError } from '../errors.ts';
import type { Clock } from './ports.ts';

const API_PATIENCE_MS = 10 * 60_000;
const API_RETRY_MS = 5000;

/**
 * Does what must be done in the cluster, waiting up to ten minutes for an API server that is away: a single control
 * plane reboots in that time.
 * @throws the last ApiUnreachableError when that time is over; any other error at once
 */
export async function untilApiAnswers<T>(clock: Clock, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  const deadline = clock.now() + API_PATIENCE_MS;
  for (;;) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiUnreachableError) || clock.now() >= deadline) throw error;
    }
    await clock.sleep(API_RETRY_MS, signal);
  }
}

const CONNECT_TRIES = 4;
const CONNECT_RETRY_MS = 5000;

/** Does what may be done twice on a node, trying again a few times where the connection breaks. */
export async function despiteCuts<T>(clock: Clock, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  for (let left = CONNECT_TRIES - 1; ; left--) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ConnectError) || left === 0) throw error;
    }
    await clock.sleep(CONNECT_RETRY_MS, signal);
  }
}

/** Waits for the work, but not beyond the signal: then what is under way is left to itself, and its end is ignored. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  work.catch(() => undefined);
  let forget = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    const onAbort = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('stopped'));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    forget = () => signal.removeEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    forget();
  }
}
