import { beforeAll, describe, expect, it } from 'vitest';
import { frame } from '../../../src/report/frame.ts';
import { penFor } from '../../../src/report/pen.ts';
import { PlainReport } from '../../../src/report/plain-report.ts';
import { Progress, waitKey } from '../../../src/report/progress.ts';
import type { RolloutEvent } from '../../../src/rollout/events.ts';
import {
  at,
  DISPLAY,
  entry,
  event,
  GIB,
  MIB,
  nodeResult,
  plan,
  rolloutResult,
  RUN,
  screen,
  upgraded,
} from './fixtures.ts';

const DB_WAIT = 'pod shop/db-1: budget shop/db allows 0';

beforeAll(() => {
  process.env['TZ'] = 'UTC';
});

describe('plain lines', () => {
  /** The lines of these events, with every second between them ticked away. */
  function plainLines(events: readonly RolloutEvent[], ascii = false): string[] {
    const lines: string[] = [];
    const report = new PlainReport((line) => lines.push(line), penFor({ ...DISPLAY, ascii, columns: Infinity }));
    let now = events[0]?.at ?? 0;
    for (const one of events) {
      for (now += 1000; now < one.at; now += 1000) report.tick(now);
      now = one.at;
      report.event(one);
    }
    return lines;
  }

  const started = event('12:03:44', 'rollout-started', {
    run: RUN,
    plan: plan({ entries: ['worker-1', 'worker-2', 'worker-3', 'worker-4'].map((node) => entry(node, 7)) }),
  });
  const stage = (time: string, doneBytes: number) =>
    event(time, 'step-progress', { node: 'worker-1', step: 'stage', doneBytes, totalBytes: 2 * GIB });
  const waits = (time: string) => event(time, 'step-waiting', { node: 'worker-1', step: 'drain', for: DB_WAIT });
  const step = (
    time: string,
    name: 'drain' | 'write' | 'verify' | 'arm' | 'reboot' | 'prove' | 'commit' | 'uncordon',
  ) => event(time, 'step-started', { node: 'worker-1', step: name });
  const done = (
    time: string,
    name: Extract<RolloutEvent, { type: 'step-done' }>['step'],
    detail: string,
    tookMs: number,
  ) => event(time, 'step-done', { node: 'worker-1', step: name, detail, tookMs, skipped: false });

  const second = (from: string, to: string, name: 'drain' | 'reboot' | 'prove', detail: string): RolloutEvent[] => [
    event(from, 'step-started', { node: 'worker-2', step: name }),
    event(to, 'step-done', { node: 'worker-2', step: name, detail, tookMs: 0, skipped: false }),
  ];

  it('tell a rollout one change at a time', () => {
    const unhealthy = 'slot B booted, but it was not healthy within 2m: kubelet not Ready';
    const fellBack = nodeResult('worker-2', 'fell back', {
      now: 'KubeOS 1.0.0',
      slot: 'A',
      what: 'healthy and in service again',
      reason: unhealthy,
    });
    const notStarted = ['worker-3', 'worker-4'].map((node) => nodeResult(node, 'not started', { reason: 'stopped' }));
    const events: RolloutEvent[] = [
      started,
      event('12:03:44', 'node-started', { node: 'worker-1', slot: 'B' }),
      event('12:03:44', 'step-started', { node: 'worker-1', step: 'stage' }),
      stage('12:03:45', 10 * MIB),
      stage('12:03:59', 700 * MIB),
      stage('12:04:14', 1434 * MIB),
      stage('12:04:20', 1700 * MIB),
      done('12:04:27', 'stage', '2.0 GiB verified in 43s', 43_000),
      step('12:04:27', 'write'),
      done('12:04:38', 'write', 'slot B, 2.0 GiB', 11_000),
      step('12:04:38', 'verify'),
      done('12:04:44', 'verify', 'slot B, read back equal, KubeOS 2.0.0', 6_000),
      event('12:04:44', 'step-started', { node: 'worker-1', step: 'drain' }),
      waits('12:04:44'),
      waits('12:04:50'),
      done('12:05:58', 'drain', '7 pods gone in 1m 14s', 74_000),
      step('12:05:58', 'arm'),
      done('12:05:58', 'arm', 'slot B for one boot, slot A stays permanent', 300),
      step('12:05:58', 'reboot'),
      done('12:06:42', 'reboot', 'slot B after 44s', 44_000),
      step('12:06:42', 'prove'),
      done('12:07:02', 'prove', 'slot B, KubeOS 2.0.0, kubelet Ready, 2 heartbeats', 20_000),
      done('12:07:02', 'commit', 'slot B is permanent', 200),
      done('12:07:03', 'uncordon', 'in service', 100),
      event('12:07:03', 'node-done', { result: upgraded('worker-1', 199_000, 139_000) }),
      event('12:07:03', 'node-started', { node: 'worker-2', slot: 'B' }),
      event('12:07:05', 'step-done', {
        node: 'worker-2',
        step: 'stage',
        detail: 'done in an earlier run',
        tookMs: 10,
        skipped: true,
      }),
      event('12:07:05', 'notice', { message: 'the API server was away for 4s' }),
      ...second('12:07:21', '12:07:30', 'drain', '5 pods gone in 9s'),
      ...second('12:07:30', '12:07:50', 'reboot', 'slot B came up'),
      event('12:07:50', 'step-started', { node: 'worker-2', step: 'prove' }),
      event('12:07:50', 'step-waiting', { node: 'worker-2', step: 'prove', for: 'kubelet not Ready' }),
      ...second('12:09:50', '12:09:50', 'prove', 'not proven').slice(1),
      event('12:09:50', 'notice', { node: 'worker-2', message: `${unhealthy}: it is sent back to slot A` }),
      ...second('12:09:50', '12:10:20', 'reboot', 'slot A came up'),
      event('12:10:20', 'step-waiting', { node: 'worker-2', step: 'prove', for: '0 of 2 heartbeats' }),
      event('12:10:26', 'step-waiting', { node: 'worker-2', step: 'prove', for: '1 of 2 heartbeats' }),
      event('12:10:29', 'node-done', { result: fellBack }),
      event('12:10:29', 'stopping', { reason: 'after 1 failure (--max-failures 1)' }),
      ...notStarted.map((result) => event('12:10:29', 'node-done', { result })),
      event('12:10:29', 'rollout-done', {
        result: rolloutResult([upgraded('worker-1', 1, 1), fellBack, ...notStarted], { exitCode: 5, tookMs: 405_000 }),
      }),
    ];
    expect(plainLines(events)).toEqual(screen('plain'));
  });

  const wait = (time: string, what: string) =>
    event(time, 'step-waiting', { node: 'worker-1', step: 'drain', for: what });
  const begun = [
    started,
    event('12:03:44', 'node-started', { node: 'worker-1', slot: 'B' }),
    step('12:03:44', 'drain'),
  ];

  it('tell a wait only once it lasts, and again each minute, whatever its times and counts', () => {
    const lines = plainLines([
      ...begun,
      wait('12:03:45', 'pod a/b: terminating since 4s'),
      wait('12:03:49', '9 of 9 pods left'),
      wait('12:03:54', '7 of 9 pods left'),
      wait('12:04:05', '5 of 9 pods left'),
      wait('12:05:05', 'pod a/c: budget a/c allows 0'),
      done('12:05:14', 'drain', '9 pods gone in 1m 29s', 89_000),
    ]);
    expect(lines.slice(3)).toEqual([
      '12:03:59 worker-1  drain    waits: 7 of 9 pods left',
      '12:04:59 worker-1  drain    still waits, since 1m: 5 of 9 pods left',
      '12:05:14 worker-1  drain    9 pods gone in 1m 29s',
    ]);
  });

  it('say each minute that a silent step goes on', () => {
    const lines = plainLines([
      ...begun,
      done('12:03:50', 'drain', '', 0),
      step('12:04:00', 'reboot'),
      done('12:06:10', 'reboot', 'slot B came up', 0),
    ]);
    expect(lines.slice(4)).toEqual([
      '12:05:00 worker-1  reboot   goes on, since 1m',
      '12:06:00 worker-1  reboot   goes on, since 2m',
      '12:06:10 worker-1  reboot   slot B came up',
    ]);
  });

  it('say that no byte comes any more', () => {
    const lines = plainLines([
      ...begun,
      stage('12:03:45', MIB),
      stage('12:03:50', 30 * MIB),
      step('12:05:00', 'write'),
    ]);
    expect(lines.slice(3)).toEqual(['12:04:44 worker-1  stage    1%  0.0 of 2.0 GiB  no byte for 54s']);
  });

  it('say who uses up the budget', () => {
    const waiting = (time: string) =>
      event(time, 'budget-waiting', { eatenBy: ['worker-8', 'worker-9'], timeoutMs: 600_000 });
    const other = event('12:06:30', 'notice', { message: 'x' });
    const lines = plainLines([started, waiting('12:05:00'), waiting('12:05:10'), other]);
    expect(lines.slice(2, 4)).toEqual([
      '12:05:00 rollout   waits for the budget, at most 10m: unavailable already: worker-8, worker-9',
      '12:06:00 rollout   waits for the budget, at most 10m: unavailable already: worker-8, worker-9',
    ]);
  });

  it('bear time and name on each line, safe and in ASCII if need be, whatever a node says', () => {
    const message = 'a\nb\u001b[2J …\u0007 https://u:p@h/x';
    const lines = plainLines([started, event('12:00:00', 'notice', { node: 'worker-1', message })], true);
    expect(lines.slice(2)).toEqual(['12:00:00 worker-1  notice: a', '12:00:00 worker-1    b ... https://***@h/x']);
  });
});

describe('the frame', () => {
  const pen = penFor(DISPLAY);
  const size = { columns: 80, rows: 24 };

  /** Four nodes: two upgraded, one that drains, one that writes. */
  function halfWay(): Progress {
    const progress = new Progress();
    const entries = ['worker-1', 'worker-2', 'worker-3', 'worker-4'].map((node) => entry(node, 7));
    const write = (time: string, doneBytes: number) =>
      event(time, 'step-progress', { node: 'worker-4', step: 'write', doneBytes, totalBytes: 2 * GIB });
    const events: RolloutEvent[] = [
      event('12:00:00', 'rollout-started', { run: RUN, plan: plan({ entries }) }),
      event('12:00:00', 'node-started', { node: 'worker-1', slot: 'B' }),
      event('12:02:51', 'node-done', { result: upgraded('worker-1', 171_000, 62_000) }),
      event('12:02:51', 'node-started', { node: 'worker-2', slot: 'B' }),
      event('12:02:52', 'node-started', { node: 'worker-3', slot: 'B' }),
      event('12:05:24', 'step-started', { node: 'worker-3', step: 'drain' }),
      event('12:05:24', 'step-waiting', { node: 'worker-3', step: 'drain', for: DB_WAIT }),
      event('12:05:55', 'node-done', { result: upgraded('worker-2', 184_000, 70_000) }),
      event('12:05:55', 'node-started', { node: 'worker-4', slot: 'B' }),
      event('12:06:02', 'step-started', { node: 'worker-4', step: 'write', slot: 'B' }),
      write('12:06:02', 0),
      write('12:06:07', 614 * MIB),
      write('12:06:12', 1229 * MIB),
    ];
    for (const one of events) progress.apply(one);
    return progress;
  }

  it('shows the run, and each node in flight with its step, its bytes and what it waits for', () => {
    const [spinning, ...rest] = screen('terminal').slice(3);
    expect(frame(halfWay(), at('12:06:12'), size, pen)).toEqual([spinning?.slice(2), ...rest]);
  });

  it('says that no byte has come for a while', () => {
    expect(frame(halfWay(), at('12:06:32'), size, pen).at(-1)).toBe(
      '  worker-4  write B  60%  1.2 of 2.0 GiB  no byte for 20s',
    );
  });

  it('counts the nodes that have no line, and shows those furthest on their way', () => {
    const progress = new Progress();
    const names = Array.from({ length: 30 }, (_, index) => `worker-${index + 1}`);
    const start = (node: string, step: 'stage' | 'write' | 'drain' | 'reboot', slot?: 'B'): RolloutEvent[] => [
      event('12:00:00', 'node-started', { node, slot: 'B' }),
      event('12:00:38', 'step-started', { node, step, ...(slot === undefined ? {} : { slot }) }),
    ];
    const events = [
      event('12:00:00', 'rollout-started', {
        run: RUN,
        plan: plan({ entries: names.map((node) => entry(node, 7)), maxUnavailable: 10 }),
      }),
      ...names.slice(10, 15).flatMap((node) => start(node, 'stage')),
      ...start('worker-3', 'write', 'B'),
      event('12:00:39', 'step-progress', { node: 'worker-3', step: 'write', doneBytes: GIB, totalBytes: 2 * GIB }),
      ...start('worker-2', 'drain'),
      ...start('worker-1', 'reboot'),
    ];
    for (const one of events) progress.apply(one);
    const [spinning, ...rest] = screen('terminal-many');
    expect(frame(progress, at('12:00:40'), { columns: 80, rows: 6 }, pen)).toEqual([spinning?.slice(2), ...rest]);
  });

  it('leaves out the least important where the terminal is narrow', () => {
    const header = (columns: number) => frame(halfWay(), at('12:06:12'), { columns, rows: 24 }, pen)[0];
    expect(header(70)).toBe('KubeOS 2.0.0  2 of 4 done  2 in flight  6m 12s, ~3m left');
    expect(header(40)).toBe('KubeOS 2.0.0  2 of 4 done');
    expect(header(20)).toBe('2 of 4 done');
  });

  it('says which nodes use up the budget while it waits for them', () => {
    const progress = halfWay();
    progress.apply(event('12:06:12', 'budget-waiting', { eatenBy: ['worker-9'], timeoutMs: 0 }));
    expect(frame(progress, at('12:06:12'), size, pen)[1]).toBe(
      '  waits for the budget: worker-9 is unavailable already',
    );
  });

  it('smooths the speed', () => {
    const progress = halfWay();
    const write = (time: string, doneBytes: number) =>
      progress.apply(event(time, 'step-progress', { node: 'worker-4', step: 'write', doneBytes, totalBytes: 2 * GIB }));
    const before = progress.node('worker-4')?.bytes?.perSecond ?? 0;
    write('12:06:13', 1229 * MIB + 1);
    const after = progress.node('worker-4')?.bytes?.perSecond ?? 0;
    expect(after).toBeGreaterThan(before * 0.8);
    expect(after).toBeLessThan(before);
  });
});

describe('a wait', () => {
  it.each([
    ['terminating since 48s', 'terminating since 1m 02s', true],
    ['terminating since 48s', 'terminating since 2h', true],
    ['3 of 7 pods left', '2 of 7 pods left', false],
    ['pod shop/db-5m', 'pod shop/db-6m', false],
    ['budget a allows 0', 'budget b allows 0', false],
  ])('%s and %s are the same: %s', (one, other, same) => {
    expect(waitKey(one) === waitKey(other)).toBe(same);
  });
});
