import { describe, expect, test } from 'vitest';
import { KubeosError } from '../../src/errors.ts';
import type { DrainOptions, DrainProgress } from '../../src/rollout/ports.ts';
import type { BedBudget, ConnectedCluster } from './cluster-bed.ts';
import { describeForecastAgainstDrain } from './cluster-forecast-suite.ts';
import { eventually, RECORD, type ClusterSetup } from './cluster-suite.ts';

const never = new AbortController().signal;
const OPTIONS: DrainOptions = {
  timeoutMs: 60_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};
const DB = { app: 'db' };
const budget = (change: Partial<BedBudget> = {}): BedBudget => ({
  name: 'db',
  matchLabels: DB,
  disruptionsAllowed: 0,
  currentHealthy: 3,
  desiredHealthy: 3,
  expectedPods: 4,
  ...change,
});

export function describeDrains(setup: ClusterSetup): void {
  describeForecasts(setup);
  describeEvictions(setup);
  describeForecastAgainstDrain(setup);
}

function describeForecasts({ bed, connect }: ClusterSetup): void {
  const forecast = async (options: Partial<DrainOptions> = {}) => {
    const found = await (await connect()).forecastDrains(['w-1'], { ...OPTIONS, ...options });
    return found.get('w-1')!;
  };

  describe('the forecast of a drain', () => {
    test('counts the pods to evict, without DaemonSet, mirror and finished ones', async () => {
      await bed().addNode({ name: 'w-1' });
      await bed().addNode({ name: 'w-2' });
      await bed().addDaemonSet('shop', 'agent');
      await bed().addPod({ name: 'web-1', node: 'w-1' });
      await bed().addPod({ name: 'web-2', node: 'w-2' });
      await bed().addPod({ name: 'agent-1', node: 'w-1', owner: { kind: 'DaemonSet', name: 'agent' } });
      await bed().addPod({ name: 'static-w-1', node: 'w-1', owner: { kind: 'Node', name: 'w-1' }, mirror: true });
      await bed().addPod({ name: 'job-1', node: 'w-1', owner: { kind: 'Job', name: 'job' }, phase: 'Succeeded' });
      const found = await (await connect()).forecastDrains(['w-1', 'w-2', 'w-3'], OPTIONS);
      expect(found.get('w-1')).toEqual({ pods: 1, obstacles: [] });
      expect(found.get('w-2')).toEqual({ pods: 1, obstacles: [] });
      expect(found.get('w-3')).toEqual({ pods: 0, obstacles: [] });
    });

    test('names bare pods and emptyDir volumes, which certainly fail without their flags', async () => {
      await bed().addNode({ name: 'w-1' });
      await bed().addPod({ name: 'bare', node: 'w-1', owner: null });
      await bed().addPod({ name: 'cache', node: 'w-1', emptyDir: true });
      const { obstacles } = await forecast();
      expect(obstacles.map(({ kind, verdict, pod }) => [kind, verdict, pod])).toEqual([
        ['bare-pod', 'certain', 'shop/bare'],
        ['empty-dir', 'certain', 'shop/cache'],
      ]);
      expect(obstacles[0]?.remedy).toContain('--force');
      expect(obstacles[1]).toMatchObject({ owner: 'ReplicaSet shop/web' });
      expect(obstacles[1]?.remedy).toContain('--delete-emptydir-data');
      expect((await forecast({ force: true, deleteEmptyDirData: true })).obstacles).toEqual([]);
    });

    test('tells a budget that never allows it from one that does not now', async () => {
      await bed().addNode({ name: 'w-1' });
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addPod({ name: 'api-1', node: 'w-1', labels: { app: 'api' } });
      await bed().addBudget(budget());
      await bed().addBudget(
        budget({ name: 'api', matchLabels: { app: 'api' }, currentHealthy: 1, desiredHealthy: 1, expectedPods: 1 }),
      );
      const { obstacles } = await forecast();
      expect(obstacles.map(({ kind, verdict, pod, budget: by }) => [kind, verdict, pod, by])).toEqual([
        ['budget-never', 'certain', 'shop/api-1', 'shop/api'],
        ['budget-now', 'waits', 'shop/db-1', 'shop/db'],
      ]);
      expect(obstacles[1]?.message).toContain('3 of its 4 pods healthy, 3 needed');
      expect((await forecast({ disableEviction: true })).obstacles).toEqual([]);
    });

    test('sees that two pods of a budget with one disruption left cannot both go now', async () => {
      await bed().addNode({ name: 'w-1' });
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addPod({ name: 'db-2', node: 'w-1', labels: DB });
      await bed().addBudget(budget({ disruptionsAllowed: 1, currentHealthy: 4 }));
      const { obstacles } = await forecast();
      expect(obstacles).toHaveLength(1);
      expect(obstacles[0]).toMatchObject({ kind: 'budget-now', verdict: 'waits' });
    });

    test('looks only at the pods that the pod selector lets the drain see', async () => {
      await bed().addNode({ name: 'w-1' });
      await bed().addPod({ name: 'bare', node: 'w-1', owner: null, labels: { app: 'bare' } });
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      expect(await forecast({ podSelector: 'app=db' })).toEqual({ pods: 1, obstacles: [] });
    });
  });
}

function describeEvictions({ bed, connect }: ClusterSetup): void {
  /** A connected cluster whose node w-1 is there and cordoned by us. */
  const cordoned = async (): Promise<ConnectedCluster> => {
    await bed().addNode({ name: 'w-1' });
    const cluster = await connect();
    await cluster.cordon('w-1', RECORD);
    return cluster;
  };
  const failure = async (drain: Promise<unknown>): Promise<KubeosError> => {
    const error = await drain.then(
      () => undefined,
      (caught: unknown) => caught,
    );
    expect(error).toBeInstanceOf(KubeosError);
    return error as KubeosError;
  };
  const ignore = (): void => undefined;

  describe('a drain', () => {
    test('ends once no pod is left but those of DaemonSets and static ones', async () => {
      const cluster = await cordoned();
      await bed().addDaemonSet('shop', 'agent');
      await bed().addPod({ name: 'agent-1', node: 'w-1', owner: { kind: 'DaemonSet', name: 'agent' } });
      await bed().addPod({ name: 'static-w-1', node: 'w-1', owner: { kind: 'Node', name: 'w-1' }, mirror: true });
      await bed().addPod({ name: 'web-1', node: 'w-1' });
      await bed().addPod({ name: 'web-2', node: 'w-1' });
      const told: DrainProgress[] = [];
      expect(await cluster.drain('w-1', OPTIONS, (progress) => told.push(progress), never)).toEqual({ evicted: 2 });
      expect(await bed().podsOn('w-1')).toEqual(['agent-1', 'static-w-1']);
      expect(told[0]).toMatchObject({ podsLeft: 2, podsAtStart: 2 });
      expect(told.at(-1)).toEqual({ podsLeft: 0, podsAtStart: 2 });
      expect((await bed().readNode('w-1')).unschedulable).toBe(true);
    });

    test('of an empty node is done at once', async () => {
      const cluster = await cordoned();
      expect(await cluster.drain('w-1', OPTIONS, ignore, never)).toEqual({ evicted: 0 });
    });

    test('tells the pod and the budget that it waits for, and goes on when the budget allows it', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addBudget(budget());
      let latest: DrainProgress | undefined;
      const drain = cluster.drain('w-1', OPTIONS, (progress) => (latest = progress), never);
      await eventually(() =>
        expect(latest).toMatchObject({ waitingFor: 'shop/db-1', because: 'budget shop/db allows 0' }),
      );
      await bed().allowDisruptions('shop', 'db', 1);
      expect(await drain).toEqual({ evicted: 1 });
    });

    test('tells a pod that takes long to end', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'web-1', node: 'w-1', slow: true });
      let latest: DrainProgress | undefined;
      const drain = cluster.drain('w-1', OPTIONS, (progress) => (latest = progress), never);
      await eventually(() => expect(latest?.because).toMatch(/^terminating since \d+s$/));
      expect(latest?.waitingFor).toBe('shop/web-1');
      await bed().endPod('shop', 'web-1');
      expect(await drain).toEqual({ evicted: 1 });
    });

    test('whose time is up names what it waited for; the node stays cordoned', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addBudget(budget());
      const error = await failure(cluster.drain('w-1', { ...OPTIONS, timeoutMs: 2_000 }, ignore, never));
      expect(error).toMatchObject({ node: 'w-1', step: 'drain', exitCode: 3 });
      expect(error.message).toContain('within 2s');
      expect(error.reason).toContain('shop/db-1');
      expect(error.reason).toContain('budget shop/db');
      expect(error.next?.split('\n')).toEqual([
        'give it longer: --drain-timeout',
        'see: kubectl -n shop get poddisruptionbudget db',
      ]);
      expect(error.logTail.length).toBeGreaterThan(0);
      expect(await bed().podsOn('w-1')).toEqual(['db-1']);
      expect((await bed().readNode('w-1')).unschedulable).toBe(true);
    });

    test('that cannot succeed evicts nothing and says why', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'bare', node: 'w-1', owner: null });
      await bed().addPod({ name: 'web-1', node: 'w-1' });
      const error = await failure(cluster.drain('w-1', OPTIONS, ignore, never));
      expect(error).toMatchObject({ node: 'w-1', step: 'drain' });
      expect(error.reason).toContain('shop/bare');
      expect(error.next).toContain('--force');
      expect(await bed().podsOn('w-1')).toEqual(['bare', 'web-1']);
    });

    test('with the flags takes bare pods and emptyDir volumes too', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'bare', node: 'w-1', owner: null });
      await bed().addPod({ name: 'cache', node: 'w-1', emptyDir: true });
      const options = { ...OPTIONS, force: true, deleteEmptyDirData: true };
      expect(await cluster.drain('w-1', options, ignore, never)).toEqual({ evicted: 2 });
    });

    test('without eviction passes over budgets', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addBudget(budget());
      expect(await cluster.drain('w-1', { ...OPTIONS, disableEviction: true }, ignore, never)).toEqual({ evicted: 1 });
    });

    test('waits for a bare pod that is going by itself instead of refusing', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'bare', node: 'w-1', owner: null, slow: true });
      await bed().addPod({ name: 'web-1', node: 'w-1' });
      await bed().deletePod('shop', 'bare');
      let latest: DrainProgress | undefined;
      const drain = cluster.drain('w-1', OPTIONS, (progress) => (latest = progress), never);
      await eventually(() => expect(latest?.waitingFor).toBe('shop/bare'));
      await bed().endPod('shop', 'bare');
      expect(await drain).toEqual({ evicted: 2 });
    });

    test('that is aborted ends with the reason', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'db-1', node: 'w-1', labels: DB });
      await bed().addBudget(budget());
      const stopper = new AbortController();
      const stop = new KubeosError('stopped', 130);
      const drain = cluster.drain(
        'w-1',
        OPTIONS,
        (progress) => {
          if (progress.because !== undefined) stopper.abort(stop);
        },
        stopper.signal,
      );
      await expect(drain).rejects.toBe(stop);
    });

    test('of a node that somebody uncordoned is refused, since new pods would come', async () => {
      const cluster = await cordoned();
      await bed().addPod({ name: 'web-1', node: 'w-1' });
      await bed().changeNode('w-1', { unschedulable: false });
      expect((await failure(cluster.drain('w-1', OPTIONS, ignore, never))).step).toBe('drain');
      expect(await bed().podsOn('w-1')).toEqual(['web-1']);
      expect((await bed().readNode('w-1')).unschedulable).toBe(false);
    });
  });
}
