import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { StepProgress } from '../../src/rollout/ports.ts';
import { opensshBed } from './remote-beds.ts';
import type { ServerBed, ServerNode } from './remote-core-suite.ts';
import { until } from './remote-sshd.ts';

// Nothing comes from a process that is stopped, be it by a signal or by a disk that hangs: not even the end of its channel.

const by = { run: 'run-1', token: 5 };
const never = new AbortController().signal;
const notices: string[] = [];

describe('a node that stops taking the image', () => {
  let bed: ServerBed;

  beforeAll(async () => {
    // Slow enough to be stopped in the middle.
    const settings = { sendStallMs: 1000, sendRate: 1024 * 1024 };
    bed = await opensshBed({ settings, notice: (message) => notices.push(message) });
  });
  beforeEach(() => notices.splice(0));
  afterAll(() => bed.close());

  async function begun(): Promise<ServerNode> {
    const one = await bed.makeNode();
    const { version, image } = one;
    await bed.remote.claim(one.node, by);
    await bed.remote.begin(one.node, by, {
      ...{ operation: 'upgrade', version: image.version, replaced: version, from: 'A', target: 'B' },
      sha256: image.artifact.sha256,
    });
    return one;
  }

  const stage = ({ node, image }: ServerNode, onProgress: (progress: StepProgress) => void = () => undefined) =>
    bed.remote.stage(node, by, { ...image.artifact, via: 'ssh' }, onProgress, never);

  const receiverOf = ({ root }: ServerNode): number => {
    const file = join(root, 'run/kubeos/receiver');
    return existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[0]) : 0;
  };

  async function stopReceiver(one: ServerNode, before = 0): Promise<void> {
    await until(() => receiverOf(one) > 0 && receiverOf(one) !== before);
    process.kill(receiverOf(one), 'SIGSTOP');
  }

  it('is tried over a new connection, which ends what hangs there and goes on', async () => {
    const one = await begun();
    const staging = stage(one);
    await stopReceiver(one);
    expect(await staging).toEqual({ bytes: one.image.bytes });
    expect(notices).toContainEqual('the node took nothing of the image for 1s: tried again over a new connection');
  });

  it('the same where all of it has been sent', async () => {
    const one = await begun();
    let first = 0;
    // What is left then fits into a window.
    const staging = stage(one, ({ doneBytes }) => {
      if (first > 0 || doneBytes < one.image.bytes / 2) return;
      first = receiverOf(one);
      one.cut();
    });
    await until(() => first > 0);
    await stopReceiver(one, first);
    expect(await staging).toEqual({ bytes: one.image.bytes });
    expect(notices).toContainEqual(expect.stringContaining('was sent all of the image, and did not end for 5s'));
  });
});
