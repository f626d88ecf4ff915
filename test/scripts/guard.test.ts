import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import guardScript from '../../src/cluster/guard.sh';

// /bin/sh is dash on Debian, bash on openEuler and macOS, BusyBox on Alpine.
const SHELLS: [name: string, command: string[]][] = [
  ['dash', ['dash']],
  ['bash', ['bash', '--posix']],
  ['BusyBox', ['busybox', 'sh']],
];
/** macOS has no /proc, but POSIX's ps. */
const LOOKS: [name: string, script: string][] = [
  ['/proc', guardScript],
  ['ps', guardScript.replaceAll('/proc/', '/no-such-folder/')],
];

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'guard-shells-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const runs = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

interface Guarded {
  guard: ChildProcess;
  /** Of the command, and of what it started itself. */
  pids: number[];
  socketFolder: string;
}

/** A command that ignores polite signals, with a child of its own, behind a guard that `wrap` starts. */
async function guarded(name: string, script: string, shell: string[], wrap: string[] = []): Promise<Guarded> {
  const socketFolder = await mkdtemp(join(folder, 'd-'));
  await writeFile(join(socketFolder, 's'), '');
  const file = join(folder, name);
  const inner = `trap "" TERM INT HUP; echo $$ >>"${file}"; while :; do sleep 0.1; done`;
  const command = ['sh', '-c', `sh -c '${inner}' & ${inner}`];
  const args = [...wrap, ...shell, '-c', script, 'kubeos-guard', '1', socketFolder, ...command];
  const guard = spawn(args[0]!, args.slice(1), { stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  guard.stdin.on('error', () => undefined);
  const pids = await vi.waitFor(() => {
    const found = readFileSync(file, 'utf8').trim().split('\n').map(Number);
    if (found.length < 2) throw new Error('not started yet');
    return found;
  }, 30_000);
  return { guard, pids, socketFolder };
}

const untilEnded = ({ pids, socketFolder }: Guarded, which = pids): Promise<void> =>
  vi.waitFor(() => {
    expect(which.filter(runs)).toEqual([]);
    expect(existsSync(socketFolder)).toBe(false);
  }, 60_000);

describe.each(SHELLS)('the guard in %s', (_shell, shell) => {
  describe.each(LOOKS)('that looks at processes through %s', (_look, script) => {
    test('ends the command and all it started once its pipe is closed, or silent for three ticks', async () => {
      const [closed, silent, living] = await Promise.all([
        guarded('closed', script, shell),
        guarded('silent', script, shell),
        guarded('living', script, shell),
      ]);
      const beat = setInterval(() => living.guard.stdin?.write('beat\n'), 200);
      closed.guard.stdin?.end();
      await Promise.all([untilEnded(closed), untilEnded(silent)]);
      expect(living.pids.filter(runs)).toEqual(living.pids);
      clearInterval(beat);
      living.guard.stdin?.end();
      await untilEnded(living);
    });

    test('ends the command alone where it does not lead its process group', async () => {
      const bystander = ['/bin/sh', '-c', '"$@"; echo "stays after $?"', 'bystander'];
      const one = await guarded('alone', script, shell, bystander);
      let said = '';
      one.guard.stdout?.setEncoding('utf8').on('data', (text: string) => (said += text));
      one.guard.stdin?.end();
      await vi.waitFor(() => expect(said).toBe('stays after 137\n'), 30_000);
      process.kill(-(one.guard.pid ?? 0), 'SIGKILL');
      await untilEnded(one);
    });
  });
});
