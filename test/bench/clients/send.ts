// What sends an image to a node, as one process: `send.js JOB`. It ends where the node has taken it all.
import { readFileSync, statSync } from 'node:fs';
import { NodeCalls, type CallOptions } from '../../../src/remote/node-calls.ts';
import { ConnectionPool } from '../../../src/remote/pool.ts';
import { ImageSender } from '../../../src/remote/send-image.ts';
import { DEFAULT_PATIENCE, type RemoteSettings } from '../../../src/remote/settings.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import type { Answers } from '../../../src/remote/answers.ts';
import type { ScriptArguments } from '../../../src/remote/compose.ts';
import type { StepScript } from '../../../src/remote/scripts/index.ts';

export interface SendJob {
  node: ClusterNode;
  image: string;
  sha256: string;
  settings: RemoteSettings;
}

export interface Sent {
  /** What comes before the first byte: a connection, or a script that makes ready for it. */
  beforeMs: number;
  /** From then on, as all below. */
  wallMs: number;
  cpuMs: number;
  maxRssMiB: number;
}

/** What comes after the sending is the node's own work. */
class Taken extends Error {}

class Watched extends NodeCalls {
  sent: Omit<Sent, 'maxRssMiB'> | undefined;

  override async call(
    node: ClusterNode,
    script: StepScript,
    args: ScriptArguments,
    options: CallOptions,
  ): Promise<Answers> {
    if (script !== 'receive') throw new Taken();
    const called = performance.now();
    let [from, before] = [called, process.cpuUsage()];
    const answers = await super.call(node, script, args, {
      ...options,
      feed: (running, said) => {
        [from, before] = [performance.now(), process.cpuUsage()];
        options.feed?.(running, said);
      },
    });
    const { user, system } = process.cpuUsage(before);
    this.sent = { beforeMs: from - called, wallMs: performance.now() - from, cpuMs: (user + system) / 1000 };
    return answers;
  }
}

const job = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as SendJob;
const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };
const notice = (message: string): void => void process.stderr.write(`${message}\n`);
const pool = new ConnectionPool(job.settings, clock, notice);
await pool.get(job.node);
const calls = new Watched(pool, clock, notice);
const images = {
  look: () => Promise.reject(new Error('nobody looks')),
  fetch: () => Promise.resolve({ file: job.image, bytes: statSync(job.image).size, sha256: job.sha256 }),
};
const sender = new ImageSender({ images }, { calls, clock, notice, patience: DEFAULT_PATIENCE });
const artifact = { url: 'https://nowhere/', sha256: job.sha256, flagSafe: false, via: 'ssh' as const };
const by = { run: 'bench', token: 1 };
await sender
  .stage(job.node, by, artifact, () => undefined, new AbortController().signal)
  .catch((error: unknown) => {
    if (!(error instanceof Taken)) throw error;
  });
await pool.close();
const sent = { ...calls.sent, maxRssMiB: process.resourceUsage().maxRSS / 1024 };
process.stdout.write(`${JSON.stringify(sent)}\n`);
