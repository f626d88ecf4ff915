import type { RolloutEvent } from '../rollout/events.ts';
import type { LockState } from '../rollout/ports.ts';
import type { Field } from './layout.ts';
import { field, fields } from './layout.ts';
import type { Pen } from './pen.ts';
import { truncate } from './text.ts';
import { duration, roughDuration, timeOfDay } from './units.ts';

/** The wait for another run's lock, as its latest event told it. */
export type LockWaitEvent = Extract<RolloutEvent, { type: 'lock-waiting' }>;

/** Milliseconds since 1970 at which the wait, or the watch for a sign of life, began. */
interface Since {
  since: number;
}

/** What is waited for: `waits for the lock, at most 30m`. */
export function lockWaitText({ alive, timeoutMs, holder }: LockWaitEvent): string {
  if (!alive) return `watches the lock's holder for a sign of life, up to ${roughDuration(holder.durationMs)}`;
  return `waits for the lock${atMost(timeoutMs)}`;
}

/** Who holds it and how far that run is, in one line. */
export const lockHolderText = ({ holder, what, acquiredAt }: LockState): string =>
  `${holder}${acquiredAt === undefined ? '' : `, since ${timeOfDay(Date.parse(acquiredAt))}`}: ${what}`;

/** How the wait ended. */
export function lockTakenText({ waitedMs, from }: Extract<RolloutEvent, { type: 'lock-taken' }>): string {
  const after = waitedMs < 1000 ? '' : ` after ${duration(waitedMs)}`;
  const anew = 'the plan is made anew';
  if (from === undefined) return `has the lock${after}: ${anew}`;
  return `took the lock over${after} from ${from.holder}, which shows no sign of life: ${anew}`;
}

/** The frame of a terminal while the lock is waited for; the first line leaves room for the spinner. */
export function lockWaitFrame(
  wait: LockWaitEvent & Since,
  now: number,
  size: { columns: number; rows: number },
  pen: Pen,
): string[] {
  const room = size.columns - 1;
  const first = `${lockWaitText(wait)}  ${duration(now - wait.since)}`;
  const lines = [pen.bold(truncate(pen.line(first), room - 2, pen.symbols.ellipsis))];
  const wide = { ...pen, columns: Number.POSITIVE_INFINITY };
  const details = fields(holderFields(wait.holder, now - wait.at), 2, wide);
  return [...lines, ...details.map((line) => truncate(line, room, pen.symbols.ellipsis))].slice(0, size.rows - 1);
}

/**
 * Who holds the lock, since when and for what.
 * @param agoMs how long ago that was read, in milliseconds
 */
export function holderFields({ holder, run, what, acquiredAt, silentMs }: LockState, agoMs: number): Field[] {
  const since = acquiredAt === undefined ? 'unknown' : timeOfDay(Date.parse(acquiredAt));
  const life = silentMs === undefined ? '' : `, last sign of life ${duration(silentMs + agoMs)} ago`;
  const found = [
    field('who', holder),
    field('run', run),
    field('since', `${since}${life}`),
    field('what', what === '' ? 'unknown' : what),
  ];
  return found.filter((one) => one !== undefined);
}

/** The same as text, a line each. */
export const describeLock = (lock: LockState): string =>
  holderFields(lock, 0)
    .map(({ label, text }) => `${label.padEnd(5)}  ${String(text)}`)
    .join('\n');

function atMost(timeoutMs: number | undefined): string {
  return timeoutMs === undefined || timeoutMs === 0 ? '' : `, at most ${roughDuration(timeoutMs)}`;
}
