import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { access, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { KubeosError } from '../../errors.ts';
import { EXIT } from '../../exit-codes.ts';
import { COMPRESSIONS, type Compression } from '../../rollout/artifacts.ts';
import { sha256Of, type Kept } from './cache.ts';

const ARGUMENTS: Readonly<Record<Compression, readonly string[]>> = {
  gzip: ['-dc'],
  xz: ['-dc'],
  zstd: ['-dcq'],
};

/** Those that this machine has. */
export async function decompressorsHere(env: Readonly<Record<string, string | undefined>>): Promise<Compression[]> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const isThere = async (tool: string): Promise<boolean> => {
    for (const folder of folders) {
      if (
        await access(join(folder, tool), constants.X_OK).then(
          () => true,
          () => false,
        )
      )
        return true;
    }
    return false;
  };
  const found = await Promise.all(COMPRESSIONS.map(isThere));
  return COMPRESSIONS.filter((_, index) => found[index]);
}

/**
 * What is in a compressed image, as a file beside it that is kept with it. Made once: its digest lies beside, and is held
 * against the file each time.
 * @throws KubeosError where the tool is missing, or does not take the image
 */
export async function decompressed(image: Kept, by: Compression, signal: AbortSignal): Promise<Kept> {
  const file = `${image.file}.data`;
  const noted = await readFile(`${file}.sha256`, 'utf8').catch(() => '');
  if (noted !== '' && (await sha256Of(file, signal).catch(() => '')) === noted) return keptAs(file, noted);
  const part = `${file}.new`;
  const sha256 = await run(image.file, part, by, signal).catch(async (error: unknown) => {
    await rm(part, { force: true });
    throw error;
  });
  await rename(part, file);
  await writeFile(`${file}.sha256`, sha256, { mode: 0o600 });
  return keptAs(file, sha256);
}

const keptAs = async (file: string, sha256: string): Promise<Kept> => ({
  file,
  bytes: (await stat(file)).size,
  sha256,
});

/** Resolves to the digest of what came out, all of it on the disk. */
async function run(from: string, to: string, by: Compression, signal: AbortSignal): Promise<string> {
  const child = spawn(by, ARGUMENTS[by], { stdio: ['pipe', 'pipe', 'pipe'], signal });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (words = `${words}${text}`.slice(-500)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const hash = createHash('sha256');
  async function* hashed(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      hash.update(piece);
      yield piece;
    }
  }
  const [code, written, fed] = await Promise.allSettled([
    ended,
    pipeline(child.stdout, hashed, createWriteStream(to, { mode: 0o600 })),
    pipeline(createReadStream(from, { highWaterMark: 1024 * 1024 }), child.stdin),
  ]);
  signal.throwIfAborted();
  if (written.status === 'rejected' && isOfDisk(written.reason)) throw written.reason;
  const ok = code.status === 'fulfilled' && code.value === 0;
  if (!ok || written.status === 'rejected' || fed.status === 'rejected') throw notDecompressed(by, words.trim());
  const handle = await open(to);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

const isOfDisk = (error: unknown): error is Error =>
  error instanceof Error && 'syscall' in error && error.syscall === 'write';

const notDecompressed = (by: Compression, words: string): KubeosError =>
  new KubeosError(`this machine cannot decompress the image with ${by}`, EXIT.incomplete, {
    step: 'stage',
    reason: words === '' ? `${by} is missing here, or was ended` : words,
    next: `see that ${by} is on PATH, and that it takes the image; or install ${by} on the node`,
  });
