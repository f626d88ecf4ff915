import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ClientChannel } from 'ssh2';
import { describe, expect, it } from 'vitest';
import type { CallOptions, NodeCalls } from '../../../src/remote/node-calls.ts';
import { ImageSender } from '../../../src/remote/send-image.ts';
import { DEFAULT_PATIENCE } from '../../../src/remote/settings.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import type { DiskArtifact, StepProgress } from '../../../src/rollout/ports.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const IMAGE = { file: '/none', bytes: 5 };
/** What goes at once where there is a rate. */
const PIECE = 64 * 1024;
const BY = { run: 'r', token: 1 };
const never = new AbortController().signal;
const clock = { now: () => 0, sleep: () => Promise.resolve() };
const answers = (values: Record<string, string>) => new Map(Object.entries(values).map(([key, text]) => [key, [text]]));

describe('an image that this machine sends', () => {
  it('goes to four nodes at a time; the fifth says that it waits, and gets its turn', async () => {
    const under = new Map<string, () => void>();
    const began: string[] = [];
    const call = async ({ name }: ClusterNode, script: string): Promise<unknown> => {
      if (script === 'receive') {
        began.push(name);
        await new Promise<void>((resolve) => under.set(name, resolve));
        under.delete(name);
      }
      return answers(script === 'poll' ? { state: 'done', rc: '0', 'out.bytes': '5' } : { state: 'started' });
    };
    const images = { fetch: () => Promise.resolve(IMAGE) } as never;
    const calls = { call } as unknown as NodeCalls;
    const sender = new ImageSender({ images }, { calls, clock, patience: DEFAULT_PATIENCE, notice: () => undefined });
    const waiting: string[] = [];
    const stage = (name: string) =>
      sender.stage(
        { name } as ClusterNode,
        BY,
        { sha256: 'a'.repeat(64) } as DiskArtifact,
        ({ waitsFor }: StepProgress) => {
          if (waitsFor !== undefined) waiting.push(`${name}: ${waitsFor}`);
        },
        never,
      );
    const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

    const all = Promise.all(['n-1', 'n-2', 'n-3', 'n-4', 'n-5', 'n-6'].map(stage));
    await settled();
    expect(began).toEqual(['n-1', 'n-2', 'n-3', 'n-4']);
    const its = 'its turn: 4 nodes are sent the image at a time';
    expect(waiting).toEqual([`n-5: ${its}`, `n-6: ${its}`]);
    under.get('n-2')?.();
    await settled();
    expect(began.slice(4)).toEqual(['n-5']);
    expect(under.size).toBe(4);
    for (const end of under.values()) end();
    await settled();
    for (const end of under.values()) end();
    expect(await all).toEqual(Array.from({ length: 6 }, () => ({ bytes: 5 })));
    expect(began).toHaveLength(6);
  });

  it('goes to all nodes together no faster than --limit-rate, and from where a node has it', async () => {
    const file = path.join(tmpdir(), `kubeos-sent-${String(process.pid)}`);
    await writeFile(file, Buffer.alloc(8 * PIECE));
    const virtual = new VirtualClock();
    const began = virtual.now();
    const sent: { node: string; ms: number; bytes: number }[] = [];
    const call = async (
      { name }: ClusterNode,
      script: string,
      _args: unknown,
      { feed }: CallOptions,
    ): Promise<unknown> => {
      if (script !== 'receive') {
        return answers(script === 'poll' ? { state: 'done', rc: '0', 'out.bytes': '5' } : { state: 'started' });
      }
      await new Promise<void>((resolve) => {
        const write = ({ length: bytes }: Buffer, done: () => void): void => {
          sent.push({ node: name, ms: virtual.now() - began, bytes });
          done();
        };
        const channel = { write, end: resolve, writableLength: 0 } as unknown as ClientChannel;
        const running = { channel, ended: never, drained: () => undefined, within: () => undefined };
        feed?.(running, name === 'n-2' ? `offset=${String(6 * PIECE)}\n` : 'offset=0\n');
      });
      return answers({});
    };
    const sender = new ImageSender(
      { images: { fetch: () => Promise.resolve({ file, bytes: 8 * PIECE }) } as never, sendRate: 4 * PIECE },
      {
        ...{ calls: { call } as unknown as NodeCalls, clock: virtual, patience: DEFAULT_PATIENCE },
        notice: () => undefined,
      },
    );
    const stop = virtual.runAlways();
    const artifact = { sha256: 'a'.repeat(64) } as DiskArtifact;
    const stage = (name: string) => sender.stage({ name } as ClusterNode, BY, artifact, () => undefined, never);
    await Promise.all(['n-1', 'n-2'].map(stage));
    stop();
    await rm(file);
    const bytesOf = (wanted: string): number[] => sent.filter(({ node }) => node === wanted).map(({ bytes }) => bytes);
    expect(bytesOf('n-1')).toEqual(Array.from({ length: 8 }, () => PIECE));
    expect(bytesOf('n-2')).toEqual([PIECE, PIECE]);
    // One goes at once; no earlier than a quarter of a second after each, the next.
    for (const [place, { ms }] of sent.entries()) expect(ms).toBeGreaterThanOrEqual(250 * place);
  });
});
