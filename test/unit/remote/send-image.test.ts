import { describe, expect, it } from 'vitest';
import type { NodeCalls } from '../../../src/remote/node-calls.ts';
import { ImageSender } from '../../../src/remote/send-image.ts';
import { DEFAULT_PATIENCE } from '../../../src/remote/settings.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import type { DiskArtifact, StepProgress } from '../../../src/rollout/ports.ts';

const IMAGE = { file: '/none', bytes: 5 };
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
});
