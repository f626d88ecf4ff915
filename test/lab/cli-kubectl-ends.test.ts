import { readFileSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CliBed, startCliBed } from './cli-bed.ts';
import type { Running } from './lab-bed.ts';

let bed: CliBed;

beforeAll(async () => {
  bed = await startCliBed({ workers: 1 });
});

afterAll(async () => {
  await bed.stop();
});

interface Process {
  pid: number;
  command: string;
}

const commandOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
};

/** Fields 3 and 4 of /proc/PID/stat, after the name in brackets (proc(5)). */
function statOf(pid: number): { state: string; parent: number } {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
    return { state: fields[0] ?? 'X', parent: Number(fields[1]) };
  } catch {
    return { state: 'X', parent: 0 };
  }
}

/** All that a process started, and what that started. */
function descendants(of: number): Process[] {
  const all = readdirSync('/proc').map(Number).filter(Number.isInteger);
  const children = all.filter((pid) => statOf(pid).parent === of);
  return children.flatMap((pid) => [{ pid, command: commandOf(pid) }, ...descendants(pid)]);
}

const alive = (processes: readonly Process[]): Process[] =>
  processes.filter(({ pid, command }) => !'ZX'.includes(statOf(pid).state) && commandOf(pid) === command);

/** An upgrade in the middle of a drain that waits, and all that runs under it then. */
async function draining(): Promise<{ running: Running; below: Process[] }> {
  const running = bed.start(['upgrade', '-f', bed.lab.paths.spec, '-y', '-o', 'json']);
  const kubectls = (below: Process[], verb: string): Process[] =>
    below.filter(({ command }) => command.startsWith('kubectl ') && command.includes(` ${verb} `));
  const below = await vi.waitFor(
    () => {
      const found = descendants(running.pid);
      if (kubectls(found, 'proxy').length === 1 && kubectls(found, 'drain').length === 1) return found;
      const commands = found.map(({ command }) => command.slice(-200)).join('\n');
      throw new Error(`no proxy and drain, but:\n${commands}\n${running.stderr()}`);
    },
    { timeout: 60_000, interval: 200 },
  );
  return { running, below };
}

const untilGone = (below: readonly Process[]): Promise<void> =>
  vi.waitFor(() => expect(alive(below)).toEqual([]), { timeout: 120_000, interval: 200 });

describe('the proxy and the drain of an upgrade, with their guards', () => {
  it('end when kubeos is killed -9', async () => {
    await bed.lab.setFault('worker-1', 'drain-blocked');
    const { running, below } = await draining();
    running.kill('SIGKILL');
    await untilGone(below);
    await running.done;
  });

  it('end when kubeos is frozen, after three ticks of 15 s without a word of it', async () => {
    const { running, below } = await draining();
    const frozen = Date.now();
    running.kill('SIGSTOP');
    await untilGone(below);
    // The last word came at most 5 s before, and the first of the ticks at once after it.
    expect(Date.now() - frozen).toBeGreaterThan(24_000);
    running.kill('SIGKILL');
    await running.done;
  });
});
