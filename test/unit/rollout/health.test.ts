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
  let slowMs = 0;
  const cluster = {
    nodes: () => Promise.resolve([clusterNode(first)]),
    watchNodes: (onChange: typeof tell) => {
      tell = onChange;
      return () => undefined;
    },
    heartbeat: async () => {
      const ms = slowMs;
      slowMs = 0;
      await clock.sleep(ms);
      return mark();
    },
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
    /** The next answer of the API takes so long. */
    slow: (ms: number): void => void (slowMs = ms),
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

  /** A kubelet that comes to life only once the API, away for the first so many milliseconds, answers again. */
  const awayFor = (ms: number, clock: VirtualClock) => {
    const since = clock.now();
    return () => {
      const passed = clock.now() - since;
      if (passed < ms) throw new ApiUnreachableError('away');
      return `m${Math.floor(passed / 10_000)}`;
    };
  };

  test('the time in which the API is away does not count against the node', async () => {
    const { clock, wait, beats, show } = await setUp({ ...booted, ready: false });
    const since = clock.now();
    beats(awayFor(300_000, clock));
    clock.after(350_000, () => show(booted));
    expect(await clock.run(wait(60_000))).toEqual({ verdict: 'healthy' });
    expect(clock.now() - since).toBeLessThan(360_000);
  });

  test('neither does the time of an answer that came only when the API was back', async () => {
    const { clock, wait, beats, slow } = await setUp(booted);
    const since = clock.now();
    slow(240_000);
    beats(() => `m${Math.floor((clock.now() - since) / 10_000)}`);
    expect(await clock.run(wait(30_000))).toEqual({ verdict: 'healthy' });
    expect(clock.now() - since).toBeGreaterThan(240_000);
  });

  test('once the API is back, a node has the time for two beats before it is judged, however little was left', async () => {
    const { clock, wait, beats } = await setUp(booted);
    const since = clock.now();
    beats(() => {
      const passed = clock.now() - since;
      if (passed > 55_000 && passed < 200_000) throw new ApiUnreachableError('away');
      return passed < 200_000 ? 'm' : `m${Math.floor((passed - 200_000) / 10_000)}`;
    });
    expect(await clock.run(wait(60_000))).toEqual({ verdict: 'healthy' });
  });

  test('an unhealthy node is told as such after the API has come back', async () => {
    const { clock, wait, beats } = await setUp({ ...booted, ready: false });
    const since = clock.now();
    beats(awayFor(200_000, clock));
    expect(await clock.run(wait(60_000))).toEqual({ verdict: 'unhealthy', because: 'kubelet not Ready' });
    expect(clock.now() - since).toBeGreaterThanOrEqual(240_000);
  });

  test('an API that stays away for good ends the wait all the same: the node itself may have taken it down', async () => {
    const { clock, wait, beats } = await setUp({ ...booted, ready: false });
    const since = clock.now();
    beats(awayFor(Infinity, clock));
    expect(await clock.run(wait(60_000))).toEqual({
      verdict: 'unhealthy',
      because: "the cluster's API does not answer",
    });
    expect(clock.now() - since).toBeLessThan(900_000);
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
