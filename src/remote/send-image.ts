import pLimit from 'p-limit';
import * as z from 'zod';
import type { ClientChannel } from 'ssh2';
import { ConnectError, KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode, Slot } from '../rollout/facts.ts';
import type { Authority, DiskArtifact, ImageSource, StepProgress } from '../rollout/ports.ts';
import { Rate } from '../rollout/rate.ts';
import type { Step } from '../rollout/steps.ts';
import { readAnswers, wholeNumber, type Answers } from './answers.ts';
import type { ScriptArguments } from './compose.ts';
import { piecesOf } from './file-pieces.ts';
import { runJob, type JobTools } from './jobs.ts';
import { isPassing } from './node-calls.ts';
import type { RemoteSettings } from './settings.ts';
import { untilAborted } from './until-aborted.ts';

/** One process of Node.js ciphers as much for one node as for four; more would only make each slower. */
const FED_AT_ONCE = 4;
/** Sent again where the node lost, or found damaged, what had arrived. */
const MAX_SENDINGS = 3;
/** Small pieces cost the processor time of both sides. */
const PIECE_BYTES = 1024 * 1024;
/** With a rate they go one by one, so that what goes at once is little. */
const METERED_BYTES = 256 * 1024;
/** A node that takes nothing for so long is tried over a new channel. */
const STALL_MS = 60_000;
/** A node whose slot is written meanwhile may be busy with what a little of a compressed image becomes. */
const STREAM_STALL_MS = 15 * 60_000;
const TOLD_EVERY_MS = 500;
/** Its end is told by what moves, not by a time for all of it. */
const NO_TIMEOUT_MS = 24 * 3_600_000;

const stagedSchema = z.union([z.object({ bytes: wholeNumber }), z.object({ arrived: z.literal('no') })]);

type Progress = (progress: StepProgress) => void;
/** The image as it lies on this machine. */
interface LocalImage {
  file: string;
  bytes: number;
  sha256: string;
}

/** A script on a node that is fed the image. */
interface Sending {
  node: ClusterNode;
  by: Authority;
  script: 'receive' | 'stream';
  step: Step;
  args: ScriptArguments;
}

interface Feeding {
  image: LocalImage;
  signal: AbortSignal;
  /** Aborted where this machine cannot go on. */
  broken: AbortController;
  stallMs: number;
}

/** Brings the image, which this machine fetches once, to nodes over the connections that they have. */
export class ImageSender {
  readonly #tools: JobTools;
  readonly #images: ImageSource | undefined;
  readonly #places = pLimit(FED_AT_ONCE);
  readonly #rate: Rate | undefined;

  constructor({ images, sendRate }: Pick<RemoteSettings, 'images' | 'sendRate'>, tools: JobTools) {
    this.#tools = tools;
    this.#images = images;
    this.#rate = sendRate === undefined ? undefined : new Rate(tools.clock, sendRate);
  }

  /** As `Remote.stage`; a sending that broke off goes on where it was, whoever began it. */
  async stage(
    node: ClusterNode,
    by: Authority,
    artifact: DiskArtifact,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<{ bytes: number }> {
    const image = await this.#fetch(artifact, onProgress, signal);
    const { sha256 } = artifact;
    const data = dataOf(artifact, image);
    return this.#untilRight(node, 'stage', async () => {
      await this.#inTurn(onProgress, signal, () =>
        this.#send({ node, by, script: 'receive', step: 'stage', args: { sha256, data } }, image, onProgress, signal),
      );
      const job = {
        step: 'stage' as const,
        by,
        args: { via: 'ssh', sha256, data, bytes: image.bytes },
        mark: [sha256],
      };
      return runJob(this.#tools, node, job, onProgress, signal);
    });
  }

  /** As `Remote.stream`: one sending, to its end, is one write; broken off, both begin anew. */
  async stream(
    node: ClusterNode,
    by: Authority,
    slot: { target: Slot; rate: number | undefined },
    artifact: DiskArtifact,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<{ bytes: number }> {
    const image = await this.#fetch(artifact, onProgress, signal);
    const args = { via: 'ssh', sha256: artifact.sha256, data: dataOf(artifact, image), ...slot };
    return this.#untilRight(node, 'write', () =>
      this.#inTurn(onProgress, signal, () =>
        this.#send({ node, by, script: 'stream', step: 'write', args }, image, onProgress, signal),
      ),
    );
  }

  async #untilRight(node: ClusterNode, step: Step, send: () => Promise<Answers>): Promise<{ bytes: number }> {
    for (let sending = 1; sending <= MAX_SENDINGS; sending++) {
      const staged = readAnswers(await send(), stagedSchema, step, node.name);
      if ('bytes' in staged) return staged;
      this.#tools.notice('what arrived of the image is not whole, or damaged: it is sent again', node.name);
    }
    throw new KubeosError('the image does not arrive as it was sent', EXIT.incomplete, {
      node: node.name,
      step,
      reason: `it was sent ${String(MAX_SENDINGS)} times, and each time its SHA-256 on the node was another`,
      next: 'look for disk and memory errors (dmesg) on the node, then give the same command again',
    });
  }

  #inTurn<T>(onProgress: Progress, signal: AbortSignal, send: () => Promise<T>): Promise<T> {
    if (this.#places.activeCount >= FED_AT_ONCE) {
      onProgress({ doneBytes: 0, waitsFor: `its turn: ${String(FED_AT_ONCE)} nodes are sent the image at a time` });
    }
    return untilAborted(this.#places(send), signal);
  }

  #fetch(artifact: DiskArtifact, onProgress: Progress, signal: AbortSignal): Promise<LocalImage> {
    if (this.#images === undefined) throw new Error('an image is to be sent, but nobody fetches it here');
    const told = ({ doneBytes, totalBytes }: StepProgress): void => {
      const tenths = totalBytes === undefined ? 0 : Math.floor((10 * doneBytes) / totalBytes);
      onProgress({ doneBytes: 0, waitsFor: `the image, which this machine fetches: ${String(10 * tenths)}%` });
    };
    return this.#images.fetch(artifact, told, signal);
  }

  /** Ends once the node has taken all of it. What got through before a connection broke counts as patience anew. */
  async #send(
    { node, by: { run, token }, script, step, args }: Sending,
    image: LocalImage,
    onProgress: Progress,
    signal: AbortSignal,
  ): Promise<Answers> {
    const broken = new AbortController();
    let reached = 0;
    const stallMs = script === 'stream' ? STREAM_STALL_MS : STALL_MS;
    const feeding = { image, signal: AbortSignal.any([signal, broken.signal]), broken, stallMs };
    const feed = (channel: ClientChannel, said: string): void => {
      void this.#feed(channel, offsetIn(said), feeding, (doneBytes) => {
        reached = Math.max(reached, doneBytes);
        onProgress({ doneBytes, totalBytes: image.bytes });
      });
    };
    for (;;) {
      signal.throwIfAborted();
      const before = reached;
      try {
        const options = {
          ...{ step, signal: feeding.signal, timeoutMs: NO_TIMEOUT_MS, feed },
          patienceMs: this.#tools.patience.jobMs,
        };
        return await this.#tools.calls.call(node, script, { run, token, ...args, bytes: image.bytes }, options);
      } catch (error) {
        const passes = error instanceof ConnectError && isPassing(error) && reached > before;
        if (!passes || signal.aborted) throw error;
      }
    }
  }

  /** Sends from `offset` on. A loss of the channel is told by the call that it belongs to. */
  async #feed(
    channel: ClientChannel,
    offset: number,
    { image, signal, broken, stallMs }: Feeding,
    onBytes: (doneBytes: number) => void,
  ): Promise<void> {
    const { clock } = this.#tools;
    const rate = this.#rate;
    let [done, toldAt] = [offset, 0];
    const gone = new AbortController();
    const leave = (): void => {
      gone.abort(new Error('the channel takes no more'));
      channel.close();
    };
    channel.once('close', leave);
    const ended = AbortSignal.any([signal, gone.signal]);
    const stalled = setTimeout(leave, stallMs);
    try {
      for await (const piece of piecesOf(image.file, offset, rate === undefined ? PIECE_BYTES : METERED_BYTES)) {
        await rate?.take(piece.length, ended);
        // ssh2 may drop the callback of a write where the channel closes (its issue 1508).
        await untilAborted(written(channel, piece), ended);
        stalled.refresh();
        done += piece.length;
        if (clock.now() - toldAt < TOLD_EVERY_MS) continue;
        toldAt = clock.now();
        onBytes(done);
      }
      channel.end();
      onBytes(done);
    } catch (error) {
      if (isOfSystem(error)) broken.abort(unreadable(image.file, error));
      leave();
    } finally {
      clearTimeout(stalled);
      channel.off('close', leave);
    }
  }
}

/** The digest of what is sent, where that is not the image of the spec, but what is in it. */
const dataOf = ({ sha256 }: DiskArtifact, image: LocalImage): string | undefined =>
  image.sha256 === sha256 ? undefined : image.sha256;

const written = (channel: ClientChannel, piece: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    channel.write(piece, (error) => (error ? reject(new Error(error.message)) : resolve()));
  });

/** Of the file: what a channel fails with names no system call. */
const isOfSystem = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined;

const offsetIn = (said: string): number => Number(/^offset=(\d+)$/m.exec(said)?.[1] ?? 0);

const unreadable = (file: string, error: Error): KubeosError =>
  new KubeosError('the image that this machine has fetched cannot be read', EXIT.incomplete, {
    reason: `${file}: ${error.message}`,
    next: 'give the same command again: it is fetched anew where it is gone',
    cause: error,
  });
