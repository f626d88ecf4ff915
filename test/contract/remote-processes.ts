import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';

/** Ends an SSH server and all that its sessions run; what has detached itself from them goes on. */
export async function endServer(server: ChildProcess): Promise<void> {
  if (server.pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
  const gone = new Promise((resolve) => server.once('exit', resolve));
  const sessions = descendants(server.pid);
  server.kill('SIGKILL');
  for (const pid of sessions) kill(pid);
  await gone;
}

/** Cuts a server's connections, those that it is signing in too. */
export function endSessions(server: ChildProcess | undefined): void {
  if (server?.pid === undefined) return;
  const name = nameOf(server.pid);
  for (const pid of children(server.pid)) for (const one of [pid, ...sameName(pid, name)]) kill(one);
}

function children(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

// The server's own processes for a connection; the command that a session runs goes on when the connection is cut.
function sameName(pid: number, name: string | undefined): number[] {
  return children(pid).filter((child) => nameOf(child) === name);
}

function descendants(pid: number): number[] {
  return children(pid).flatMap((child) => [child, ...descendants(child)]);
}

function parentOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function nameOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${String(pid)}/comm`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}
