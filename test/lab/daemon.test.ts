import { execFile, spawn } from 'node:child_process';
import { access, chmod, chown, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { labPaths } from '../../src/lab/lab-files.ts';
import { processesOf } from '../../src/lab/processes.ts';
import { validateSpec } from '../../src/validate/index.ts';
import { type Finished, startKubeos, until } from './lab-bed.ts';

let folder: string;
let dir: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-daemon-'));
  await chmod(folder, 0o755);
  dir = path.join(folder, 'lab');
});

afterEach(async () => {
  await lab('stop');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** `kubeos lab …` with nothing in its environment but what it needs. */
async function lab(...args: string[]): Promise<Finished> {
  const env = { PATH: process.env['PATH'] ?? '', KUBEOS_LAB: dir };
  return startKubeos(['lab', ...args], env, undefined).done;
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

/** A zombie that nobody has collected yet does not live any more. */
async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return /^\d+ \(.*\) [^Z]/s.test(stat);
}

async function daemonPid(): Promise<number> {
  return (JSON.parse(await readFile(labPaths(dir).record, 'utf8')) as { pid: number }).pid;
}

/** Leaves a process running on worker-1 that outlives its connection. */
async function leaveProcess(): Promise<string> {
  const command = 'setsid sleep 600 >/dev/null 2>&1 </dev/null &';
  await new Promise((resolve) => {
    execFile('ssh', ['-F', labPaths(dir).sshConfig, 'worker-1', command], resolve);
  });
  const node = path.join(labPaths(dir).nodes, 'worker-1');
  expect(processesOf(node)).toHaveLength(1);
  return node;
}

describe('kubeos lab', () => {
  it('starts in the background, says what to try, can be asked, and is gone after stop', async () => {
    const started = await lab('start', '--nodes', '1');
    expect(started).toMatchObject({ code: 0 });
    expect(started.stdout).toContain(`. ${dir}/env`);
    expect(started.stdout).toMatch(/^worker-1 +up +A +KubeOS 1\.0\.0 /m);
    const pid = await daemonPid();
    const node = await leaveProcess();

    expect((await lab('fault', 'worker-1', 'disk-full')).code).toBe(0);
    expect((await lab('status')).stdout).toMatch(/^worker-1 .* disk-full$/m);
    expect((await lab('fault', 'worker-1', '--clear')).code).toBe(0);
    expect((await lab('status')).stdout).not.toContain('disk-full');

    const spec = validateSpec(await readFile(labPaths(dir).spec, 'utf8'), 'upgrade-disk.yaml');
    expect(spec.diagnostics).toEqual([]);
    expect(spec.spec).toMatchObject({ osversion: 'KubeOS 1.1.0', image: { cacert: 'ca.crt' } });

    expect(await lab('stop')).toMatchObject({ code: 0, stdout: `The lab in ${dir} is gone.\n` });
    expect(await isAlive(pid)).toBe(false);
    expect(processesOf(node)).toEqual([]);
    expect(await exists(dir)).toBe(false);
  });

  it('writes an env that a shell can read and that leads kubectl to the lab', async () => {
    await lab('start', '--nodes', '1');
    const script = `. ${dir}/env; kubectl get nodes -o name`;
    const nodes = await new Promise((resolve) => {
      // Without a home kubectl keeps its cache in the current folder.
      const env = { PATH: process.env['PATH'] ?? '', HOME: folder };
      execFile('sh', ['-c', script], { env }, (_error, stdout) => resolve(stdout));
    });
    expect(nodes).toBe('node/cp-1\nnode/worker-1\n');
  });

  it('refuses a second start, and leaves the first lab alone', async () => {
    await lab('start', '--nodes', '1');
    const pid = await daemonPid();
    const second = await lab('start');
    expect(second.code).toBe(4);
    expect(second.stderr).toContain(`a lab runs in ${dir} already`);
    expect(await isAlive(pid)).toBe(true);
    expect((await lab('status')).code).toBe(0);
  });

  it.each(['stop', 'start'] as const)('cleans up at %s after its process was killed', async (how) => {
    await lab('start', '--nodes', '1');
    const node = await leaveProcess();
    const pid = await daemonPid();
    process.kill(pid, 'SIGKILL');
    await until(async () => !(await isAlive(pid)));
    expect((await lab('status')).stderr).toContain(`no lab runs in ${dir}`);
    const next = await lab(how, ...(how === 'start' ? ['--nodes', '1'] : []));
    expect(next.code).toBe(0);
    expect(processesOf(node)).toEqual([]);
    expect(await exists(dir)).toBe(how === 'start');
  });

  it('ends by SIGTERM with everything that runs on its nodes', async () => {
    await lab('start', '--nodes', '1');
    const node = await leaveProcess();
    const pid = await daemonPid();
    process.kill(pid, 'SIGTERM');
    await until(async () => !(await isAlive(pid)));
    expect(processesOf(node)).toEqual([]);
  });

  it('never removes a folder that is no lab', async () => {
    await mkdir(dir);
    await writeFile(path.join(dir, 'thesis.txt'), 'work of years');
    for (const verb of ['start', 'stop']) {
      const refused = await lab(verb);
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining(`${dir} is no lab's folder`)]);
    }
    expect(await readFile(path.join(dir, 'thesis.txt'), 'utf8')).toBe('work of years');
    await rm(dir, { recursive: true });
  });

  it('ends nothing by a record whose process number was given to another', async () => {
    const stranger = spawn('sleep', ['600']);
    await mkdir(dir);
    await writeFile(labPaths(dir).record, JSON.stringify({ pid: stranger.pid, startTime: '1' }));
    expect((await lab('stop')).code).toBe(0);
    expect(stranger.exitCode).toBeNull();
    expect(await isAlive(stranger.pid ?? 0)).toBe(true);
    stranger.kill();
  });

  it('ends nothing by a record that names a process which is no lab of this folder', async () => {
    const command = ['-c', 'sleep 600; :', 'lab', 'run', '--dir', path.join(folder, 'another')];
    const stranger = spawn('sh', command, { env: { ...process.env, KUBEOS_LAB: dir } });
    const text = await readFile(`/proc/${stranger.pid}/stat`, 'latin1');
    const startTime = text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
    await mkdir(dir);
    await writeFile(labPaths(dir).record, JSON.stringify({ pid: stranger.pid, startTime }));
    expect((await lab('stop')).code).toBe(0);
    expect(await isAlive(stranger.pid ?? 0)).toBe(true);
    stranger.kill();
  });

  it.each([
    ['is a link', 'it is a link', (there: string) => symlink(there, dir)],
    ['others may write to', 'others than its owner may write to it', () => mkdir(dir).then(() => chmod(dir, 0o777))],
    ...(process.getuid?.() === 0
      ? ([
          ['belongs to another', 'it belongs to another user', () => mkdir(dir).then(() => chown(dir, 64613, 64613))],
        ] as const)
      : []),
  ] as const)('uses no folder that %s', async (_what, reason, plant) => {
    const there = await mkdtemp(path.join(folder, 'there-'));
    const precious = path.join(folder, 'precious');
    await writeFile(precious, 'work of years');
    await plant(there);
    await symlink(precious, labPaths(dir).log);
    for (const verb of ['start', 'status', 'stop']) {
      const refused = await lab(verb);
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining(reason)]);
    }
    expect(await readFile(precious, 'utf8')).toBe('work of years');
    await rm(dir, { recursive: true });
  });

  it('writes its log through no link', async () => {
    const precious = path.join(folder, 'precious');
    await writeFile(precious, 'work of years');
    await mkdir(dir, { mode: 0o755 });
    await symlink(precious, labPaths(dir).log);
    expect((await lab('start', '--nodes', '1')).code).not.toBe(0);
    expect(await readFile(precious, 'utf8')).toBe('work of years');
    await rm(dir, { recursive: true, force: true });
  });

  it('has a folder of each user’s own where none is named', async () => {
    const env = { PATH: process.env['PATH'] ?? '', TMPDIR: folder };
    const own = path.join(folder, `kubeos-lab-${process.getuid?.()}`);
    expect((await startKubeos(['lab', 'stop'], env, undefined).done).stdout).toBe(`There is no lab in ${own}.\n`);
    expect((await startKubeos(['lab', 'start', '--nodes', '1'], env, undefined).done).code).toBe(0);
    expect((await stat(own)).mode & 0o777).toBe(0o755);
    expect((await startKubeos(['lab', 'stop'], env, undefined).done).stdout).toBe(`The lab in ${own} is gone.\n`);
  });

  it('says what it needs: a kind that exists, a node that exists, a lab that runs', async () => {
    expect((await lab('fault')).stdout).toContain('boot-fails');
    expect(await lab('fault', 'worker-1', 'earthquake')).toMatchObject({ code: 2 });
    expect((await lab('status')).stderr).toContain('start one: kubeos lab start');
    expect(await lab('stop')).toMatchObject({ code: 0, stdout: `There is no lab in ${dir}.\n` });
    await lab('start', '--nodes', '1');
    const unknown = await lab('fault', 'worker-9', 'unready');
    expect(unknown.code).toBe(4);
    expect(unknown.stderr).toContain('take one of these: cp-1, worker-1');
  });

  it('says why it could not start, and leaves nothing behind', async () => {
    const tools = path.join(folder, 'tools');
    await mkdir(tools);
    await writeFile(path.join(tools, 'openssl'), '#!/bin/sh\necho "openssl: out of luck" >&2\nexit 1\n', {
      mode: 0o755,
    });
    const env = { PATH: `${tools}:${process.env['PATH'] ?? ''}`, KUBEOS_LAB: dir };
    const failed = await startKubeos(['lab', 'start', '--nodes', '1'], env, undefined).done;
    expect(failed.code).toBe(4);
    expect(failed.stderr).toContain('the lab did not start');
    expect(failed.stderr).toContain('out of luck');
    expect(await exists(dir)).toBe(false);
  });

  it('refuses a folder whose name is too long for its socket', async () => {
    const refused = await lab('start', '--dir', path.join(folder, 'x'.repeat(100)));
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('too long');
  });
});
