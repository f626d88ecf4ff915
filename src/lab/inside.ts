import { constants, type FileHandle, mkdir, open, readdir, rm, symlink } from 'node:fs/promises';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Identity } from './identity.ts';

/** Of a file that is written: whom it belongs to (the lab itself where missing) and its mode before the umask. */
export interface WriteOptions {
  owner?: Identity | undefined;
  mode?: number;
}

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

/**
 * These write into trees that a node's processes own, while the lab may be root: no link that lies in such a tree is
 * ever followed. `relative` is a path from `dir`; each throws an Error where a folder on that path is a link.
 */

/** Puts a new file in the place of whatever is there, a link included. */
export async function writeInside(
  dir: string,
  relative: string,
  content: string | Uint8Array,
  options: WriteOptions = {},
): Promise<void> {
  await withParent(dir, relative, async (place) => {
    await rm(place, { force: true });
    const file = await open(place, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, options.mode ?? 0o644);
    try {
      await file.writeFile(content);
      if (options.owner !== undefined) await file.chown(options.owner.uid, options.owner.gid);
    } finally {
      await file.close();
    }
  });
}

/** Adds to a file's end, which is made where it is missing. */
export async function appendInside(dir: string, relative: string, text: string): Promise<void> {
  await withParent(dir, relative, async (place) => {
    await withFile(place, O_WRONLY | O_APPEND | O_CREAT, (file) => file.writeFile(text));
  });
}

/** Writes over the first bytes of a file that is there; its size and its owner stay. */
export async function overwriteInside(dir: string, relative: string, bytes: Uint8Array): Promise<void> {
  await withParent(dir, relative, async (place) => {
    await withFile(place, O_RDWR, async (file) => {
      await file.write(bytes, 0, bytes.length, 0);
      await file.sync();
    });
  });
}

/** Makes a folder and those above it, up to `dir`, where they are missing. */
export async function makeFolderInside(dir: string, relative: string, owner?: Identity): Promise<void> {
  await withParent(dir, path.join(relative, '.keep'), () => Promise.resolve(), { owner });
}

/** Puts a link in the place of whatever file or link is there. */
export async function linkInside(dir: string, relative: string, target: string): Promise<void> {
  await withParent(dir, relative, async (place) => {
    await rm(place, { force: true });
    await symlink(target, place);
  });
}

/** Removes a file or a link; none need be there. */
export async function removeInside(dir: string, relative: string): Promise<void> {
  await withParent(dir, relative, (place) => rm(place, { force: true }));
}

/** Removes all that is in a folder. */
export async function emptyInside(dir: string, relative: string): Promise<void> {
  await withParent(dir, path.join(relative, '.keep'), async (place) => {
    const folder = path.dirname(place);
    for (const entry of await readdir(folder)) await rm(path.join(folder, entry), { recursive: true, force: true });
  });
}

/** What is in a file, at once; undefined where there is none to be read. A pipe in its place holds nobody up. */
export function readPlainFile(file: string): Buffer | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    return readFileSync(descriptor);
  } catch {
    return undefined;
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/**
 * Calls `act` with a path to `relative` whose folders cannot be exchanged meanwhile: it leads through an open
 * descriptor (proc(5), /proc/self/fd), as openat(2) would.
 */
async function withParent<T>(
  dir: string,
  relative: string,
  act: (place: string) => Promise<T>,
  make?: { owner: Identity | undefined },
): Promise<T> {
  const names = relative.split('/').filter((name) => name !== '');
  const last = names.pop();
  if (last === undefined || [...names, last].includes('..')) throw new Error(`not a path inside ${dir}: ${relative}`);
  let parent = await openFolder(dir, dir);
  try {
    for (const [index, name] of names.entries()) {
      const place = `/proc/self/fd/${parent.fd}/${name}`;
      const made = make !== undefined && (await makeFolder(place));
      const next = await openFolder(place, path.join(dir, ...names.slice(0, index + 1)));
      await parent.close();
      parent = next;
      if (made && make.owner !== undefined) await parent.chown(make.owner.uid, make.owner.gid);
    }
    return await act(`/proc/self/fd/${parent.fd}/${last}`);
  } finally {
    await parent.close();
  }
}

async function openFolder(place: string, shown: string): Promise<FileHandle> {
  try {
    return await open(place, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOTDIR' || code === 'ELOOP') {
      throw new Error(`the lab writes nothing there: ${shown} is a link, or no folder`, { cause: error });
    }
    throw error;
  }
}

async function makeFolder(place: string): Promise<boolean> {
  try {
    await mkdir(place, 0o755);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Opens a plain file that has no other name: neither a link nor a pipe leads the lab elsewhere or holds it up. */
async function withFile(place: string, flags: number, act: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(place, flags | O_NOFOLLOW | O_NONBLOCK, 0o644);
  try {
    const facts = await file.stat();
    if (!facts.isFile() || facts.nlink !== 1) throw new Error(`${place} is no plain file of its own`);
    await act(file);
  } finally {
    await file.close();
  }
}
