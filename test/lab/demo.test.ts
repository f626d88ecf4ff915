import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from './lab-bed.ts';

const ROOT = path.join(import.meta.dirname, '../..');

/** The command lines that name this folder; what has ended and waits to be collected has none. */
async function processesOf(folder: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return lines.filter((line) => line.includes(folder));
}

describe('the demo', () => {
  let folder = '';
  let demo: ChildProcess | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'kd-'));
    // As root the lab runs its nodes as another user, who must be able to come by.
    await chmod(folder, 0o755);
    for (const name of ['bin', 'home', 'tmp']) await mkdir(path.join(folder, name), { mode: 0o755 });
    // What it would build is there: the tests run it.
    await writeFile(path.join(folder, 'bin/npm'), '#!/bin/sh\n', { mode: 0o755 });
  });
  afterAll(async () => {
    if (demo?.exitCode === null && demo.kill()) await once(demo, 'exit');
    await rm(folder, { recursive: true, force: true });
  });

  it('leaves nothing behind where its terminal is closed in the midst of an upgrade', async () => {
    const home = path.join(folder, 'home');
    const tmp = path.join(folder, 'tmp');
    const PATH = `${path.join(folder, 'bin')}:${process.env['PATH'] ?? ''}`;
    const started = spawn('sh', [path.join(ROOT, 'examples/demo.sh')], {
      env: { ...process.env, PATH, HOME: home, TMPDIR: tmp },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    demo = started;
    let said = '';
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (text: Buffer) => (said += text.toString()));
    const ended = once(started, 'exit');
    await until(
      () => /worker-1 +arm /.test(said) || started.exitCode !== null,
      () => `no node was armed: ${said}`,
    );
    expect((await processesOf(tmp)).length).toBeGreaterThanOrEqual(2);
    started.kill('SIGHUP');
    expect(await ended).toEqual([129, null]);
    expect(await processesOf(tmp)).toEqual([]);
    expect(await readdir(tmp)).toEqual([]);
    expect(await readdir(home)).toEqual([]);
  });
});
