import pLimit from 'p-limit';
import * as z from 'zod';
import { ConnectError, KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode, Slot } from '../rollout/facts.ts';
import type { Authority, DiskArtifact, ImageSource, StepProgress } from '../rollout/ports.ts';
import { Rate } from '../rollout/rate.ts';
import type { Step } from '../rollout/steps.ts';
import { readAnswers, wholeNumber, type Answers } from './answers.ts';
import type { ScriptArguments } from './compose.ts';
import { OverdueError, type Running } from './exec.ts';
import { piecesOf } from './file-pieces.ts';
import { runJob, type JobTools } from './jobs.ts';
import { isPassing, span } from './node-calls.ts';
import { Portion } from './portion.ts';
import type { RemoteSettings } from './settings.ts';
import { untilAborted } from './until-aborted.ts';

/** One process of Node.js ciphers as much for one node as for four; more would only make each slower. */
const FED_AT_ONCE = 4;
/** Sent again where the node lost, or found damaged, what had arrived. */
const MAX_SENDINGS = 3;
/** Read at once: small pieces cost processor time. */
const PIECE_BYTES = 1024 * 1024;
/** A node that takes nothing for so long is tried over a new connection. */
const STALL_MS = 60_000;
/**
 * Multiples of it: until a portion is taken, and until the script has ended after the last. A window, 2 MiB, may still be
 * on its way over a slow link then. A node whose slot is written meanwhile may be busy with what a little of a compressed
 * image becomes, and brings it all to the disk at the end.
 */
const STALLS = { receive: { portion: 1, end: 5 }, stream: { portion: 15, end: 30 } };
/** What a window of a compressed image may become, where the node writes at a limited rate. */
const UNPACKED_BYTES = 4 * 1024 ** 3;
const TOLD_EVERY_MS = 500;
/** While nobody waits for the node. */
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

/** Milliseconds. */
interface TimeLimits {
  portion: number;
  end: number;
}

interface Feeding {
  image: LocalImage;
  /** Aborted where this machine cannot go on. */
  broken: AbortController;
  limits: TimeLimits;
}

/** Brings the image, which this machine fetches once, to nodes over the connections that they have. */
export class ImageSender {
  readonly #tools: JobTools;
  readonly #images: ImageSource | undefined;
  readonly #places = pLimit(FED_AT_ONCE);
  readonly #rate: Rate | undefined;
  readonly #stallMs: number;

  constructor(
    { images, sendRate, sendStallMs }: Pick<RemoteSettings, 'images' | 'sendRate' | 'sendStallMs'>,
    tools: JobTools,
  ) {
    this.#tools = tools;
    this.#images = images;
    this.#stallMs = sendStallMs ?? STALL_MS;
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
    const feeding = { image, broken, limits: this.#limitsOf(script, args['rate']) };
    const feed = (running: Running, said: string): void => {
      void this.#feed(running, offsetIn(said), feeding, (doneBytes) => {
        reached = Math.max(reached, doneBytes);
        onProgress({ doneBytes, totalBytes: image.bytes });
      });
    };
    for (;;) {
      signal.throwIfAborted();
      const before = reached;
      try {
        const options = {
          ...{ step, signal: AbortSignal.any([signal, broken.signal]), feed },
          patienceMs: this.#tools.patience.jobMs,
        };
        return await this.#tools.calls.call(node, script, { run, token, ...args, bytes: image.bytes }, options);
      } catch (error) {
        const passes = error instanceof ConnectError && isPassing(error) && reached > before;
        if (!passes || signal.aborted) throw error;
      }
    }
  }

  #limitsOf(script: Sending['script'], rate: ScriptArguments[string]): TimeLimits {
    const { portion, end } = STALLS[script];
    const unpackedMs = typeof rate === 'number' ? (UNPACKED_BYTES / rate) * 1000 : 0;
    const limit = (stalls: number): number => Math.min(stalls * this.#stallMs + unpackedMs, NO_TIMEOUT_MS);
    return { portion: limit(portion), end: limit(end) };
  }

  /** Sends from `offset` on. A loss of the channel, and a stall, are told by the call that it belongs to. */
  async #feed(
    running: Running,
    offset: number,
    { image, broken, limits }: Feeding,
    onBytes: (doneBytes: number) => void,
  ): Promise<void> {
    const { clock } = this.#tools;
    const portion = new Portion();
    let [done, toldAt] = [offset, 0];
    try {
      untimed(running);
      for await (const piece of piecesOf(image.file, offset, PIECE_BYTES)) {
        for (let at = 0; at < piece.length;) {
          const part = piece.subarray(at, at + portion.bytes);
          await this.#write(running, part, portion, limits);
          at += part.length;
          done += part.length;
          if (clock.now() - toldAt < TOLD_EVERY_MS) continue;
          toldAt = clock.now();
          onBytes(done);
        }
      }
      running.channel.end();
      running.within(limits.end, () => overdue('the node was sent all of the image, and did not end', limits.end));
      onBytes(done);
    } catch (error) {
      if (isOfSystem(error)) broken.abort(unreadable(image.file, error));
    }
  }

  /** Resolves once it has left this process. */
  async #write(running: Running, part: Buffer, portion: Portion, limits: TimeLimits): Promise<void> {
    const { clock } = this.#tools;
    const { ended } = running;
    await this.#rate?.take(part.length, ended);
    ended.throwIfAborted();
    const leaving = write(running, part);
    if (leaving === undefined) return;
    const began = clock.now();
    running.within(limits.portion, () => overdue('the node took nothing of the image', limits.portion));
    // ssh2 may drop the callback of a write where the channel closes (its issue 1508).
    await untilAborted(leaving, ended);
    untimed(running);
    // With a rate they stay small, so that what goes at once is little.
    if (this.#rate === undefined) portion.took(clock.now() - began);
  }
}

/** The digest of what is sent, where that is not the image of the spec, but what is in it. */
const dataOf = ({ sha256 }: DiskArtifact, image: LocalImage): string | undefined =>
  image.sha256 === sha256 ? undefined : image.sha256;

const untimed = (running: Running): void =>
  running.within(NO_TIMEOUT_MS, () => overdue('this machine sent nothing of the image', NO_TIMEOUT_MS));

/** Resolves once it has left this process; undefined where it has at once. */
function write({ channel, drained }: Running, part: Buffer): Promise<void> | undefined {
  const taken = new Promise<void>((resolve, reject) => {
    channel.write(part, (error) => (error ? reject(new Error(error.message)) : resolve()));
  });
  // Where nobody waits for it, nobody is told of its failure: the call is.
  taken.catch(() => undefined);
  return channel.writableLength === 0 ? drained() : taken.then(drained);
}

/** Of the file: what a channel fails with names no system call. */
const isOfSystem = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && (error as NodeJS.ErrnoException).syscall !== undefined;

const offsetIn = (said: string): number => Number(/^offset=(\d+)$/m.exec(said)?.[1] ?? 0);

const overdue = (what: string, ms: number): OverdueError =>
  new OverdueError(`${what} for ${span(ms)}`, 'timeout', {
    next: 'look at the disks of the node (dmesg, processes in state D) and at the way to it; then give the same command again',
  });

const unreadable = (file: string, error: Error): KubeosError =>
  new KubeosError('the image that this machine has fetched cannot be read', EXIT.incomplete, {
    reason: `${file}: ${error.message}`,
    next: 'give the same command again: it is fetched anew where it is gone',
    cause: error,
  });
