import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runLogDir } from '../../../src/local/log-dir.ts';
import { createLogReport, fileName } from '../../../src/local/log-report.ts';
import { event, nodeResult, plan, rolloutResult, RUN, upgraded } from '../report/fixtures.ts';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kubeos-logs-'));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

describe("a run's log folder", () => {
  it('is in the state folder of the user, or where the flag says', () => {
    expect(runLogDir('r1', undefined, {}, '/home/u')).toBe('/home/u/.local/state/kubeos/runs/r1');
    expect(runLogDir('r1', undefined, { XDG_STATE_HOME: '/state' }, '/home/u')).toBe('/state/kubeos/runs/r1');
    expect(runLogDir('r1', undefined, { XDG_STATE_HOME: 'relative' }, '/h')).toBe('/h/.local/state/kubeos/runs/r1');
    expect(runLogDir('r1', '/logs', { XDG_STATE_HOME: '/state' }, '/home/u')).toBe('/logs/r1');
  });

  it('holds every event as data, and a file for each node', () => {
    const log = createLogReport(join(root, 'a', 'b'));
    const failed = nodeResult('worker-2', 'failed', {
      now: 'KubeOS 1.0.0',
      slot: 'A',
      step: 'stage',
      what: 'the download failed',
      reason: 'line one\nline two',
      next: 'try again',
      logTail: ['curl: (22)'],
      tookMs: 1000,
    });
    const events = [
      event('12:00:00', 'rollout-started', { run: RUN, plan: plan() }),
      event('12:00:01', 'node-started', { node: 'worker-1', slot: 'B' }),
      event('12:00:02', 'step-started', { node: 'worker-1', step: 'stage' }),
      event('12:00:03', 'step-done', { node: 'worker-1', step: 'stage', detail: '2 GiB', tookMs: 900, skipped: false }),
      event('12:00:04', 'node-done', { result: upgraded('worker-1', 3000, 1000) }),
      event('12:00:05', 'node-done', { result: failed }),
    ];
    for (const one of events) log.event(one);
    expect(readdirSync(log.dir).toSorted()).toEqual(['run.ndjson', 'worker-1.log', 'worker-2.log']);
    const data = readFileSync(join(log.dir, 'run.ndjson'), 'utf8').trimEnd().split('\n');
    expect(data.map((line): unknown => JSON.parse(line))).toEqual(events);
    expect(readFileSync(join(log.dir, 'worker-1.log'), 'utf8').split('\n')).toEqual([
      '2026-11-23T12:00:01.000Z started, towards slot B',
      '2026-11-23T12:00:02.000Z stage: started',
      '2026-11-23T12:00:03.000Z stage: done in 900 ms: 2 GiB',
      '2026-11-23T12:00:04.000Z upgraded: was KubeOS 1.0.0, now KubeOS 2.0.0, slot B, after 3000 ms',
      '2026-11-23T12:00:04.000Z   unavailable: 1000 ms',
      '',
    ]);
    expect(readFileSync(join(log.dir, 'worker-2.log'), 'utf8').split('\n')).toEqual([
      '2026-11-23T12:00:05.000Z failed: was KubeOS 1.0.0, now KubeOS 1.0.0, slot A, after 1000 ms',
      '2026-11-23T12:00:05.000Z   step: stage',
      '2026-11-23T12:00:05.000Z   what: the download failed',
      '2026-11-23T12:00:05.000Z   cause: line one',
      '2026-11-23T12:00:05.000Z line two',
      '2026-11-23T12:00:05.000Z   next: try again',
      '2026-11-23T12:00:05.000Z   log: curl: (22)',
      '',
    ]);
  });

  it('leads all that tells what to do, and it alone, to the cluster', () => {
    const log = createLogReport(join(root, 'run'), { advice: (text) => `${text} --context=prod` });
    const next = 'look at the node: kubeos status';
    const failed = nodeResult('worker-1', 'failed', { what: 'the disk fails', next });
    log.event(event('12:00:05', 'node-done', { result: failed }));
    log.event(event('12:00:06', 'rollout-done', { result: rolloutResult([failed]) }));
    const lines = ['worker-1.log', 'run.ndjson'].map((name) => readFileSync(join(log.dir, name), 'utf8')).join('');
    expect(lines.split(next)).toHaveLength(4);
    expect(lines.split(`${next} --context=prod`)).toHaveLength(4);
    expect(lines.split(' --context=prod')).toHaveLength(4);
  });

  it('is there as soon as an event has come, for its owner alone', () => {
    const log = createLogReport(join(root, 'run'));
    log.event(event('12:00:00', 'notice', { node: 'worker-1', message: 'hello' }));
    expect(readFileSync(join(log.dir, 'worker-1.log'), 'utf8')).toContain('hello');
    expect(statSync(log.dir).mode & 0o777).toBe(0o700);
    expect(statSync(join(log.dir, 'run.ndjson')).mode & 0o777).toBe(0o600);
  });

  it('holds no secret and no escape sequence', () => {
    const log = createLogReport(join(root, 'run'));
    const message = 'GET https://me:hunter2@10.0.0.5/x?X-Amz-Signature=0123456789abcdef0123 \u001b[31mfailed\u0007';
    log.event(event('12:00:00', 'notice', { node: 'worker-1', message }));
    const text = readdirSync(log.dir)
      .map((name) => readFileSync(join(log.dir, name), 'utf8'))
      .join('');
    expect(text).not.toContain('hunter2');
    expect(text).not.toContain('0123456789abcdef0123');
    expect(text).not.toContain('\u001b');
  });

  it('does not fill up with progress', () => {
    const log = createLogReport(join(root, 'run'));
    for (let second = 10; second < 60; second += 1) {
      log.event(event(`12:00:${second}`, 'step-progress', { node: 'worker-1', step: 'stage', doneBytes: second }));
    }
    expect(readFileSync(join(log.dir, 'worker-1.log'), 'utf8').trimEnd().split('\n')).toHaveLength(5);
  });

  it('that cannot be written is told once, and the run goes on', () => {
    writeFileSync(join(root, 'file'), '');
    const told: string[] = [];
    const log = createLogReport(join(root, 'file', 'run'), { onProblem: (message) => told.push(message) });
    log.event(event('12:00:00', 'notice', { message: 'x' }));
    log.event(event('12:00:01', 'notice', { message: 'y' }));
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(
      /^the log folder .*\/file\/run cannot be written: ENOTDIR.*; the run goes on without logs$/,
    );
    expect(log.problem).toContain('cannot be written');
  });

  it.each([
    ['worker-1', /^worker-1$/],
    ['ip-10-0-0-1.example.internal', /^ip-10-0-0-1\.example\.internal$/],
    ['../../etc/passwd', /^______etc_passwd-[0-9a-f]{8}$/],
    ['.hidden', /^_hidden-[0-9a-f]{8}$/],
    ['', /^-[0-9a-f]{8}$/],
  ])('gives the node %j a file inside it', (node, expected) => {
    expect(fileName(node)).toMatch(expected);
  });
});
