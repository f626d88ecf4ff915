import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { KubeosError, LockLostError } from '../../src/errors.ts';
import type { ClusterNode, NodeRecord } from '../../src/rollout/facts.ts';
import type { ClusterBed, ConnectedCluster } from './cluster-bed.ts';
import { describeDrains } from './cluster-drain-suite.ts';
import { describeLock } from './cluster-lock-suite.ts';

/** What a suite works with: the bed, and connections that are closed after each test. */
export interface ClusterSetup {
  bed: () => ClusterBed;
  connect: (options?: { lockSeconds?: number }) => Promise<ConnectedCluster>;
}

/** The contract of the port `Cluster`; `makeBed` is called once, and its bed cleared after each test. */
export function describeClusterContract(name: string, makeBed: () => Promise<ClusterBed>): void {
  describe(`cluster: ${name}`, () => {
    let made: ClusterBed | undefined;
    const connected: ConnectedCluster[] = [];
    const setup: ClusterSetup = {
      bed: () => made!,
      connect: async (options) => {
        const cluster = await made!.connect(options);
        connected.push(cluster);
        return cluster;
      },
    };
    beforeAll(async () => {
      made = await makeBed();
    });
    afterEach(async () => {
      await Promise.all(connected.splice(0).map((cluster) => cluster.disconnect()));
      await made?.clear();
    });
    afterAll(() => made?.close());

    describeNodes(setup);
    describeMarks(setup);
    describeWatch(setup);
    describeLock(setup);
    describeDrains(setup);
  });
}

/** Polls until it holds; for what the cluster or another process does in its own time. */
export const eventually = (holds: () => unknown, timeoutMs = 20_000): Promise<void> =>
  vi.waitFor(
    async () => {
      await holds();
    },
    { timeout: timeoutMs, interval: 50 },
  );

export const RECORD: NodeRecord = {
  run: 'r-1',
  token: 7,
  operation: 'upgrade',
  version: 'KubeOS 2.0.0',
  step: 'drain',
  cordon: 'none',
};
const ANNOTATION = 'kubeos.openeuler.org/rollout';

export function describeNodes({ bed, connect }: ClusterSetup): void {
  describe('nodes', () => {
    test("the API server's clock is known once it has answered", async () => {
      const cluster = await connect();
      await cluster.nodes();
      const offset = cluster.clockOffset()!;
      // It is this machine's clock.
      expect(offset.atLeastMs).toBeLessThanOrEqual(0);
      expect(offset.atMostMs).toBeGreaterThanOrEqual(0);
      expect(offset.atMostMs - offset.atLeastMs).toBeLessThan(30_000);
    });

    test('are read with all that decisions need, sorted by name', async () => {
      await bed().addNode({ name: 'w-2', ready: false, osImage: 'KubeOS 0.9.1', unschedulable: true });
      await bed().addNode({
        name: 'w-1',
        address: '10.1.0.7',
        labels: { 'node-role.kubernetes.io/control-plane': '', 'upgrade.openeuler.org/upgrading': '', zone: 'a' },
      });
      const nodes = await (await connect()).nodes();
      expect(nodes.map((node) => node.name)).toEqual(['w-1', 'w-2']);
      expect(nodes[0]).toMatchObject({
        addresses: [
          { type: 'InternalIP', address: '10.1.0.7' },
          { type: 'Hostname', address: 'w-1' },
        ],
        controlPlane: true,
        operatorUpgrading: true,
        ready: true,
        cordoned: false,
        osImage: 'KubeOS 1.0.0',
        kernelVersion: '5.10.0',
        architecture: 'amd64',
        bootId: 'boot-of-w-1',
      });
      expect(nodes[0]?.labels['zone']).toBe('a');
      expect(nodes[0]).not.toHaveProperty('notReadyBecause');
      expect(nodes[0]).not.toHaveProperty('record');
      expect(nodes[1]).toMatchObject({ controlPlane: false, ready: false, cordoned: true, osImage: 'KubeOS 0.9.1' });
      expect(nodes[1]?.notReadyBecause).toContain('container runtime is down');
      expect(nodes[1]).not.toHaveProperty('kubeletSilent');
    });

    test('the older label of control planes counts too', async () => {
      await bed().addNode({ name: 'm-1', labels: { 'node-role.kubernetes.io/master': '' } });
      expect((await (await connect()).nodes())[0]?.controlPlane).toBe(true);
    });

    test('a record that somebody made unreadable is told, not taken for none', async () => {
      await bed().addNode({ name: 'w-1', annotations: { [ANNOTATION]: '{"run": 5}' } });
      const [node] = await (await connect()).nodes();
      expect(node?.record).toBeUndefined();
      expect(node?.recordProblem).toContain(ANNOTATION);
    });

    test('a heartbeat changes when the kubelet renews its Lease, and only then', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      expect(await cluster.heartbeat('w-1')).toBeUndefined();
      await bed().beat('w-1', 1_700_000_000);
      const first = await cluster.heartbeat('w-1');
      expect(first).toBeDefined();
      expect(await cluster.heartbeat('w-1')).toBe(first);
      await bed().beat('w-1', 1_700_000_010);
      expect(await cluster.heartbeat('w-1')).not.toBe(first);
    });

    test('OS resources of another writer are found in all namespaces', async () => {
      const cluster = await connect();
      const add = bed().addOsResource?.bind(bed());
      if (add === undefined) {
        expect(await cluster.osResources()).toEqual([]);
        return;
      }
      const os = { name: 'default/os-sample', osversion: 'KubeOS 1.0.0', opstype: 'upgrade' };
      await add(os);
      await eventually(async () => expect(await cluster.osResources()).toEqual([os]));
    });
  });
}

export function describeMarks({ bed, connect }: ClusterSetup): void {
  describe('cordon, record and release', () => {
    const noCordon = (record: NodeRecord): Omit<NodeRecord, 'cordon'> => {
      const { run, token, operation, version, step } = record;
      return { run, token, operation, version, step };
    };
    const recordOf = async (cluster: ConnectedCluster): Promise<NodeRecord | undefined> =>
      (await cluster.nodes())[0]?.record;

    test('a cordon of ours is taken off again, and nothing else', async () => {
      await bed().addNode({ name: 'w-1', labels: { keep: 'me' }, annotations: { 'example.org/keep': 'me' } });
      const cluster = await connect();
      const recorded = await cluster.cordon('w-1', noCordon(RECORD));
      expect(recorded).toEqual({ ...RECORD, cordon: 'ours' });
      expect((await bed().readNode('w-1')).unschedulable).toBe(true);
      expect(await recordOf(cluster)).toEqual(recorded);
      await cluster.release('w-1', RECORD.token);
      const after = await bed().readNode('w-1');
      expect(after).toMatchObject({ unschedulable: false, labels: { keep: 'me' } });
      expect(after.annotations).toEqual({ 'example.org/keep': 'me' });
    });

    test('a cordon that was found stays', async () => {
      await bed().addNode({ name: 'w-1', unschedulable: true });
      const cluster = await connect();
      expect((await cluster.cordon('w-1', noCordon(RECORD))).cordon).toBe('found');
      await cluster.release('w-1', RECORD.token);
      expect(await bed().readNode('w-1')).toMatchObject({ unschedulable: true, annotations: {} });
    });

    test('a cordon of an earlier run of ours is still ours', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      await cluster.cordon('w-1', noCordon(RECORD));
      const later = await cluster.cordon('w-1', { ...noCordon(RECORD), run: 'r-2', token: 8 });
      expect(later).toMatchObject({ run: 'r-2', token: 8, cordon: 'ours' });
    });

    test('a found cordon that somebody took off meanwhile becomes ours when set again', async () => {
      await bed().addNode({ name: 'w-1', unschedulable: true });
      const cluster = await connect();
      await cluster.cordon('w-1', noCordon(RECORD));
      await bed().changeNode('w-1', { unschedulable: false });
      expect((await cluster.cordon('w-1', noCordon(RECORD))).cordon).toBe('ours');
    });

    test('a foreign cordon on a node that bears only a record is found', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      await cluster.record('w-1', RECORD);
      await bed().changeNode('w-1', { unschedulable: true });
      expect((await cluster.cordon('w-1', noCordon(RECORD))).cordon).toBe('found');
    });

    test('the step is recorded, and the cordon stays as it was', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      const recorded = await cluster.cordon('w-1', noCordon(RECORD));
      await cluster.record('w-1', { ...recorded, step: 'reboot' });
      expect(await recordOf(cluster)).toEqual({ ...recorded, step: 'reboot' });
      expect((await bed().readNode('w-1')).unschedulable).toBe(true);
    });

    test('what a step is recorded over is told, so that another hand is noticed', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      const first = await cluster.record('w-1', RECORD);
      expect(first).toMatchObject({ cordoned: false });
      expect(first).not.toHaveProperty('record');
      await bed().changeNode('w-1', { unschedulable: true });
      const again = await cluster.record('w-1', { ...RECORD, step: 'reboot' });
      expect(again).toEqual({ uid: first.uid, cordoned: true, record: RECORD });
    });

    test('a node without our record is left as it is, and that is told', async () => {
      await bed().addNode({ name: 'w-1', unschedulable: true });
      expect(await (await connect()).release('w-1', RECORD.token)).toBe(false);
      expect((await bed().readNode('w-1')).unschedulable).toBe(true);
    });

    test('an older token changes nothing', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      await cluster.cordon('w-1', noCordon(RECORD));
      const before = await bed().readNode('w-1');
      await expect(cluster.release('w-1', 6)).rejects.toThrow(LockLostError);
      await expect(cluster.record('w-1', { ...RECORD, token: 6 })).rejects.toThrow(LockLostError);
      await expect(cluster.cordon('w-1', { ...noCordon(RECORD), token: 6 })).rejects.toThrow(LockLostError);
      expect(await bed().readNode('w-1')).toEqual(before);
    });

    test('a record that somebody made unreadable is not overwritten', async () => {
      await bed().addNode({ name: 'w-1', unschedulable: true, annotations: { [ANNOTATION]: 'mine' } });
      const cluster = await connect();
      const before = await bed().readNode('w-1');
      await expect(cluster.cordon('w-1', noCordon(RECORD))).rejects.toThrow(KubeosError);
      await expect(cluster.record('w-1', RECORD)).rejects.toThrow(KubeosError);
      await expect(cluster.release('w-1', RECORD.token)).rejects.toThrow(KubeosError);
      expect(await bed().readNode('w-1')).toEqual(before);
    });

    test('other writers do not get lost in between, nor do we', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      const others = Array.from({ length: 15 }, (_, at) =>
        bed().changeNode('w-1', { labels: { [`other-${at}`]: 'x' } }),
      );
      const marks = [8, 9, 10, 11].map((token) => cluster.cordon('w-1', { ...noCordon(RECORD), token }));
      await Promise.all([...others, ...marks.map((mark) => mark.catch(() => undefined))]);
      await cluster.cordon('w-1', { ...noCordon(RECORD), token: 12 });
      const node = await bed().readNode('w-1');
      expect(Object.keys(node.labels).filter((label) => label.startsWith('other-'))).toHaveLength(15);
      expect(await recordOf(cluster)).toMatchObject({ token: 12, cordon: 'ours' });
    });

    test('a node that does not exist is an error to mark, and nothing to release', async () => {
      const cluster = await connect();
      await expect(cluster.cordon('gone', noCordon(RECORD))).rejects.toThrow(KubeosError);
      expect(await cluster.release('gone', RECORD.token)).toBe(true);
    });

    test('a name that is no name reaches neither a path nor an argument', async () => {
      const cluster = await connect();
      for (const name of ['--all', '../pods', 'a b', '']) {
        await expect(cluster.record(name, RECORD)).rejects.toThrow(KubeosError);
      }
    });
  });
}

export function describeWatch({ bed, connect }: ClusterSetup): void {
  describe('the watch', () => {
    test('tells all nodes at the start and after each change, to every caller', async () => {
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      const seen: (readonly ClusterNode[])[] = [];
      const stop = cluster.watchNodes((nodes) => seen.push([...nodes.values()]));
      const latest = (): readonly ClusterNode[] => seen.at(-1) ?? [];
      await eventually(() => expect(latest().map((node) => node.name)).toEqual(['w-1']));
      await bed().addNode({ name: 'w-2' });
      await bed().changeNode('w-1', { ready: false });
      await eventually(() =>
        expect(
          latest()
            .map((node) => [node.name, node.ready])
            .sort(),
        ).toEqual([
          ['w-1', false],
          ['w-2', true],
        ]),
      );
      let late: readonly string[] = [];
      const stopLate = cluster.watchNodes((nodes) => (late = [...nodes.keys()].sort()));
      await eventually(() => expect(late).toEqual(['w-1', 'w-2']));
      await bed().removeNode('w-2');
      await eventually(() => expect([latest().length, late.length]).toEqual([1, 1]));
      stop();
      const told = seen.length;
      await bed().changeNode('w-1', { ready: true });
      await bed().addNode({ name: 'w-3' });
      await eventually(() => expect(late).toEqual(['w-1', 'w-3']));
      expect(seen).toHaveLength(told);
      stopLate();
    });

    test('survives an API server that is away', async () => {
      const [stopApi, startApi] = [bed().stopApi?.bind(bed()), bed().startApi?.bind(bed())];
      await bed().addNode({ name: 'w-1' });
      const cluster = await connect();
      let latest: ReadonlyMap<string, ClusterNode> = new Map();
      const stop = cluster.watchNodes((nodes) => (latest = nodes));
      await eventually(() => expect(latest.size).toBe(1));
      await stopApi?.();
      await startApi?.();
      await bed().addNode({ name: 'w-2' });
      await eventually(() => expect([...latest.keys()].sort()).toEqual(['w-1', 'w-2']), 60_000);
      stop();
    });
  });
}
