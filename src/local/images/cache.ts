import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { makeFolders } from '../../make-folders.ts';
import type { Clock } from '../../rollout/ports.ts';
import { textSetting } from '../settings.ts';

/** Whole images that are kept beside the one in use: an upgrade and the way back from it. */
const KEPT = 2;
/** An image that nobody asked for in so long, and a part that nobody went on with, is removed. */
const KEPT_DAYS = 30;
const DAY_MS = 86_400_000;
const LOOK_AGAIN_MS = 500;
const SIGN_OF_LIFE_MS = 2000;
/** So many looks in a row, 15 seconds, that show no sign of life. */
const DEAD_AFTER_LOOKS = 30;

/**
 * Where images are kept: `kubeos/artifacts` in the user's cache folder, XDG_CACHE_HOME, which the XDG Base Directory
 * Specification wants absolute, else ~/.cache.
 */
export function imageFolder(env: Readonly<Record<string, string | undefined>>, home: string = homedir()): string {
  const cache = textSetting(env, 'XDG_CACHE_HOME');
  return join(cache !== undefined && isAbsolute(cache) ? cache : join(home, '.cache'), 'kubeos', 'artifacts');
}

/** A file of the cache. */
export interface Kept {
  file: string;
  bytes: number;
  /** Its own. */
  sha256: string;
}

/** A whole image, verified; used just now. Undefined where it is not there: what is damaged is removed. */
export async function cached(folder: string, sha256: string): Promise<Kept | undefined> {
  const file = join(folder, sha256);
  const facts = await stat(file).catch(() => undefined);
  if (facts?.isFile() !== true) return undefined;
  if ((await sha256Of(file)) !== sha256) {
    await rm(file, { force: true });
    return undefined;
  }
  const now = new Date();
  await utimes(file, now, now);
  return { file, bytes: facts.size, sha256 };
}

/** Gives a whole, verified part its name. Whoever looks sees all of it or nothing, after a power cut too. */
export async function keep(folder: string, part: string, sha256: string): Promise<string> {
  const file = join(folder, sha256);
  const handle = await open(part);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(part, file);
  await rm(`${part}.etag`, { force: true });
  await prune(folder, sha256);
  return file;
}

/** Hex digits of a file's SHA-256. */
export async function sha256Of(file: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash, signal === undefined ? {} : { signal });
  return hash.digest('hex');
}

/** Removes what was not used for long, and all but the images that were used last. */
async function prune(folder: string, inUse: string): Promise<void> {
  const oldest = Date.now() - KEPT_DAYS * DAY_MS;
  const names = (await readdir(folder)).filter((name) =>
    /^[0-9a-f]{64}(?:\.part(?:\.etag)?|\.data(?:\.sha256|\.new)?)?$/.test(name),
  );
  const dated = await Promise.all(
    names.map(async (name) => ({
      name,
      usedMs: (await stat(join(folder, name)).catch(() => undefined))?.mtimeMs ?? 0,
    })),
  );
  const others = dated.filter(({ name }) => !name.startsWith(inUse)).sort((one, other) => other.usedMs - one.usedMs);
  let images = 0;
  for (const { name, usedMs } of others) {
    const tooMany = !name.includes('.') && ++images > KEPT;
    if (!tooMany && usedMs >= oldest) continue;
    const gone = name.includes('.') ? [name] : [name, `${name}.data`, `${name}.data.sha256`];
    for (const one of gone) await rm(join(folder, one), { force: true });
  }
}

/**
 * Runs a task that no other process runs for the same image at once. The lock of one that has died is taken over: it shows
 * no sign of life. Its pid would tell nothing, since containers that share a cache count processes each for themselves.
 * @param onWait told once, where another is at it
 */
export async function alone<T>(
  folder: string,
  sha256: string,
  wait: { clock: Clock; signal: AbortSignal; onWait: () => void },
  task: () => Promise<T>,
): Promise<T> {
  makeFolders(folder, 0o700);
  const lock = join(folder, `${sha256}.lock`);
  await take(lock, wait);
  const signs = setInterval(() => void showLife(lock), SIGN_OF_LIFE_MS);
  try {
    return await task();
  } finally {
    clearInterval(signs);
    await rm(lock, { force: true });
  }
}

async function take(
  lock: string,
  { clock, signal, onWait }: { clock: Clock; signal: AbortSignal; onWait: () => void },
): Promise<void> {
  let sign: number | undefined;
  let looks = 0;
  for (let told = false; !(await taken(lock)); told = true) {
    if (!told) onWait();
    const before = sign;
    sign = (await stat(lock).catch(() => undefined))?.mtimeMs;
    looks = sign === before ? looks + 1 : 0;
    if (looks >= DEAD_AFTER_LOOKS) await rm(lock, { force: true });
    else await clock.sleep(LOOK_AGAIN_MS, signal);
  }
}

async function taken(lock: string): Promise<boolean> {
  try {
    await writeFile(lock, String(process.pid), { flag: 'wx', mode: 0o600 });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function showLife(lock: string): Promise<void> {
  const now = new Date();
  await utimes(lock, now, now).catch(() => undefined);
}
