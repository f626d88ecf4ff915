import type { Stats } from 'node:fs';
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PreflightError } from '../errors.ts';
import { makeFolders } from '../make-folders.ts';

/** Where a lab lives unless told: everybody may write to the temporary folder, so each user has a name of his own. */
export function defaultLabDir(): string {
  return path.join(tmpdir(), `kubeos-lab-${process.getuid?.() ?? 'user'}`);
}

/**
 * True where the lab's folder is there, false where nothing is. Throws a PreflightError where it is not this user's
 * alone to write to: what stands in such a folder could make the lab write, or end processes, as its user.
 */
export async function isOwnFolder(dir: string): Promise<boolean> {
  const facts = await lstat(dir).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  });
  if (facts === undefined) return false;
  const reason = whyNotOwn(facts);
  if (reason === undefined) return true;
  const open = facts.isDirectory() && facts.uid === process.getuid?.();
  throw new PreflightError(`the lab does not use ${dir}`, {
    reason,
    next: `choose another folder: --dir${open ? `; or close that one: chmod go-w ${dir}` : ''}`,
  });
}

/** Makes the lab's folder where it is missing. Throws a PreflightError as isOwnFolder does. */
export async function makeLabFolder(dir: string): Promise<void> {
  try {
    makeFolders(path.dirname(dir));
    await mkdir(dir, 0o755);
    // As root the nodes run as another uid, which must get in whatever the user's umask is.
    if (process.getuid?.() === 0) await chmod(dir, 0o755);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EEXIST') {
      const next = 'choose another folder: --dir';
      throw new PreflightError(`the lab cannot make ${dir}`, { reason: message, next, cause: error });
    }
  }
  await isOwnFolder(dir);
}

function whyNotOwn(facts: Stats): string | undefined {
  if (facts.isSymbolicLink()) return 'it is a link';
  if (!facts.isDirectory()) return 'it is no folder';
  if (facts.uid !== process.getuid?.()) return `it belongs to another user, uid ${facts.uid}`;
  if ((facts.mode & 0o022) !== 0) return 'others than its owner may write to it';
  return undefined;
}
