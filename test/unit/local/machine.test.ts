import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InterruptedError, UsageError } from '../../../src/errors.ts';
import { systemClock } from '../../../src/local/clock.ts';
import { ciJobUrl, describeHolder } from '../../../src/local/holder.ts';
import { newRunId } from '../../../src/local/run-id.ts';
import { childEnvironment, flagSetting, secretSetting, textSetting } from '../../../src/local/settings.ts';
import { listenForSignals } from '../../../src/local/signals.ts';
import { MOST_BYTES, readSpecSource } from '../../../src/local/spec-source.ts';

describe('reading a spec', () => {
  let root: string;
  const stdin = (...chunks: (string | Uint8Array)[]) => Readable.from(chunks, { objectMode: false });
  const text = (content: Uint8Array) => Buffer.from(content).toString();

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'kubeos-spec-'));
  });

  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });

  it('takes a file by its name', async () => {
    const path = join(root, 'upgrade.yaml');
    writeFileSync(path, 'kind: OS\n');
    const { file, content } = await readSpecSource(path, stdin());
    expect([file, text(content)]).toEqual([path, 'kind: OS\n']);
  });

  it('takes standard input for -', async () => {
    const { file, content } = await readSpecSource('-', stdin('kind: ', Buffer.from('OS\n')));
    expect([file, text(content)]).toEqual(['<stdin>', 'kind: OS\n']);
  });

  it('takes what a pipe holds', async () => {
    const path = join(root, 'pipe');
    execFileSync('sh', ['-c', 'mkfifo "$1"', 'sh', path]);
    const read = readSpecSource(path, stdin());
    execFileSync('sh', ['-c', 'printf "kind: OS" > "$1"', 'sh', path]);
    expect(text((await read).content)).toBe('kind: OS');
  });

  it('reads no more than it takes to see that it is too much', async () => {
    let given = 0;
    async function* endless() {
      for (;;) {
        given += 65_536;
        yield await Promise.resolve(Buffer.alloc(65_536));
      }
    }
    const path = join(root, 'big');
    writeFileSync(path, Buffer.alloc(10_000_000));
    expect((await readSpecSource('-', endless())).content).toHaveLength(MOST_BYTES);
    expect((await readSpecSource(path, stdin())).content).toHaveLength(MOST_BYTES);
    expect(given).toBeLessThanOrEqual(MOST_BYTES + 65_536);
  });

  it('says what is wrong with the path, and what to do', async () => {
    await expect(readSpecSource(join(root, 'none.yaml'), stdin())).rejects.toMatchObject({
      message: `the spec ${root}/none.yaml does not exist`,
      next: 'check the path after -f, or give - to read standard input',
      exitCode: 2,
    });
    await expect(readSpecSource(root, stdin())).rejects.toThrow(`the spec ${root} is a folder`);
    await expect(readSpecSource(root, stdin())).rejects.toBeInstanceOf(UsageError);
  });

  it('says that it may not be read', async () => {
    // eslint-disable-next-line @typescript-eslint/require-await
    async function* forbidden(): AsyncGenerator<string> {
      throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' });
    }
    await expect(readSpecSource('-', forbidden())).rejects.toMatchObject({
      message: 'the spec standard input may not be read',
      reason: 'EACCES: permission denied',
    });
  });
});

describe('signals', () => {
  function target() {
    const listeners = new Map<string, ((signal: NodeJS.Signals) => void)[]>();
    const killed: string[] = [];
    return {
      pid: 42,
      killed,
      listening: () => [...listeners.values()].flat().length,
      on: (signal: NodeJS.Signals, one: (signal: NodeJS.Signals) => void) =>
        listeners.set(signal, [...(listeners.get(signal) ?? []), one]),
      off: (signal: NodeJS.Signals, one: (signal: NodeJS.Signals) => void) =>
        listeners.set(
          signal,
          (listeners.get(signal) ?? []).filter((other) => other !== one),
        ),
      kill: (pid: number, signal: NodeJS.Signals) => killed.push(`${pid} ${signal}`),
      send: (signal: NodeJS.Signals) => {
        for (const one of listeners.get(signal) ?? []) one(signal);
      },
    };
  }

  it('a bug stops as the first signal does, and leaves the second its meaning', () => {
    const process = target();
    const stop = listenForSignals(undefined, process);
    const bug = new TypeError('a bug');
    stop.stopFor(bug);
    expect(stop.graceful.reason).toMatchObject({ name: 'InterruptedError', cause: bug });
    process.send('SIGINT');
    expect([stop.hard.aborted, process.killed]).toEqual([false, []]);
    process.send('SIGINT');
    expect(stop.hard.aborted).toBe(true);
  });

  it('the first stops gracefully, the second at once, a third ends the process', () => {
    const process = target();
    const told: string[] = [];
    const stop = listenForSignals((signal, count) => told.push(`${signal} ${count}`), process);
    stop.begin();
    process.send('SIGINT');
    expect([stop.graceful.aborted, stop.hard.aborted]).toEqual([true, false]);
    expect(stop.graceful.reason).toBeInstanceOf(InterruptedError);
    process.send('SIGTERM');
    expect(stop.hard.reason).toMatchObject({ message: 'interrupted by SIGTERM', exitCode: 130 });
    expect(process.killed).toEqual([]);
    process.send('SIGTERM');
    expect(process.killed).toEqual(['42 SIGTERM']);
    expect(process.listening()).toBe(0);
    expect(told).toEqual(['SIGINT 1', 'SIGTERM 2']);
  });

  it('says that nothing was changed, until something is begun; from then on how to carry on', () => {
    const process = target();
    const stop = listenForSignals(undefined, process);
    process.send('SIGINT');
    expect(stop.graceful.reason).toMatchObject({
      message: 'interrupted by SIGINT: nothing was changed',
      next: undefined,
    });
    stop.begin();
    process.send('SIGINT');
    const { message, next } = stop.hard.reason as InterruptedError;
    expect([message, next]).toEqual(['interrupted by SIGINT', expect.stringContaining('kubeos status')]);
  });

  it('SIGHUP changes nothing', () => {
    const process = target();
    const stop = listenForSignals(undefined, process);
    process.send('SIGHUP');
    expect([stop.graceful.aborted, process.listening()]).toEqual([false, 3]);
    stop.dispose();
    expect(process.listening()).toBe(0);
  });
});

describe('the clock', () => {
  it('sleeps, and wakes with the reason of its signal', async () => {
    await systemClock.sleep(1);
    const stop = new AbortController();
    const sleep = systemClock.sleep(1e12, stop.signal);
    stop.abort('enough');
    await expect(sleep).rejects.toBe('enough');
    await expect(systemClock.sleep(1, AbortSignal.abort('before'))).rejects.toBe('before');
  });
});

describe('the name of a run', () => {
  it('sorts by time and fits anywhere', () => {
    const early = newRunId(Date.parse('2026-11-23T12:03:44.999Z'), Uint8Array.of(0x7f, 0x3a, 0x9c));
    expect(early).toBe('20261123-120344-7f3a9c');
    expect(newRunId(Date.parse('2026-11-23T12:03:45Z')) > early).toBe(true);
    expect(newRunId(0)).not.toBe(newRunId(0));
  });
});

describe('who holds the lock', () => {
  const runner = { user: 'ci', host: 'runner-7', pid: 4121 };

  it('is user, host and process, and the job where there is one', () => {
    expect(describeHolder({}, runner)).toBe('ci@runner-7, pid 4121');
    expect(describeHolder({ CI_JOB_URL: 'https://ci.example/jobs/981' }, runner)).toBe(
      'ci@runner-7, pid 4121, https://ci.example/jobs/981',
    );
    expect(describeHolder({})).toMatch(/^[^@]+@[^ ]+, pid \d+$/);
  });

  it.each([
    [
      'GitHub Actions',
      {
        GITHUB_ACTIONS: 'true',
        GITHUB_SERVER_URL: 'https://git.example',
        GITHUB_REPOSITORY: 'o/r',
        GITHUB_RUN_ID: '7',
      },
      'https://git.example/o/r/actions/runs/7',
    ],
    ['GitLab CI', { CI_JOB_URL: 'https://git.example/o/r/-/jobs/7' }, 'https://git.example/o/r/-/jobs/7'],
    ['Jenkins', { BUILD_URL: 'https://ci.example/job/x/7/' }, 'https://ci.example/job/x/7/'],
    ['no pipeline', { BUILD_URL: 'not a URL\n' }, undefined],
    ['a URL with a password', { BUILD_URL: 'https://u:p@ci.example/7' }, 'https://***@ci.example/7'],
  ])('in %s', (_what, env, url) => {
    expect(ciJobUrl(env)).toBe(url);
  });
});

describe('settings from the environment', () => {
  it('are yes, no, or a mistake', () => {
    expect(['1', 'true', 'YES', 'on'].map((value) => flagSetting({ X: value }, 'X'))).toEqual([true, true, true, true]);
    expect(['0', 'false', 'no', 'off'].map((value) => flagSetting({ X: value }, 'X'))).toEqual(Array(4).fill(false));
    expect([flagSetting({}, 'X'), flagSetting({ X: '' }, 'X'), textSetting({ X: '' }, 'X')]).toEqual(
      Array(3).fill(undefined),
    );
    expect(() => flagSetting({ X: 'ture' }, 'X')).toThrow('X is neither yes nor no: "ture"');
  });

  it('that are secret reach no other program', () => {
    const secrets = { KUBEOS_SSH_PASSPHRASE: 'x', KUBEOS_SSH_PASSWORD: 'y', KUBEOS_SUDO_PASSWORD: 'z' };
    expect(childEnvironment({ PATH: '/bin', ...secrets })).toEqual({ PATH: '/bin' });
  });

  it('that are secret hold no line break, and a mistake does not show them', () => {
    expect(secretSetting({ KUBEOS_SSH_PASSWORD: 'open sésame "\\' }, 'KUBEOS_SSH_PASSWORD')).toBe('open sésame "\\');
    expect(secretSetting({ KUBEOS_SSH_PASSWORD: '' }, 'KUBEOS_SSH_PASSWORD')).toBeUndefined();
    expect(() => secretSetting({ KUBEOS_SUDO_PASSWORD: 'two\nlines' }, 'KUBEOS_SUDO_PASSWORD')).toThrow(
      /^KUBEOS_SUDO_PASSWORD holds a line break or another control character$/,
    );
  });
});
