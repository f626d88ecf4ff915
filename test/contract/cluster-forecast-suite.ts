import { describe, expect, test } from 'vitest';
import type { DrainObstacle, DrainOptions } from '../../src/rollout/ports.ts';
import type { BedBudget, BedPod, ClusterBed } from './cluster-bed.ts';
import { RECORD, type ClusterSetup } from './cluster-suite.ts';

interface Case {
  what: string;
  pods: (Omit<BedPod, 'node'> & { deleted?: true })[];
  budgets?: Partial<BedBudget>[];
  options?: Partial<DrainOptions>;
  /** The kinds that are forecast; what the drain then does follows from their verdicts. */
  forecast: DrainObstacle['kind'][];
  ends: 'done' | 'refused' | 'waits';
}

const DB = { app: 'db' };
const OPTIONS: DrainOptions = {
  timeoutMs: 2_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};
const BUDGET: BedBudget = {
  name: 'db',
  matchLabels: DB,
  disruptionsAllowed: 0,
  currentHealthy: 3,
  desiredHealthy: 3,
  expectedPods: 4,
};
const orphan = { kind: 'DaemonSet', name: 'gone' };

const CASES: Case[] = [
  {
    what: 'a budget that allows one',
    pods: [{ name: 'a', labels: DB }],
    budgets: [{ disruptionsAllowed: 1 }],
    forecast: [],
    ends: 'done',
  },
  {
    what: 'a budget that allows none now',
    pods: [{ name: 'a', labels: DB }],
    budgets: [{}],
    forecast: ['budget-now'],
    ends: 'waits',
  },
  {
    what: 'two pods, one disruption left',
    pods: [
      { name: 'a', labels: DB },
      { name: 'b', labels: DB },
    ],
    budgets: [{ disruptionsAllowed: 1, currentHealthy: 4 }],
    forecast: ['budget-now'],
    ends: 'waits',
  },
  {
    what: 'two budgets over one pod',
    pods: [{ name: 'a', labels: { ...DB, tier: 'x' } }],
    budgets: [{ disruptionsAllowed: 1 }, { name: 'tier', matchLabels: { tier: 'x' }, disruptionsAllowed: 1 }],
    forecast: ['budget-never'],
    ends: 'refused',
  },
  {
    what: 'a pod that is not Ready, beside enough healthy ones',
    pods: [{ name: 'a', labels: DB, ready: false }],
    budgets: [{}],
    forecast: [],
    ends: 'done',
  },
  {
    what: 'a pod that is not Ready, beside too few healthy ones',
    pods: [{ name: 'a', labels: DB, ready: false }],
    budgets: [{ currentHealthy: 2 }],
    forecast: ['budget-now'],
    ends: 'waits',
  },
  {
    what: 'a pending pod under a budget of none',
    pods: [{ name: 'a', labels: DB, phase: 'Pending' }],
    budgets: [{}],
    forecast: [],
    ends: 'done',
  },
  {
    what: 'a finished bare pod with an emptyDir under a budget of none',
    pods: [{ name: 'a', labels: DB, phase: 'Succeeded', owner: null, emptyDir: true }],
    budgets: [{}],
    forecast: [],
    ends: 'done',
  },
  {
    what: 'a pod that is being deleted, under a budget of none',
    pods: [{ name: 'a', labels: DB, slow: true, deleted: true }],
    budgets: [{}],
    forecast: ['terminating'],
    ends: 'waits',
  },
  {
    what: 'a pod held by a finalizer',
    pods: [{ name: 'a', finalizer: 'example.org/hold' }],
    forecast: ['finalizer'],
    ends: 'waits',
  },
  {
    what: 'a pod whose DaemonSet is gone',
    pods: [{ name: 'a', owner: orphan }],
    forecast: ['bare-pod'],
    ends: 'refused',
  },
  {
    what: 'a pod whose DaemonSet is gone, with --force',
    pods: [{ name: 'a', owner: orphan }],
    options: { force: true },
    forecast: [],
    ends: 'done',
  },
  {
    what: 'a finished pod whose DaemonSet is gone',
    pods: [{ name: 'a', owner: orphan, phase: 'Succeeded' }],
    forecast: [],
    ends: 'done',
  },
  { what: 'a bare pod', pods: [{ name: 'a', owner: null }], forecast: ['bare-pod'], ends: 'refused' },
  { what: 'an emptyDir', pods: [{ name: 'a', emptyDir: true }], forecast: ['empty-dir'], ends: 'refused' },
  {
    what: 'a bare pod with an emptyDir, with one flag only',
    pods: [{ name: 'a', owner: null, emptyDir: true }],
    options: { force: true },
    forecast: ['empty-dir'],
    ends: 'refused',
  },
];

/** What is forecast must be what happens: the verdicts are compared with what a drain then really does. */
export function describeForecastAgainstDrain({ bed, connect }: ClusterSetup): void {
  describe('the forecast and the drain agree on', () => {
    test.each(CASES)('$what', async ({ pods, budgets = [], options, forecast, ends }) => {
      await bed().addNode({ name: 'w-1' });
      for (const given of budgets) await bed().addBudget({ ...BUDGET, ...given });
      for (const pod of pods) await addPod(bed(), pod);
      const cluster = await connect();
      await cluster.cordon('w-1', RECORD);
      const asked = { ...OPTIONS, ...options };
      const obstacles = (await cluster.forecastDrains(['w-1'], asked)).get('w-1')!.obstacles;
      expect(obstacles.map(({ kind }) => kind)).toEqual(forecast);
      const drain = cluster.drain('w-1', asked, () => undefined, new AbortController().signal);
      const ended = await drain.then(
        () => 'done',
        (error: unknown) => (String(error).includes('within 2s') ? 'waits' : 'refused'),
      );
      expect(ended).toBe(ends);
      const verdicts = obstacles.map(({ verdict }) => verdict);
      expect(verdicts.includes('certain') ? 'refused' : verdicts.length > 0 ? 'waits' : 'done').toBe(ends);
    });
  });
}

async function addPod(bed: ClusterBed, { deleted, ...pod }: Case['pods'][number]): Promise<void> {
  await bed.addPod({ ...pod, node: 'w-1' });
  if (deleted === true) await bed.deletePod('shop', pod.name);
}
