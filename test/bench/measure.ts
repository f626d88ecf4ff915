import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Cost {
  wallMs: number;
  /** User and system time of the process and of every child that it waited for. */
  cpuMs: number;
}

// bash's own `time` counts the children of children too, as far as each was waited for.
const TIMED = 'exec 3>"$1"; shift; TIMEFORMAT="%R %U %S"; { time "$@" 2>&4; } 4>&2 2>&3';

/** Runs a command to its end and tells what it cost. Rejects, with its output, where it fails. */
export async function measure(
  command: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string } = {},
): Promise<Cost> {
  const folder = await mkdtemp(join(tmpdir(), 'kubeos-measure-'));
  const times = join(folder, 'times');
  try {
    const child = spawn('/bin/bash', ['-c', TIMED, 'bench', times, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-4000)));
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      // Not `close`: a master connection that stays behind may hold the output open.
      child.once('exit', resolve);
    });
    if (code !== 0) throw new Error(`${command.slice(0, 3).join(' ')} … ended with ${String(code)}:\n${output}`);
    const [wall = 0, user = 0, system = 0] = (await readFile(times, 'utf8')).trim().split(' ').map(Number);
    return { wallMs: wall * 1000, cpuMs: (user + system) * 1000 };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
