import { beforeAll, describe, expect, it } from 'vitest';
import { lockToJson } from '../../../src/report/json.ts';
import { renderLock } from '../../../src/report/lock-screen.ts';
import { lockWaitFrame } from '../../../src/report/lock-wait.ts';
import { penFor } from '../../../src/report/pen.ts';
import { PlainReport } from '../../../src/report/plain-report.ts';
import { Progress } from '../../../src/report/progress.ts';
import type { RolloutEvent } from '../../../src/rollout/events.ts';
import type { LockState } from '../../../src/rollout/ports.ts';
import { at, DISPLAY, event, RUN, screen } from './fixtures.ts';

beforeAll(() => {
  process.env['TZ'] = 'UTC';
});

const lock: LockState = {
  held: true,
  holder: 'ci@runner-7, pid 4121, https://ci.example/jobs/981',
  what: 'upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
  run: RUN,
  acquiredAt: '2026-11-23T12:01:55Z',
  renewedAt: '2026-11-23T12:10:49Z',
  durationMs: 60_000,
  silentMs: 6_000,
  token: 7,
  version: '81',
};

describe('the lock', () => {
  it('is shown with who holds it, since when, for what, and what to do', () => {
    expect(renderLock(lock, DISPLAY)).toEqual(screen('lock-held'));
  });

  it('of a run without a sign of life is told as such, with the way to free it', () => {
    expect(renderLock({ ...lock, silentMs: 540_000 }, DISPLAY)).toEqual(screen('lock-dead'));
    const ended = renderLock({ ...lock, dead: true }, DISPLAY);
    expect(ended[0]).toBe('A run holds the lock whose process, on this machine, has ended.');
    expect(ended.join('\n')).toContain('kubeos lock release');
  });

  it('that nobody holds names the last run, and who freed it', () => {
    const free = renderLock({ ...lock, held: false, freedBy: 'ann@laptop, pid 9' }, DISPLAY).join('\n');
    expect(free).toContain('The lock is free.\n  last ');
    expect(free).toContain('freed  by hand, by ann@laptop, pid 9');
    expect(renderLock(undefined, DISPLAY)).toEqual(['The lock is free: no run has ever taken it.']);
  });

  it.each([
    ['held', lock],
    ['held', { ...lock, silentMs: 60_000 }],
    ['dead', { ...lock, silentMs: 60_001 }],
    ['dead', { ...lock, dead: true }],
    ['free', { ...lock, held: false, silentMs: 999_999 }],
    ['free', undefined],
  ])('is %s for programs', (standing, state) => {
    expect(lockToJson(state)).toMatchObject({ kind: 'Lock', exitCode: 0, standing });
  });
});

describe('the wait for the lock', () => {
  const waiting = (time: string, what: string, silentMs: number, alive = true): RolloutEvent =>
    event(time, 'lock-waiting', { holder: { ...lock, what, silentMs }, alive, timeoutMs: 1_800_000 });
  const UPGRADE = 'upgrade to KubeOS 2.0.0';
  const events: RolloutEvent[] = [
    waiting('12:10:55', `${UPGRADE}, 2 of 4 nodes done`, 6_000, false),
    waiting('12:11:04', `${UPGRADE}, 2 of 4 nodes done`, 0),
    waiting('12:11:19', `${UPGRADE}, 2 of 4 nodes done`, 0),
    waiting('12:11:34', `${UPGRADE}, 3 of 4 nodes done`, 0),
    waiting('12:11:49', `${UPGRADE}, 3 of 4 nodes done`, 0),
  ];

  it('is shown on a terminal with who holds it, its last sign of life and how far it is', () => {
    const progress = new Progress();
    for (const one of events.slice(0, 3)) progress.apply(one);
    const frame = lockWaitFrame(progress.lockWait!, at('12:11:25'), { columns: 80, rows: 24 }, penFor(DISPLAY));
    const [spinning, ...rest] = screen('lock-wait');
    expect(frame).toEqual([spinning?.slice(2), ...rest]);
  });

  it('keeps within the screen', () => {
    const progress = new Progress();
    progress.apply(waiting('12:11:04', 'x'.repeat(200), 0));
    const frame = lockWaitFrame(progress.lockWait!, at('12:11:25'), { columns: 40, rows: 3 }, penFor(DISPLAY));
    expect(frame).toHaveLength(2);
    for (const line of frame) expect(line.length).toBeLessThan(40);
  });

  it('is said in a pipeline at first, when the holder is found to live, and once a minute', () => {
    const lines: string[] = [];
    const report = new PlainReport((line) => lines.push(line), penFor({ ...DISPLAY, columns: Infinity }));
    let now = at('12:10:55');
    const taken = event('12:13:10', 'lock-taken', { waitedMs: 135_000 });
    for (const one of [...events, taken]) {
      for (now += 1000; now < one.at; now += 1000) report.tick(now);
      now = one.at;
      report.event(one);
    }
    for (; now < at('12:20:00'); now += 1000) report.tick(now);
    expect(lines).toEqual(screen('lock-wait-plain'));
  });

  it('ends with a word on the dead run that the lock was taken from', () => {
    const lines: string[] = [];
    const report = new PlainReport((line) => lines.push(line), penFor({ ...DISPLAY, columns: Infinity }));
    report.event(event('12:12:00', 'lock-taken', { waitedMs: 60_500, from: lock }));
    report.event(event('12:12:00', 'lock-taken', { waitedMs: 0, from: lock }));
    expect(lines.map((line) => line.slice('12:12:00 rollout  '.length))).toEqual([
      `took the lock over after 1m 00s from ${lock.holder}, which shows no sign of life: the plan is made anew`,
      `took the lock over from ${lock.holder}, which shows no sign of life: the plan is made anew`,
    ]);
  });
});
