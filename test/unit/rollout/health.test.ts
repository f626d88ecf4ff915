import { describe, expect, test } from 'vitest';
import { ApiUnreachableError } from '../../../src/errors.ts';
import { ClusterView } from '../../../src/rollout/cluster-view.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import { waitHealthy, type Health } from '../../../src/rollout/health.ts';
import type { Cluster } from '../../../src/rollout/ports.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { clusterNode, V1, V2 } from './fixtures.ts';

/** A kubelet of which a test says how it looks and how its Lease moves. */
async function setUp(first: Partial<ClusterNode>) {
  const clock = new VirtualClock();
  let tell: (nodes: ReadonlyMap<string, ClusterNode>) => void = () => undefined;
  let mark: () => string | undefined = () => 'm0';
  const cluster = {
    nodes: () => Promise.resolve([clusterNode(first)]),
    watchNodes: (onChange: typeof tell) => {
      tell = onChange;
      return () => undefined;
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- a throw must become a rejection
    heartbeat: async () => mark(),
  } as unknown as Cluster;
  const view = await ClusterView.open(cluster);
  const waits: string[] = [];
  const wait = (timeoutMs = 60_000, signal = new AbortController().signal): Promise<Health> =>
    waitHealthy(
      { node: 'w-1', bootId: 'boot-2', version: V2, timeoutMs },
      { cluster, clock, view },
      (because) => void waits.push(because),
      signal,
    );
  return {
    clock,
    waits,
    wait,
    show: (change: Partial<ClusterNode>): void => tell(new Map([['w-1', clusterNode(change)]])),
    beats: (read: () => string | undefined): void => void (mark = read),
  };
}

const booted = { bootId: 'boot-2', osImage: V2, ready: true };

describe('health', () => {
  test('needs this boot, Ready, the version, and two renewals of the Lease since', async () => {
    const { clock, wait, beats, waits } = await setUp(booted);
    const since = clock.now();
    beats(() => `m${Math.floor((clock.now() - since + 9000) / 10_000)}`);
    expect(await clock.run(wait())).toEqual({ verdict: 'healthy' });
    expect(clock.now() - since).toBeGreaterThan(10_000);
    expect(waits).toEqual(['0 of 2 heartbeats', '1 of 2 heartbeats']);
  });

  test.each<[string, Partial<ClusterNode>, string]>([
    ['the old boot', { ...booted, bootId: 'boot-1' }, 'the kubelet has not reported since this boot'],
    ['not Ready', { ...booted, ready: false, notReadyBecause: 'PLEG' }, 'kubelet not Ready: PLEG'],
    ['another version', { ...booted, osImage: V1 }, `the kubelet reports ${V1}`],
  ])('%s is not healthy, however long one waits', async (_name, shown, because) => {
    const { clock, wait, beats } = await setUp(shown);
    beats(() => `m${clock.now()}`);
    expect(await clock.run(wait())).toEqual({ verdict: 'unhealthy', because });
  });

  test('a Lease that stands still, or is not there, is no sign of life', async () => {
    const { clock, wait, beats } = await setUp(booted);
    expect(await clock.run(wait())).toEqual({ verdict: 'unhealthy', because: '0 of 2 heartbeats' });
    beats(() => undefined);
    expect(await clock.run(wait())).toEqual({ verdict: 'unhealthy', because: 'no heartbeat' });
  });

  test('an API that is away for a while is no news', async () => {
    const { clock, wait, beats } = await setUp(booted);
    const since = clock.now();
    beats(() => {
      if (clock.now() - since < 30_000) throw new ApiUnreachableError('away');
      return `m${clock.now()}`;
    });
    expect(await clock.run(wait())).toEqual({ verdict: 'healthy' });
  });

  test('yet another boot ends the wait', async () => {
    const { clock, wait, show } = await setUp({ ...booted, bootId: 'boot-1' });
    const waiting = wait();
    clock.after(5000, () => show({ ...booted, bootId: 'boot-3' }));
    expect(await clock.run(waiting)).toEqual({ verdict: 'rebooted' });
  });

  test('0 waits for ever, until it is called off', async () => {
    const { clock, wait } = await setUp({ ...booted, ready: false });
    const stop = new AbortController();
    const waiting = wait(0, stop.signal);
    waiting.catch(() => undefined);
    await clock.pass(24 * 3_600_000);
    stop.abort(new Error('stop'));
    await expect(clock.run(waiting)).rejects.toThrow('stop');
  });
});
