import { createWriteStream } from 'node:fs';
import { open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../../rollout/ports.ts';
import type { Rate } from '../../rollout/rate.ts';
import { ask, type Place } from './ask.ts';
import { FetchFault, faultOf } from './fault.ts';

export interface DownloadOptions {
  clock: Clock;
  rate?: Rate;
  onProgress: (doneBytes: number, totalBytes: number) => void;
  signal: AbortSignal;
}

/** As stage.sh: so many tries in a row that bring nothing, and so many in all. */
const MAX_IDLE_TRIES = 5;
const MAX_TRIES = 60;
const PAUSE_MS = 1000;
/** How many bytes more than announced are taken before that is an error. */
const NO_SIZE = 'the server does not say how big the image is, neither to HEAD nor to a range';

/** The image's size. @throws FetchFault */
export async function sizeOf(place: Place, signal?: AbortSignal): Promise<number> {
  const head = await ask(place, 'HEAD', {}, signal).catch((error: unknown) => {
    if (error instanceof FetchFault && error.hopeless && !error.ofServer) throw error;
    signal?.throwIfAborted();
    return undefined;
  });
  head?.destroy();
  const announced = Number(head?.headers['content-length'] ?? 0);
  if (announced > 0) return announced;
  const byte = await ask(place, 'GET', { Range: 'bytes=0-0' }, signal);
  byte.destroy();
  const size = totalOf(byte);
  if (size === undefined) throw new FetchFault(NO_SIZE, { hopeless: true, ofServer: true });
  return size;
}

/** The whole image's size, as the answer to a range or to none says it. */
export function totalOf({ statusCode, headers }: IncomingMessage): number | undefined {
  const text = statusCode === 206 ? /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] : headers['content-length'];
  const size = Number(text ?? 0);
  return size > 0 ? size : undefined;
}

/**
 * Brings the image into a file, from where an earlier download of it stopped: by range, under the condition that the
 * image is still the same (If-Range). Its digest is for the caller to compare.
 * @param part the file; beside it `PART.etag` is kept
 * @returns whether pieces of several requests were put together
 * @throws FetchFault
 */
export async function download(place: Place, part: string, options: DownloadOptions): Promise<{ resumed: boolean }> {
  const { clock, signal } = options;
  const total = await untilAnswered(() => sizeOf(place, signal), clock, signal);
  if ((await bytesOf(part)) > total) await forget(part);
  let resumed = false;
  let idle = 0;
  for (let tries = 0; (await bytesOf(part)) < total; tries++) {
    const before = await bytesOf(part);
    resumed ||= before > 0;
    let fault = new FetchFault('the server ended the transfer too early');
    try {
      await fetchMore(place, part, { from: before, total }, options);
    } catch (error) {
      signal.throwIfAborted();
      fault = faultOf(error, true);
      if (fault.hopeless) throw fault;
    }
    const after = await bytesOf(part);
    idle = after > before ? 0 : idle + 1;
    if (after >= total) break;
    if (idle >= MAX_IDLE_TRIES || tries >= MAX_TRIES) throw fault;
    await clock.sleep(PAUSE_MS * (idle + 1), signal);
  }
  return { resumed };
}

/** Throws what was fetched so far away. */
export async function forget(part: string): Promise<void> {
  await rm(part, { force: true });
  await rm(`${part}.etag`, { force: true });
}

async function untilAnswered(work: () => Promise<number>, clock: Clock, signal: AbortSignal): Promise<number> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof FetchFault) || error.hopeless || tries >= MAX_IDLE_TRIES) throw error;
    }
    await clock.sleep(PAUSE_MS * tries, signal);
  }
}

async function fetchMore(
  place: Place,
  part: string,
  { from, total }: { from: number; total: number },
  { rate, onProgress, signal }: DownloadOptions,
): Promise<void> {
  const etag = from === 0 ? '' : await readFile(`${part}.etag`, 'utf8').catch(() => '');
  const range = from === 0 ? {} : { Range: `bytes=${from}-`, ...(etag === '' ? {} : { 'If-Range': etag }) };
  const response = await ask(place, 'GET', range, signal).catch(async (error: unknown) => {
    // It has less than was fetched already, or does not like the range: what is there is of no use.
    if (from > 0 && error instanceof FetchFault && error.ofServer) await forget(part);
    throw error;
  });
  const start = response.statusCode === 206 ? startOf(response) : 0;
  if (start !== from) await truncate(part, 0);
  if (start !== 0 && start !== from) {
    response.destroy();
    throw new FetchFault('the server sends another part than was asked for', { ofServer: true });
  }
  await keepEtag(part, response.headers.etag);
  let done = start;
  async function* counted(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      if (done + piece.length > total) {
        throw new FetchFault('the server sends more than it announced', { hopeless: true, ofServer: true });
      }
      await rate?.take(piece.length, signal);
      yield piece;
      done += piece.length;
      onProgress(done, total);
    }
  }
  const sink = createWriteStream(part, { flags: start === 0 ? 'w' : 'r+', start, mode: 0o600 });
  await pipeline(response, counted, sink, { signal });
}

const startOf = ({ headers }: IncomingMessage): number =>
  Number(/^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? -1);

/** Weak ones do not say that the bytes are the same (RFC 9110, 13.1.5). */
async function keepEtag(part: string, etag: string | undefined): Promise<void> {
  if (etag === undefined || etag.startsWith('W/')) await rm(`${part}.etag`, { force: true });
  else await writeFile(`${part}.etag`, etag, { mode: 0o600 });
}

async function bytesOf(file: string): Promise<number> {
  return (await stat(file).catch(() => ({ size: 0 }))).size;
}

/** The first bytes of the image, for a look at what it is. */
export async function firstBytes(file: string, count: number): Promise<Buffer> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(count), 0, count, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
