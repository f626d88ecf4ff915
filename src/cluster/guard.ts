import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import guardScript from './guard.sh';

/** A command that cannot outlive kubeos. */
export interface GuardedProcess {
  /** The guard's process id, which is its process group too. */
  readonly pid: number;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Whether the command has ended. */
  ended(): boolean;
  /** Resolves, never rejects, once the command and its guard have ended. */
  readonly exited: Promise<{ code: number | undefined; signal: string | undefined }>;
  /** Ends the command and all it started; resolves once it is killed, which the kernel may show a moment later. */
  end(): Promise<void>;
}

export interface GuardOptions {
  environment: Readonly<Record<string, string | undefined>>;
  /** A folder with a socket `s`, both removed when the guard ends the command. */
  folder?: string;
  /** Three of these without a sign of life from kubeos end the command. */
  tickSeconds?: number;
}

const TICK_SECONDS = 15;
const BEAT_MS = 2_000;
const LAST_RESORT_MS = 5_000;
const CLOSE_WITHIN_MS = 2_000;

/**
 * Starts a command behind a small shell that ends it when kubeos's pipe closes or falls silent (guard.sh). It runs in a
 * session of its own, so that Ctrl-C on the terminal reaches kubeos alone.
 */
export function startGuarded(command: string, args: readonly string[], options: GuardOptions): GuardedProcess {
  const guardArgs = [String(options.tickSeconds ?? TICK_SECONDS), options.folder ?? '', command, ...args];
  const child = spawn('/bin/sh', ['-c', guardScript, 'kubeos-guard', ...guardArgs], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...options.environment },
    detached: true,
  });
  // The pipe breaks when the guard is gone; `exited` tells that already.
  child.stdin.on('error', () => undefined);
  const beat = setInterval(() => child.stdin.write('beat\n'), BEAT_MS);
  let running = true;
  const exited = new Promise<{ code: number | undefined; signal: string | undefined }>((resolve) => {
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      running = false;
      clearInterval(beat);
      resolve({ code: code ?? undefined, signal: signal ?? undefined });
    };
    child.once('exit', ended);
    child.once('error', () => ended(null, null));
  });
  const closed = new Promise((resolve) => child.once('close', resolve));
  return {
    pid: child.pid ?? 0,
    stdout: child.stdout,
    stderr: child.stderr,
    ended: () => !running,
    exited,
    async end() {
      child.stdin.end();
      const lastResort = setTimeout(() => endGroup(child.pid, () => running), LAST_RESORT_MS);
      await exited;
      clearTimeout(lastResort);
      // The guard may be gone a moment before the command, whose end closes its output.
      await Promise.race([closed, pause(CLOSE_WITHIN_MS, undefined, { ref: false })]);
    },
  };
}

function endGroup(pid: number | undefined, running: () => boolean): void {
  if (pid === undefined || !running()) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended in this very moment.
  }
}
