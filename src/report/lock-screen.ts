import { isLive, isSilent } from '../rollout/lock-state.ts';
import type { LockState } from '../rollout/ports.ts';
import { defined } from './defined.ts';
import type { Display } from './display.ts';
import { field, fields, hanging } from './layout.ts';
import { penFor } from './pen.ts';
import { dayAndZone, duration, roughDuration, timeOfDay } from './units.ts';

/**
 * - `free`: nobody holds it.
 * - `held`: a run holds it that has shown a sign of life within the time that it promised.
 * - `dead`: a run holds it that has not, or whose process on this machine has ended: the next run takes it over.
 */
export type LockStanding = 'free' | 'held' | 'dead';

export function standingOf(lock: LockState | undefined): LockStanding {
  if (lock?.held !== true) return 'free';
  return isLive(lock) ? 'held' : 'dead';
}

/** `kubeos lock status`: who, since when, what, the last sign of life, the token. */
export function renderLock(lock: LockState | undefined, display: Display): string[] {
  const pen = penFor(display);
  const standing = standingOf(lock);
  if (lock === undefined) return ['The lock is free: no run has ever taken it.'];
  const paint = { free: pen.good, held: pen.bold, dead: pen.warn }[standing];
  const { run, freedBy, token } = lock;
  return [
    ...hanging('', title(lock, standing), pen).map(paint),
    ...fields(
      [
        field(standing === 'free' ? 'last' : 'who', lock.holder),
        field('run', run),
        field('since', sinceText(lock)),
        field('what', lock.what),
        field('freed', freedBy === undefined || standing !== 'free' ? undefined : `by hand, by ${freedBy}`),
        field('token', String(token)),
        field('next', NEXT[standing]),
      ],
      2,
      pen,
    ),
  ];
}

/** What `kubeos lock release` did. @param lock as it was before */
export function renderFreed({ holder, run, what, token }: LockState, display: Display): string[] {
  const pen = penFor(display);
  return [
    pen.good('The lock is free.'),
    ...fields(
      [
        field('from', holder),
        field('run', run),
        field('what', what),
        field('token', String(token)),
        field('next', 'see where that run left the nodes: kubeos status'),
      ],
      2,
      pen,
    ),
  ];
}

function title(lock: LockState, standing: LockStanding): string {
  if (standing === 'free') return 'The lock is free.';
  if (standing === 'held') return 'A run holds the lock.';
  if (isSilent(lock)) return `A run holds the lock, with no sign of life for ${roughDuration(lock.silentMs ?? 0)}.`;
  return 'A run holds the lock whose process, on this machine, has ended.';
}

function sinceText({ acquiredAt, renewedAt, silentMs }: LockState): string | undefined {
  if (acquiredAt === undefined) return undefined;
  const began = Date.parse(acquiredAt);
  const since = `${timeOfDay(began)} on ${dayAndZone(began)}`;
  return renewedAt === undefined || silentMs === undefined
    ? since
    : `${since}, last sign of life ${duration(silentMs)} ago`;
}

const NEXT: Readonly<Record<LockStanding, string | undefined>> = {
  free: undefined,
  held: 'to wait for it, give your command with --lock-wait 30m',
  dead: 'the next run takes it over by itself; to free it at once:\nkubeos lock release',
};

/** The lock for programs. */
export interface LockFacts {
  standing: LockStanding;
  holder?: string;
  run?: string;
  what?: string;
  acquiredAt?: string;
  renewedAt?: string;
  silentMs?: number;
  durationMs?: number;
  freedBy?: string;
  token: number;
}

/** Without what only kubeos itself needs. */
export function lockFacts(lock: LockState | undefined): LockFacts {
  if (lock === undefined) return { standing: 'free', token: 0 };
  const { holder, run, what, acquiredAt, renewedAt, silentMs, durationMs, freedBy, token } = lock;
  return {
    standing: standingOf(lock),
    holder,
    run,
    what,
    ...defined({ acquiredAt, renewedAt, silentMs }),
    durationMs,
    ...defined({ freedBy }),
    token,
  };
}
