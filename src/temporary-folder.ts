import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Characters of a folder's name after `kubeos-KIND-`, at most: a process id of Linux, a hyphen, mkdtemp's six. */
export const LONGEST_ENDING = '4194304-XXXXXX'.length;

/**
 * Makes a folder in `parent` that only this user can enter, named after this process: `kubeos-KIND-PID-XXXXXX`. Folders
 * of the kind that killed processes of this user left are removed first.
 */
export async function makeTemporaryFolder(parent: string, kind: 'ssh' | 'api'): Promise<string> {
  await removeLeftovers(parent, kind);
  return mkdtemp(join(parent, `kubeos-${kind}-${process.pid}-`));
}

async function removeLeftovers(parent: string, kind: string): Promise<void> {
  const ours = new RegExp(`^kubeos-${kind}-(\\d{1,10})-\\w{6}$`);
  // A folder that cannot be listed, or a leftover that another process removes first, is no failure of this run.
  const names = await readdir(parent).catch(() => []);
  for (const name of names) {
    const pid = Number(ours.exec(name)?.[1] ?? process.pid);
    if (pid === process.pid || isAlive(pid)) continue;
    const folder = join(parent, name);
    if (await isLeftover(folder)) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** A day old: a container that shares the folder may have processes that cannot be seen from here. */
async function isLeftover(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) return false;
  const isPrivate = found.uid === process.getuid?.() && (found.mode & 0o777) === 0o700;
  return isPrivate && Date.now() - found.mtimeMs > DAY_MS;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
