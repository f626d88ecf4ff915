import { afterEach, describe, expect, it } from 'vitest';
import { createReport } from '../../../src/report/progress-report.ts';
import type { ProgressReport } from '../../../src/report/progress-types.ts';
import { cursorStream } from '../../../src/report/terminal-stream.ts';
import type { RolloutEvent } from '../../../src/rollout/events.ts';
import { entry, event, GIB, MIB, nodeResult, plan, rolloutResult, RUN, screen, upgraded } from './fixtures.ts';
import { FakeTerminal } from './terminal.ts';

const NAMES = ['worker-1', 'worker-2', 'worker-3', 'worker-4'];
const opened: ProgressReport[] = [];

afterEach(() => {
  for (const report of opened.splice(0)) report.stop();
});

async function terminalReport(terminal: FakeTerminal, colour = false) {
  const clock = { at: 0, now: () => clock.at };
  const report = await createReport({ stream: terminal, clock, mode: 'terminal', colour, ascii: false });
  opened.push(report);
  const send = (events: readonly RolloutEvent[]) => {
    for (const one of events) {
      clock.at = one.at;
      report.event(one);
    }
  };
  return { report, send };
}

const started = event('12:00:00', 'rollout-started', {
  run: RUN,
  plan: plan({ entries: NAMES.map((node) => entry(node, 7)) }),
});

const halfWay: RolloutEvent[] = [
  started,
  event('12:00:00', 'node-started', { node: 'worker-1', slot: 'B' }),
  event('12:02:51', 'node-done', { result: upgraded('worker-1', 171_000, 62_000) }),
  event('12:02:51', 'node-started', { node: 'worker-2', slot: 'B' }),
  event('12:02:52', 'node-started', { node: 'worker-3', slot: 'B' }),
  event('12:05:24', 'step-started', { node: 'worker-3', step: 'drain' }),
  event('12:05:24', 'step-waiting', { node: 'worker-3', step: 'drain', for: 'pod shop/db-1: budget shop/db allows 0' }),
  event('12:05:55', 'node-done', { result: upgraded('worker-2', 184_000, 70_000) }),
  event('12:05:55', 'node-started', { node: 'worker-4', slot: 'B' }),
  event('12:06:00', 'notice', { node: 'worker-4', message: 'the image server is slow: 1.0 MiB/s' }),
  event('12:06:02', 'step-started', { node: 'worker-4', step: 'write', slot: 'B' }),
  ...[0, 614 * MIB, 1229 * MIB].map((doneBytes, index) =>
    event(`12:06:${String(2 + 5 * index).padStart(2, '0')}`, 'step-progress', {
      node: 'worker-4',
      step: 'write',
      doneBytes,
      totalBytes: 2 * GIB,
    }),
  ),
];

describe('the report on a terminal', () => {
  it('leaves finished nodes and notices above one frame', async () => {
    const terminal = new FakeTerminal(80, 24);
    const { send } = await terminalReport(terminal);
    send(halfWay);
    const expected = screen('terminal');
    // Which picture of the spinner is shown depends on real time.
    const shown = terminal.lines.map((line) => line.replace(/^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]/, '⠋'));
    expect(shown).toEqual(expected);
    expect(terminal.cursorShown).toBe(false);
  });

  it('takes the frame away at the end and gives the cursor back', async () => {
    const terminal = new FakeTerminal(80, 24);
    const { send } = await terminalReport(terminal);
    send([...halfWay, event('12:10:00', 'rollout-done', { result: rolloutResult([]) })]);
    expect(terminal.lines).toEqual(screen('terminal').slice(0, 3));
    expect(terminal.cursorShown).toBe(true);
  });

  it('says why a node failed where it scrolls away, wrapped and not cut', async () => {
    const terminal = new FakeTerminal(60, 24);
    const { send, report } = await terminalReport(terminal);
    const what = 'slot B booted, and its kubelet was not Ready for ten long minutes';
    send([
      started,
      event('12:00:00', 'node-started', { node: 'worker-1', slot: 'B' }),
      event('12:12:02', 'node-done', {
        result: nodeResult('worker-1', 'fell back', { slot: 'A', tookMs: 722_000, what }),
      }),
    ]);
    report.stop();
    const text = terminal.lines.join(' ').replace(/\s+/g, ' ');
    expect(text).toBe(`✗ worker-1 fell back 12m 02s slot A ${what}`);
  });

  it('shows what goes on before the rollout', async () => {
    const terminal = new FakeTerminal(80, 24);
    const { report, send } = await terminalReport(terminal);
    report.activity('reading 7 nodes');
    expect(terminal.lines[0]?.slice(2)).toBe('reading 7 nodes');
    report.activity(undefined);
    expect(terminal.lines).toEqual([]);
    send([started]);
    expect(terminal.lines[0]).toContain('0 of 4 done');
  });

  it('takes the frame away while someone is asked', async () => {
    const terminal = new FakeTerminal(80, 24);
    const { report, send } = await terminalReport(terminal);
    send([started]);
    const during = await report.paused(() => Promise.resolve([...terminal.lines]));
    expect(during).toEqual([]);
    expect(terminal.lines[0]).toContain('0 of 4 done');
  });

  it('draws no frame before there is something to show, and none after the end', async () => {
    const terminal = new FakeTerminal(80, 24);
    const { report, send } = await terminalReport(terminal);
    send([event('12:00:00', 'notice', { message: 'before' })]);
    expect(terminal.lines).toEqual(['! before']);
    send([started]);
    report.stop();
    send([event('12:00:00', 'notice', { message: 'after' })]);
    expect(terminal.lines).toEqual(['! before', '! after']);
  });

  it('never throws, not even where the terminal is gone', async () => {
    const terminal = new FakeTerminal(80, 24);
    Object.assign(terminal, {
      write: () => {
        throw new Error('EIO');
      },
    });
    const { send, report } = await terminalReport(terminal);
    expect(() => send(halfWay)).not.toThrow();
    expect(() => report.stop()).not.toThrow();
  });

  it('takes a terminal that knows no size, as a serial line, for one of 80 columns', () => {
    const stream = cursorStream(new FakeTerminal(0, 0));
    expect([stream.columns, stream.rows]).toEqual([80, 24]);
  });

  it('colours only repeat what words say', async () => {
    const plainTerminal = new FakeTerminal(80, 24);
    const coloured = new FakeTerminal(80, 24);
    const [plain, colour] = [await terminalReport(plainTerminal), await terminalReport(coloured, true)];
    plain.send(halfWay);
    plain.report.stop();
    colour.send(halfWay);
    colour.report.stop();
    expect(coloured.lines).toEqual(plainTerminal.lines);
  });
});
