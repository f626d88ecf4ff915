import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CliBed } from './cli-bed.ts';
import type { Finished } from './lab-bed.ts';

const BIN = path.join(fileURLToPath(new URL('../../', import.meta.url)), 'bin/kubeos.js');

/** A command at a terminal of its own. */
export interface TerminalRun {
  /** All that the terminal was sent so far. */
  readonly shown: () => string;
  readonly type: (text: string) => void;
  /** Takes the terminal away, as a lost login does: the line is cut, and the session's processes get SIGHUP. */
  readonly hangUp: () => void;
  /** Resolves to the exit code. */
  readonly ended: Promise<number | null>;
}

/** Runs the built kubeos as a person does, in a pseudo-terminal that `script` makes. */
export function inTerminal(bed: CliBed, args: readonly string[]): TerminalRun {
  const line = ['exec', process.execPath, BIN, ...args].join(' ');
  const terminal = spawn('script', ['-qec', line, '/dev/null'], { env: bed.env, stdio: 'pipe' });
  let shown = '';
  terminal.stdin.on('error', () => undefined);
  terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
  return {
    shown: () => shown,
    type: (text) => void terminal.stdin.write(text),
    hangUp: () => terminal.kill('SIGKILL'),
    ended: new Promise((resolve) => terminal.once('close', resolve)),
  };
}

/**
 * Runs the built kubeos as on a machine of its own: another host name, other processes, another home. It needs namespaces,
 * which a user other than root gets with a user namespace.
 */
export function onOtherMachine(bed: CliBed, host: string, args: readonly string[]): { done: Promise<Finished> } {
  const home = path.join(bed.folder, host);
  const env = { ...bed.env, HOME: home, XDG_STATE_HOME: `${home}/state`, XDG_CACHE_HOME: `${home}/cache` };
  const user = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const namespaces = [...user, '--uts', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const start = ['sh', '-c', 'hostname "$0" && exec "$@"', host, process.execPath, BIN, ...args];
  const child = spawn('unshare', [...namespaces, ...start], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  const done = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...text }));
  });
  return { done };
}
