import { spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { composeScript } from '../../src/remote/compose.ts';
import { withLibrary } from '../../src/remote/scripts/index.ts';
import { type Answer, MIB, type Node, SHELLS, type Shell, makeBin, makeImage, makeNode, makeYard } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
const nodes = new Map<string, Node>();
let node: Node;

beforeAll(async () => {
  yard = await makeYard();
  const system = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
  for (const shell of SHELLS) {
    const bin = await makeBin(path.join(yard.dir, `bin-${shell}`), shell);
    nodes.set(shell, await makeNode(yard.dir, bin, system, { slotBytes: 2 * MIB }));
  }
});

afterEach(async () => {
  await node.machine.boot();
});

afterAll(async () => {
  await yard.remove();
});

/** A long step of these tests' own making. */
const payload = (body: string): string => composeScript(withLibrary(`main() {\n${body}\n}\n`), {});
const FOR_LONG = payload('say working; sleep 600');
const launch = (job: string, text: string): Promise<Answer> =>
  node.run('launch', { job, step: 'write', payload: text });
const poll = async (job: string): Promise<Answer> => node.ask('poll', { job });
const inJob = (name: string): string => path.join(node.machine.root, 'run/kubeos/job', name);

/** Launches a step that goes on for long, and waits until it has begun. */
async function launchLong(job: string): Promise<Answer> {
  const answer = await launch(job, FOR_LONG);
  await until(
    () => readFile(inJob('err'), 'utf8').catch(() => ''),
    (text) => text.includes('working'),
  );
  await until(running, (pids) => pids.length >= 3);
  return answer;
}

async function until<T>(look: () => Promise<T>, good: (seen: T) => boolean): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const seen = await look();
    if (good(seen)) return seen;
    if (Date.now() > deadline) throw new Error(`not in time: ${JSON.stringify(seen)}`);
  }
}

const ended = (job: string): Promise<Answer> =>
  until(
    () => poll(job),
    ({ values }) => values['state'] !== 'running',
  );
const running = (): Promise<number[]> => node.machine.processes();

const WAYS = [
  ...SHELLS.map((shell) => [shell, 'setsid'] as const),
  ['dash', 'systemd'] as const,
  ['busybox', 'systemd'] as const,
] satisfies readonly (readonly [Shell, string])[];

describe.each(WAYS)('a detached step, sh is %s, by %s', (shell, way) => {
  const prepare = async (): Promise<void> => {
    node = nodes.get(shell)!;
    node.by = { run: 'run-1', token: Number((await node.observe())['token']) + 1 };
    if (way === 'systemd') await mkdir(path.join(node.machine.root, 'run/systemd/system'), { recursive: true });
    await handOver(node.machine.root, node.machine.identity);
  };

  it('outlives the call, and is told with its answers, its errors and its exit code', async () => {
    await prepare();
    const body = 'say "to people"; out bytes 5; out basis "a=b"; die no-space "it is full"';
    expect((await launch('job-1', payload(body))).values).toEqual({ state: 'started' });
    const answer = await ended('job-1');
    expect(answer.values).toEqual({ state: 'done', rc: '16', 'out.bytes': '5', 'out.basis': 'a=b', err: 'it is full' });
    expect(answer.stdout).toContain('err=to people\n');
    expect(await node.observe()).toMatchObject({ 'job.id': 'job-1', 'job.running': 'no' });
    // What was sent may hold a signed address.
    await expect(readFile(inJob('script'))).rejects.toThrow('ENOENT');
  });

  it('is adopted by the same launch, and ended by another one', async () => {
    await prepare();
    await launchLong('job-1');
    const before = await running();
    expect((await launch('job-1', FOR_LONG)).values).toEqual({ state: 'adopted' });
    expect(await running()).toEqual(before);
    expect(await node.observe()).toMatchObject({ 'job.running': 'yes', 'job.step': 'write' });

    expect((await launchLong('job-2')).values).toEqual({ state: 'started' });
    expect((await running()).filter((pid) => before.includes(pid))).toEqual([]);
    expect((await poll('job-1')).values).toEqual({ state: 'gone' });
    expect((await poll('job-2')).values).toEqual({ state: 'running' });
  });

  it('is begun anew by the same launch once it has ended', async () => {
    await prepare();
    await launch('job-1', payload('exit 17'));
    expect((await ended('job-1')).values).toMatchObject({ rc: '17' });
    expect((await launch('job-1', payload('exit 0'))).values).toEqual({ state: 'started' });
    expect((await ended('job-1')).values).toMatchObject({ rc: '0' });
  });

  it('is ended with all its processes, even those that do not listen', async () => {
    await prepare();
    await launch('job-1', payload("trap '' TERM; (trap '' TERM; sleep 600; sleep 600) & sleep 600; sleep 600"));
    expect((await node.run('end-job', { job: 'another' })).values).toEqual({ state: 'gone' });
    await until(running, (pids) => pids.length >= 4);
    expect((await node.run('end-job', { job: 'job-1' })).values).toEqual({ state: 'ended' });
    expect(await running()).toEqual([]);
    expect((await poll('job-1')).values).toEqual({ state: 'gone' });
  });

  it('of an older run is ended by a newer claim, and refused to an older one', async () => {
    await prepare();
    await launch('job-1', FOR_LONG);
    await node.must('claim');
    expect((await poll('job-1')).values).toEqual({ state: 'running' });
    const old = { ...node.by };
    node.by = { run: 'run-2', token: old.token + 1 };
    await node.must('claim');
    // BusyBox's timeout, under which a line is logged, stays for a second.
    await until(running, (pids) => pids.length === 0);
    expect((await poll('job-1')).values).toEqual({ state: 'gone' });
    expect((await node.run('launch', { ...old, job: 'job-1', step: 'write', payload: FOR_LONG })).ended).toBe(
      'stale-token',
    );
    await until(running, (pids) => pids.length === 0);
  });

  it('that was killed is gone, with what it said last', async () => {
    await prepare();
    await launch('job-1', payload('say working; sleep 600'));
    await until(
      () => readFile(inJob('err'), 'utf8').catch(() => ''),
      (text) => text.includes('working'),
    );
    await node.machine.killAll();
    expect((await poll('job-1')).values).toEqual({ state: 'gone', err: 'working' });
  });

  it('shows how far it is', async () => {
    await prepare();
    const body = '{ printf 12345; exec sleep 600; } >"$RUN/x" &\nnote_total 4096; note_dd "$!" 1; wait';
    await launch('job-1', payload(body));
    const seen = await until(
      () => poll('job-1'),
      ({ values }) => values['done_bytes'] === '5',
    );
    expect(seen.values).toEqual({ state: 'running', done_bytes: '5', total_bytes: '4096' });
  });
});

describe('a download', () => {
  it('that gets its final name while it is looked at is still told as running', async () => {
    node = nodes.get('dash')!;
    node.by = { run: 'run-8', token: 800 };
    await node.run('launch', { job: 'job-1', step: 'stage', payload: FOR_LONG });
    const { bin } = node;
    // The file is gone by the time that stat looks.
    node.bin = await makeBin(path.join(yard.dir, 'bin-late'), 'dash', { stat: '#!/bin/sh\nexit 1\n' });
    try {
      const part = path.join(node.machine.root, 'persist/KubeOS-Update/update.img.part');
      await mkdir(path.dirname(part), { recursive: true });
      await writeFile(part, 'half');
      expect(await poll('job-1')).toMatchObject({ code: 0, values: { state: 'running' } });
    } finally {
      node.bin = bin;
    }
  });
});

describe('a process number that was given out again', () => {
  it('is not taken for the job, and its process is left alone', async () => {
    node = nodes.get('dash')!;
    node.by = { run: 'run-9', token: 900 };
    await launch('job-1', payload('exit 0'));
    await ended('job-1');
    const stranger = spawn('sleep', ['600'], { detached: true, ...(node.machine.identity ?? {}) });
    try {
      await writeFile(inJob('rc'), '');
      await writeFile(inJob('pid'), `${stranger.pid ?? 0} 1\n`);
      expect(await node.observe()).toMatchObject({ 'job.running': 'no' });
      expect((await node.run('end-job', { job: 'job-1' })).values).toEqual({ state: 'ended' });
      expect(stranger.exitCode).toBeNull();
      expect(stranger.signalCode).toBeNull();
    } finally {
      stranger.kill('SIGKILL');
    }
  });
});
