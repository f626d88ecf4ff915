import { build } from 'esbuild';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { shellScripts } from '../../../shell-scripts.js';
import guardScript from '../../../src/cluster/guard.sh';
import { startGuarded } from '../../../src/cluster/guard.ts';

const environment = { PATH: process.env['PATH'] };
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guard-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Whether a process runs; one that only waits to be reaped does not. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const pidIn = (file: string): Promise<number> =>
  vi.waitFor(() => {
    const pid = Number(readFileSync(file, 'utf8'));
    if (!(pid > 0)) throw new Error('not written yet');
    return pid;
  }, 10_000);

describe('a guarded command', () => {
  test('hands on its output and its exit code', async () => {
    const guarded = startGuarded('sh', ['-c', 'echo out; echo err >&2; exit 7'], { environment });
    let [out, err] = ['', ''];
    guarded.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
    guarded.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
    expect(await guarded.exited).toEqual({ code: 7, signal: undefined });
    await vi.waitFor(() => expect([out, err]).toEqual(['out\n', 'err\n']), 10_000);
    expect(guarded.ended()).toBe(true);
    await guarded.end();
  });

  test('gets its arguments as they are, and an empty standard input', async () => {
    const file = join(folder, 'args');
    const args = ['a b', '$HOME', "it's", '', '; rm x'];
    const script = 'cat; for arg; do printf "%s\\n" "$arg"; done >"$0"';
    await startGuarded('sh', ['-c', script, file, ...args], { environment }).exited;
    expect(readFileSync(file, 'utf8')).toBe(`${args.join('\n')}\n`);
  });

  test('that is missing ends with 127', async () => {
    expect((await startGuarded('no-such-command', [], { environment }).exited).code).toBe(127);
  });

  test('is ended with all that it started, and the folder of its socket removed', async () => {
    const inner = join(folder, 'pid');
    const socketFolder = await mkdtemp(join(folder, 'd-'));
    await writeFile(join(socketFolder, 's'), '');
    // A wrapper that stays between, as some kubectls are, and a command that ignores polite signals.
    const script = `sh -c 'trap "" TERM INT HUP; echo $$ >"${inner}"; while :; do sleep 0.1; done'; true`;
    const guarded = startGuarded('sh', ['-c', script], { environment, folder: socketFolder });
    const pid = await pidIn(inner);
    await guarded.end();
    await vi.waitFor(() => expect(runs(pid)).toBe(false), 10_000);
    expect(existsSync(socketFolder)).toBe(false);
  });

  test('is ended alone where the guard does not lead its process group', async () => {
    const inner = join(folder, 'pid');
    const command = `echo $$ >"${inner}"; while :; do sleep 0.1; done`;
    const guard = ['/bin/sh', '-c', guardScript, 'kubeos-guard', '1', '', 'sh', '-c', command];
    // A session of its own for this test's sake: its leader is the bystander that must stay.
    const bystander = spawn('/bin/sh', ['-c', '"$@"; echo "stays after $?"', 'bystander', ...guard], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    let said = '';
    bystander.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const pid = await pidIn(inner);
    bystander.stdin.end();
    await vi.waitFor(() => expect(said).toBe('stays after 137\n'), 10_000);
    await vi.waitFor(() => expect(runs(pid)).toBe(false), 10_000);
  });

  test.each([
    ['killed with -9', 'SIGKILL'],
    ['frozen', 'SIGSTOP'],
  ] as const)('does not outlive a kubeos that is %s', async (_how, signal) => {
    const bundle = join(folder, 'guard.mjs');
    const source = new URL('../../../src/cluster/guard.ts', import.meta.url).pathname;
    await build({
      entryPoints: [source],
      outfile: bundle,
      bundle: true,
      format: 'esm',
      platform: 'node',
      plugins: [shellScripts],
    });
    const inner = join(folder, 'pid');
    const socketFolder = await mkdtemp(join(folder, 'd-'));
    const parent = join(folder, 'parent.mjs');
    const args = JSON.stringify(['-c', `echo $$ >"${inner}"; while :; do sleep 0.1; done`]);
    const options = `{ environment: process.env, folder: ${JSON.stringify(socketFolder)}, tickSeconds: 1 }`;
    await writeFile(parent, `import { startGuarded } from './guard.mjs';\nstartGuarded('sh', ${args}, ${options});\n`);
    const child = spawn(process.execPath, [parent], { stdio: 'ignore' });
    const pid = await pidIn(inner);
    expect(runs(pid)).toBe(true);
    child.kill(signal);
    await vi.waitFor(() => expect(runs(pid)).toBe(false), 15_000);
    await vi.waitFor(() => expect(existsSync(socketFolder)).toBe(false), 10_000);
    child.kill('SIGKILL');
  });
});
