import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { ClusterSettings, KubectlCluster } from '../../src/cluster/index.ts';
import { ApiUnreachableError, KubeosError, LockLostError, PreflightError } from '../../src/errors.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import type { DrainOptions, DrainProgress } from '../../src/rollout/ports.ts';
import { Between } from './between.ts';
import { eventually, RECORD } from './cluster-suite.ts';
import type { KubectlBed } from './kubectl-bed.ts';

/** An API server that can go wrong: the bed's own hands reach it directly, the product through a proxy. */
export interface FaultyBed {
  kubectl: KubectlBed;
  url: string;
  token: string;
  /** All versions before now are too old to be watched or listed on from. */
  expire(): Promise<void>;
  close(): Promise<void>;
}

const never = new AbortController().signal;
const OPTIONS: DrainOptions = {
  timeoutMs: 120_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};
const BUSY = { status: 429, reason: 'TooManyRequests', message: 'the server has received too many requests' };
const BROKEN = { status: 500, reason: 'InternalError', message: 'etcdserver: leader changed' };
const REQUEST = { run: 'r-1', holder: 'ann@laptop, pid 71', what: 'upgrade' };

/** What the product makes of an API server that refuses, breaks off, forgets and goes away. */
export function describeFaults(open: () => Promise<FaultyBed>): void {
  describe('an API server that goes wrong', () => {
    let bed: FaultyBed | undefined;
    let between: Between | undefined;
    const connected: KubectlCluster[] = [];
    const connect = async (settings: Partial<ClusterSettings> = {}): Promise<KubectlCluster> => {
      const cluster = await bed!.kubectl.connect({ kubeconfig: between!.kubeconfig, ...settings });
      connected.push(cluster);
      return cluster;
    };
    beforeAll(async () => {
      bed = await open();
      between = await Between.start(bed);
    });
    afterEach(async () => {
      await Promise.all(connected.splice(0).map((cluster) => cluster.disconnect()));
      await bed?.kubectl.clear();
      between?.requireSpent();
    });
    afterAll(async () => {
      await between?.close();
      await bed?.close();
    });

    const watched = (cluster: KubectlCluster): { names: () => string[]; stop: () => void } => {
      let latest: ReadonlyMap<string, ClusterNode> = new Map();
      const stop = cluster.watchNodes((nodes) => (latest = nodes));
      return { names: () => [...latest.keys()].sort(), stop };
    };

    test('a watch that is cut goes on and misses nothing', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      const watch = watched(await connect());
      for (const name of ['w-2', 'w-3', 'w-4']) {
        await eventually(() => expect(between!.cut(/watch=true/)).toBe(1));
        await bed!.kubectl.addNode({ name });
        await eventually(() => expect(watch.names()).toContain(name), 60_000);
      }
      watch.stop();
    });

    test('a watch whose version expired (410) while it was cut begins anew, and sees who came and went', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      await bed!.kubectl.addNode({ name: 'w-2' });
      const watch = watched(await connect());
      await eventually(() => expect(watch.names()).toEqual(['w-1', 'w-2']));
      between!.down(true);
      await bed!.kubectl.removeNode('w-1');
      await bed!.kubectl.addNode({ name: 'w-3' });
      await bed!.expire();
      between!.down(false);
      await eventually(() => expect(watch.names()).toEqual(['w-2', 'w-3']), 60_000);
      expect(between!.count(410)).toBeGreaterThan(0);
      await bed!.kubectl.addNode({ name: 'w-4' });
      await eventually(() => expect(watch.names()).toEqual(['w-2', 'w-3', 'w-4']), 60_000);
      watch.stop();
    });

    test('a refusal for now (429, 500) is asked again, as late as it says', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      const cluster = await connect();
      between!.add({ method: 'GET', path: /\/api\/v1\/nodes\?/, times: 1, answer: { ...BUSY, retryAfter: 2 } });
      between!.add({ method: 'GET', path: /\/api\/v1\/nodes\?/, times: 2, answer: BROKEN });
      const began = Date.now();
      expect(await cluster.nodes()).toHaveLength(1);
      expect(Date.now() - began).toBeGreaterThanOrEqual(2_000);
      between!.add({ method: 'PATCH', path: /\/nodes\/w-1/, times: 2, answer: BROKEN });
      expect(await cluster.cordon('w-1', RECORD)).toMatchObject({ cordon: 'ours' });
      expect(between!.count(500)).toBe(4);
    });

    test('a refusal that stays is told in the end, with what the server says', async () => {
      const cluster = await connect({ retryForMs: 500 });
      between!.add({ method: 'GET', path: /\/api\/v1\/nodes\?/, times: 2, answer: BROKEN });
      const error = await cluster.nodes().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(KubeosError);
      expect((error as KubeosError).message).toBe('could not read the nodes');
      expect((error as KubeosError).reason).toContain('leader changed (HTTP 500)');
    });

    test('a refusal for want of a right (403) is told at once and asked only once', async () => {
      const cluster = await connect();
      const forbidden = { status: 403, reason: 'Forbidden', message: 'nodes is forbidden' };
      between!.add({ method: 'GET', path: /\/api\/v1\/nodes\?/, times: 1, answer: forbidden });
      const error = await cluster.nodes().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(PreflightError);
      expect(error).toMatchObject({ message: 'not allowed to read the nodes', reason: 'nodes is forbidden' });
    });

    test('a cordon whose answer is lost is still ours', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      const cluster = await connect();
      between!.add({ method: 'PATCH', path: /\/nodes\/w-1/, times: 1, loseAnswer: true });
      expect(await cluster.cordon('w-1', RECORD)).toMatchObject({ cordon: 'ours' });
      await cluster.release('w-1', RECORD.token);
      expect(await bed!.kubectl.readNode('w-1')).toMatchObject({ unschedulable: false, annotations: {} });
    });

    test('a lock whose taking is answered to nobody is held, and is renewed while the server is away', async () => {
      const cluster = await connect({ lockSeconds: 1 });
      between!.add({ method: 'POST', path: /\/leases/, times: 1, loseAnswer: true });
      const held = await cluster.acquireLock(REQUEST, never);
      expect(held.token).toBe(1);
      between!.down(true);
      await eventually(async () => {
        const { renewedAt } = (await bed!.kubectl.readLock())!;
        expect(Date.now() - renewedAt).toBeGreaterThan(2_000);
      });
      between!.down(false);
      const before = (await bed!.kubectl.readLock())!.renewedAt;
      await eventually(async () => expect((await bed!.kubectl.readLock())!.renewedAt).toBeGreaterThan(before), 60_000);
      expect(held.lost.aborted).toBe(false);
      await held.release();
    });

    test('many writers on one node: the newest run of ours is recorded, and nothing of the others is lost', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      const ours = await Promise.all([connect(), connect(), connect()]);
      const labels = Array.from({ length: 40 }, (_, at) => `other-${at}`);
      const foreign = (async () => {
        for (const label of labels) await bed!.kubectl.changeNode('w-1', { labels: { [label]: 'x' }, ready: true });
      })();
      // Each run marks the node again and again, with a token of its own that grows from run to run.
      const marks = ours.map(async (cluster, run) => {
        for (let step = 0; step < 12; step++)
          await cluster.cordon('w-1', { ...RECORD, run: `r-${run}`, token: run + 1 });
      });
      const [first, second, newest] = await Promise.allSettled(marks);
      await foreign;
      for (const older of [first, second]) {
        if (older?.status === 'rejected') expect(older.reason).toBeInstanceOf(LockLostError);
      }
      expect(newest?.status).toBe('fulfilled');
      const node = await bed!.kubectl.readNode('w-1');
      expect(Object.keys(node.labels)).toEqual(expect.arrayContaining(labels));
      const [seen] = await ours[0].nodes();
      expect(seen?.record).toMatchObject({ run: 'r-2', token: 3, cordon: 'ours' });
      // It was not for want of contention.
      expect(between!.count(409)).toBeGreaterThan(0);
    });

    test('a drain whose evictions are refused for now (429) or fail once (500) comes to its end', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      for (const name of ['web-1', 'web-2']) await bed!.kubectl.addPod({ name, node: 'w-1' });
      const cluster = await connect();
      await cluster.cordon('w-1', RECORD);
      between!.add({ method: 'POST', path: /web-1\/eviction/, times: 1, answer: { ...BUSY, retryAfter: 1 } });
      between!.add({ method: 'POST', path: /web-2\/eviction/, times: 1, answer: BROKEN });
      expect(await cluster.drain('w-1', OPTIONS, () => undefined, never)).toEqual({ evicted: 2 });
    });

    test('an API server that is stopped in the middle of a drain, and comes back', async () => {
      await bed!.kubectl.addNode({ name: 'w-1' });
      await bed!.kubectl.addPod({ name: 'web-1', node: 'w-1', slow: true });
      const cluster = await connect();
      const watch = watched(cluster);
      await cluster.cordon('w-1', RECORD);
      let latest: DrainProgress | undefined;
      const drain = cluster.drain('w-1', OPTIONS, (progress) => (latest = progress), never);
      await eventually(() => expect(latest?.because).toContain('terminating'));
      await bed!.kubectl.stopApi!();
      const impatient = await connect({ retryForMs: 500 })
        .then((other) => other.nodes())
        .catch((caught: unknown) => caught);
      expect(impatient).toBeInstanceOf(ApiUnreachableError);
      await bed!.kubectl.startApi!();
      await bed!.kubectl.addNode({ name: 'w-2' });
      await bed!.kubectl.endPod('shop', 'web-1');
      expect(await drain).toEqual({ evicted: 1 });
      await eventually(() => expect(watch.names()).toEqual(['w-1', 'w-2']), 60_000);
      watch.stop();
    });

    test('a list whose pages expire (410) between two of them begins anew', async () => {
      const nodes = Array.from({ length: 501 }, (_, at) => `n-${at}`);
      await bed!.kubectl.addPlainNodes(nodes);
      const cluster = await connect();
      const expire = async (): Promise<void> => {
        await bed!.kubectl.removeNode('n-0');
        await bed!.expire();
      };
      between!.add({ method: 'GET', path: /\/api\/v1\/nodes\?.*continue=/, times: 1, first: expire });
      const names = (await cluster.nodes()).map(({ name }) => name);
      expect(between!.count(410)).toBe(1);
      expect(new Set(names).size).toBe(500);
      expect(names).not.toContain('n-0');
    });
  });
}
