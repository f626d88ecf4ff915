import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { KubeosError, UsageError } from '../../errors.ts';
import { EXIT } from '../../exit-codes.ts';
import type { Clock, DiskArtifact, ImageSource, StepProgress } from '../../rollout/ports.ts';
import type { ImageNotSeen, ImageSeen } from '../../rollout/preflight-types.ts';
import { Rate } from '../../rollout/rate.ts';
import { ask, type Place } from './ask.ts';
import { alone, cached, imageFolder, keep, sha256Of, type Kept } from './cache.ts';
import { decompressed } from './decompress.ts';
import { download, firstBytes, forget, totalOf } from './download.ts';
import { FetchFault, notFetched } from './fault.ts';
import { isWebPage, KIND_BYTES, kindOf } from './kind.ts';

export { decompressorsHere } from './decompress.ts';

export interface ImageSettings {
  /** Holds the files which the spec names as cacert, clientcert and clientkey; missing: https is not fetched here. */
  certsDir?: string;
  env: Readonly<Record<string, string | undefined>>;
  clock: Clock;
  /** Milliseconds without a byte after which a request is given up; 60 000 if missing. */
  stallMs?: number;
}

type Progress = (progress: StepProgress) => void;

const STALL_MS = 60_000;
const LOOK_STALL_MS = 20_000;

/** This machine as one that fetches images, checks them and keeps them for a while. */
export class LocalImages implements ImageSource {
  readonly #settings: ImageSettings;
  readonly #folder: string;
  readonly #fetching = new Map<string, { done: Promise<Kept>; listeners: Set<Progress> }>();

  constructor(settings: ImageSettings) {
    this.#settings = settings;
    this.#folder = imageFolder(settings.env);
  }

  /** @throws UsageError where a certificate that the spec names is not there */
  async checkCertificates(artifact: DiskArtifact): Promise<void> {
    await this.#certificates(artifact);
  }

  async look(artifact: DiskArtifact, signal?: AbortSignal): Promise<ImageSeen | ImageNotSeen> {
    try {
      const kept = await cached(this.#folder, artifact.sha256);
      if (kept !== undefined) {
        return { sizeBytes: kept.bytes, ranges: true, content: kindOf(await firstBytes(kept.file, KIND_BYTES)) };
      }
      const place = { ...(await this.#place(artifact)), stallMs: LOOK_STALL_MS };
      const response = await ask(place, 'GET', { Range: `bytes=0-${KIND_BYTES - 1}` }, signal);
      const size = totalOf(response);
      const content = kindOf(await headOf(response));
      return { ...(size === undefined ? {} : { sizeBytes: size }), ranges: response.statusCode === 206, content };
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof FetchFault)) throw error;
      return { blame: error.ofServer ? 'server' : 'way', reason: error.message };
    }
  }

  fetch(artifact: DiskArtifact, onProgress: Progress, signal: AbortSignal): Promise<Kept> {
    const key = [artifact.sha256, artifact.decompress].join(' ');
    const running = this.#fetching.get(key);
    if (running !== undefined) {
      running.listeners.add(onProgress);
      return running.done;
    }
    const listeners = new Set([onProgress]);
    const tell: Progress = (progress) => {
      for (const listener of listeners) listener(progress);
    };
    const done = this.#bring(artifact, tell, signal);
    this.#fetching.set(key, { done, listeners });
    // A failure is not for ever; nor is a file, which others may remove.
    done.then(
      () => listeners.clear(),
      () => this.#fetching.delete(key),
    );
    return done;
  }

  async #bring(artifact: DiskArtifact, onProgress: Progress, signal: AbortSignal): Promise<Kept> {
    const { clock } = this.#settings;
    const onWait = (): void => onProgress({ doneBytes: 0 });
    try {
      return await alone(this.#folder, artifact.sha256, { clock, signal, onWait }, async () => {
        const there = await cached(this.#folder, artifact.sha256);
        const kept = there ?? (await this.#download(artifact, onProgress, signal));
        const { decompress } = artifact;
        return decompress === undefined ? kept : await decompressed(kept, decompress, signal);
      });
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof Error && 'syscall' in error && 'code' in error
        ? notKept(this.#folder, error, String(error.code))
        : error;
    }
  }

  async #download(artifact: DiskArtifact, onProgress: Progress, signal: AbortSignal): Promise<Kept> {
    const { clock } = this.#settings;
    const { sha256, limitRate } = artifact;
    const place = await this.#place(artifact);
    const part = join(this.#folder, `${sha256}.part`);
    const options = {
      ...{ clock, signal },
      ...(limitRate === undefined ? {} : { rate: new Rate(clock, limitRate) }),
      onProgress: (doneBytes: number, totalBytes: number) => onProgress({ doneBytes, totalBytes }),
    };
    for (;;) {
      const { resumed } = await download(place, part, options).catch((error: unknown) => {
        throw error instanceof FetchFault ? notFetched(shown(artifact), error.message, error.cause) : error;
      });
      const sum = await sha256Of(part, signal);
      if (sum === sha256) break;
      const page = isWebPage(await firstBytes(part, KIND_BYTES)) ? '; what came is a web page' : '';
      await forget(part);
      // Pieces of two images do not fit together: then it is fetched in one.
      if (!resumed) throw otherImage(`${shown(artifact)}: the SHA-256 is ${sum}, the spec says ${sha256}${page}`);
    }
    const file = await keep(this.#folder, part, sha256);
    const kept = await cached(this.#folder, sha256);
    if (kept === undefined) throw otherImage(`${file} changed as soon as it was there: look for disk errors`);
    return kept;
  }

  async #place(artifact: DiskArtifact): Promise<Place> {
    const { url, flagSafe, proxy } = artifact;
    const certificates = await this.#certificates(artifact);
    const stallMs = this.#settings.stallMs ?? STALL_MS;
    return { url, flagSafe, certificates, stallMs, ...(proxy === undefined ? {} : { proxy }) };
  }

  async #certificates({ url, cacert, clientcert, clientkey }: DiskArtifact): Promise<SecureContextOptions> {
    if (!/^https:/i.test(url)) return {};
    const { certsDir } = this.#settings;
    if (certsDir === undefined || cacert === undefined) throw noCertificates();
    const read = (name: string): Promise<string> =>
      readFile(join(certsDir, name), 'utf8').catch((error: unknown) => {
        throw new UsageError(`${join(certsDir, name)}, which the spec names, cannot be read`, {
          reason: error instanceof Error ? error.message : String(error),
          next: 'put the files that the spec names into the folder of --certs-dir',
        });
      });
    return {
      ca: await read(cacert),
      ...(clientcert === undefined ? {} : { cert: await read(clientcert) }),
      ...(clientkey === undefined ? {} : { key: await read(clientkey) }),
    };
  }
}

async function headOf(response: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of response as AsyncIterable<Buffer>) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= KIND_BYTES) break;
  }
  return Buffer.concat(pieces).subarray(0, KIND_BYTES);
}

const noCertificates = (): UsageError =>
  new UsageError('this machine needs certificates to fetch the image by https', {
    reason: 'those of the nodes stay there',
    next: 'name the folder that holds the files which the spec names (cacert, clientcert, clientkey): --certs-dir',
  });

const otherImage = (reason: string): KubeosError =>
  new KubeosError('the image is not the one that the spec names', EXIT.incomplete, {
    step: 'stage',
    reason,
    next: 'compare the checksum in the spec with the one of the image on the server',
  });

const notKept = (folder: string, error: Error, code: string): KubeosError =>
  new KubeosError(
    code === 'ENOSPC' ? 'this machine has no room for the image' : 'this machine cannot keep the image',
    EXIT.incomplete,
    {
      step: 'stage',
      reason: `${folder}: ${error.message}`,
      next: 'make room there, or choose another place: XDG_CACHE_HOME',
      cause: error,
    },
  );

/** Without credentials and signatures. */
function shown({ url }: DiskArtifact): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
