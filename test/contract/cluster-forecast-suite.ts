import { expect, test } from 'vitest';
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
  timeoutMs: 10_000,
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

/** What is forecast must be what happens: the verdicts are compared with what the drains then really do. */
export function describeForecastAgainstDrain({ bed, connect }: ClusterSetup): void {
  test('the forecast and the drain agree, workload by workload', async () => {
    const cluster = await connect();
    // All at once, each on a node and with labels of its own, since the waiting ones take their time.
    const happened = await Promise.all(
      CASES.map(async (given, at) => {
        const node = `w-${at}`;
        await prepare(bed(), given, at);
        await cluster.cordon(node, RECORD);
        const asked = { ...OPTIONS, ...given.options };
        const { obstacles } = (await cluster.forecastDrains([node], asked)).get(node)!;
        const drain = cluster.drain(node, asked, () => undefined, new AbortController().signal);
        const ends = await drain.then(
          () => 'done',
          (error: unknown) => (String(error).includes('within 10s') ? 'waits' : 'refused'),
        );
        return { what: given.what, forecast: obstacles.map(({ kind }) => kind), verdict: verdictOf(obstacles), ends };
      }),
    );
    expect(happened).toEqual(CASES.map(({ what, forecast, ends }) => ({ what, forecast, verdict: ends, ends })));
  });
}

function verdictOf(obstacles: readonly DrainObstacle[]): Case['ends'] {
  if (obstacles.length === 0) return 'done';
  return obstacles.some(({ verdict }) => verdict === 'certain') ? 'refused' : 'waits';
}

async function prepare(bed: ClusterBed, { pods, budgets = [] }: Case, at: number): Promise<void> {
  const own = (labels: Record<string, string> = {}): Record<string, string> =>
    Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, `${value}-${at}`]));
  await bed.addNode({ name: `w-${at}` });
  for (const given of budgets) {
    const budget = { ...BUDGET, ...given };
    await bed.addBudget({ ...budget, name: `${budget.name}-${at}`, matchLabels: own(budget.matchLabels) });
  }
  for (const { deleted, ...pod } of pods) {
    const name = `${pod.name}-${at}`;
    await bed.addPod({ ...pod, name, labels: own(pod.labels), node: `w-${at}` });
    if (deleted === true) await bed.deletePod('shop', name);
  }
}
