import { describe, expect, test } from 'vitest';
import { forecastDrain } from '../../../src/cluster/forecast.ts';
import type { Budget, Pod } from '../../../src/cluster/workloads.ts';
import type { DrainObstacle } from '../../../src/rollout/ports.ts';

const POD: Pod = {
  name: 'a',
  namespace: 'shop',
  uid: 'u',
  node: 'w-1',
  labels: { app: 'db' },
  controller: { kind: 'ReplicaSet', name: 'web' },
  mirror: false,
  finished: false,
  pending: false,
  ready: true,
  deleting: false,
  emptyDir: false,
  finalizers: [],
};
const BUDGET: Budget = {
  name: 'db',
  namespace: 'shop',
  selector: { matchLabels: { app: 'db' } },
  unhealthyAlwaysGo: false,
  observed: true,
  stuck: false,
  disruptionsAllowed: 0,
  currentHealthy: 3,
  desiredHealthy: 3,
  expectedPods: 4,
};
const BARE: Pod = { ...POD };
delete BARE.controller;
const daemon = { kind: 'DaemonSet', name: 'agent' };
const orphan = { kind: 'DaemonSet', name: 'gone' };
const FLAGS = { force: false, deleteEmptyDirData: false, disableEviction: false };
const never = { currentHealthy: 4, desiredHealthy: 4 };
const unready = { ready: false };

type Row = [
  what: string,
  pods: (Pod | Partial<Pod>)[],
  budgets: Partial<Budget>[],
  flags: Partial<typeof FLAGS>,
  obstacles: `${DrainObstacle['kind']} ${DrainObstacle['verdict']}`[],
  count: number,
];

const ROWS: Row[] = [
  ['an empty node', [], [{}], {}, [], 0],
  ['a replicated pod without a budget', [{}], [], {}, [], 1],
  ['a bare pod', [BARE], [], {}, ['bare-pod certain'], 1],
  ['a bare pod with --force', [BARE], [], { force: true }, [], 1],
  ['an emptyDir', [{ emptyDir: true }], [], {}, ['empty-dir certain'], 1],
  ['an emptyDir with its flag', [{ emptyDir: true }], [], { deleteEmptyDirData: true }, [], 1],
  ['a bare pod with an emptyDir', [{ ...BARE, emptyDir: true }], [], {}, ['bare-pod certain', 'empty-dir certain'], 1],
  ['a bare pod that is going', [{ ...BARE, deleting: true }], [], {}, ['bare-pod waits', 'terminating waits'], 1],
  ['a pod that is going', [{ deleting: true }], [], {}, ['terminating waits'], 1],
  ['a finished bare pod with an emptyDir', [{ ...BARE, finished: true, emptyDir: true }], [], {}, [], 0],
  ['a pod of a DaemonSet', [{ controller: daemon, emptyDir: true }], [{}], {}, [], 0],
  ['a pod of a DaemonSet that is gone', [{ controller: orphan }], [], {}, ['bare-pod certain'], 1],
  ['the same with --force', [{ controller: orphan }], [], { force: true }, [], 1],
  ['a finished pod of a DaemonSet', [{ controller: daemon, finished: true }], [], {}, [], 0],
  ['a static pod', [{ ...BARE, mirror: true, emptyDir: true }], [{}], {}, [], 0],
  ['a finalizer of a stranger', [{ finalizers: ['example.org/hold'] }], [], {}, ['finalizer waits'], 1],
  ['a finalizer of Kubernetes', [{ finalizers: ['batch.kubernetes.io/job-tracking'] }], [], {}, [], 1],
  ['a budget that allows one', [{}], [{ disruptionsAllowed: 1 }], {}, [], 1],
  ['a budget that allows none now', [{}], [{}], {}, ['budget-now waits'], 1],
  ['a budget that never allows one', [{}], [never], {}, ['budget-never certain'], 1],
  ['a budget that asks for more than there are', [{}], [{ desiredHealthy: 9 }], {}, ['budget-never certain'], 1],
  [
    'a strict budget with a surplus just now',
    [{}],
    [{ ...never, currentHealthy: 5, disruptionsAllowed: 1 }],
    {},
    [],
    1,
  ],
  ['budgets passed over', [{}], [never], { disableEviction: true }, [], 1],
  ['a budget of another namespace', [{}], [{ ...never, namespace: 'bank' }], {}, [], 1],
  ['a budget of other pods', [{}], [{ ...never, selector: { matchLabels: { app: 'x' } } }], {}, [], 1],
  ['a budget that selects everything', [{}], [{ selector: {} }], {}, ['budget-now waits'], 1],
  ['two budgets over one pod', [{}], [{ disruptionsAllowed: 1 }, { name: 'b' }], {}, ['budget-never certain'], 1],
  ['two budgets over a pending pod', [{ pending: true }], [{}, { name: 'b' }], {}, [], 1],
  ['two pods, one disruption left', [{}, { name: 'b' }], [{ disruptionsAllowed: 1 }], {}, ['budget-now waits'], 2],
  ['two pods, two disruptions left', [{}, { name: 'b' }], [{ disruptionsAllowed: 2 }], {}, [], 2],
  ['a pending pod under a budget', [{ pending: true }], [never], {}, [], 1],
  ['a finished pod under a budget', [{ finished: true }], [never], {}, [], 0],
  [
    'a going pod takes no disruption',
    [{ deleting: true }, {}],
    [{ disruptionsAllowed: 1 }],
    {},
    ['terminating waits'],
    2,
  ],
  ['an unready pod beside enough healthy ones', [unready], [{}], {}, [], 1],
  ['an unready pod beside too few', [unready], [{ currentHealthy: 2 }], {}, ['budget-now waits'], 1],
  ['an unready pod that may always go', [unready], [{ currentHealthy: 2, unhealthyAlwaysGo: true }], {}, [], 1],
  ['unready pods take no disruption', [unready, {}], [{ disruptionsAllowed: 1, currentHealthy: 4 }], {}, [], 2],
  [
    'an unready pod of a budget that needs none',
    [unready],
    [{ desiredHealthy: 0, currentHealthy: 0 }],
    {},
    ['budget-now waits'],
    1,
  ],
  ['a budget not worked out yet', [{}], [{ observed: false, expectedPods: 0 }], {}, ['budget-now waits'], 1],
  [
    'a budget that has not been worked out for long',
    [{}],
    [{ observed: false, stuck: true, expectedPods: 0 }],
    {},
    ['budget-never certain'],
    1,
  ],
  [
    'a bare pod under a budget that counts what controllers want',
    [BARE],
    [{ currentHealthy: 1, desiredHealthy: 0, expectedPods: 0 }],
    { force: true },
    ['budget-never certain'],
    1,
  ],
  [
    'a replicated pod that is not counted yet',
    [{}],
    [{ currentHealthy: 1, desiredHealthy: 0, expectedPods: 0 }],
    {},
    ['budget-now waits'],
    1,
  ],
  ['a budget that cannot be worked out', [{}], [{ syncFailed: 'no scale' }], {}, ['budget-never certain'], 1],
];

describe('what a drain meets', () => {
  test.each(ROWS)('%s', (_what, pods, budgets, flags, obstacles, count) => {
    const workload = {
      pods: pods.map((pod) => ('uid' in pod ? (pod as Pod) : { ...POD, ...pod })),
      budgets: budgets.map((budget) => ({ ...BUDGET, ...budget })),
      daemonSets: new Set(['shop/agent']),
    };
    const forecast = forecastDrain(workload, { ...FLAGS, ...flags });
    expect(forecast.obstacles.map(({ kind, verdict }) => `${kind} ${verdict}`)).toEqual(obstacles);
    expect(forecast.pods).toBe(count);
  });

  test('what is certain comes first, and every obstacle says how to get past it', () => {
    const pods = [POD, { ...BARE, name: 'bare' }, { ...POD, name: 'c', emptyDir: true }];
    const { obstacles } = forecastDrain({ pods, budgets: [BUDGET], daemonSets: new Set() }, FLAGS);
    expect(obstacles.map(({ verdict }) => verdict)).toEqual(['certain', 'certain', 'waits', 'waits', 'waits']);
    for (const { message, remedy, pod } of obstacles) {
      expect(pod).toMatch(/^shop\//);
      expect(message).not.toBe('');
      expect(remedy).toMatch(/--|kubectl/);
    }
  });

  test('a budget is told with its numbers', () => {
    const at = (budget: Partial<Budget>, pods = [POD]): string | undefined =>
      forecastDrain({ pods, budgets: [{ ...BUDGET, ...budget }], daemonSets: new Set() }, FLAGS).obstacles[0]?.message;
    expect(at({})).toBe('budget shop/db allows no eviction now: 3 of its 4 pods healthy, 3 needed');
    expect(at(never)).toBe('budget shop/db never allows an eviction: 4 of its 4 pods healthy, 4 needed');
    expect(at({ disruptionsAllowed: 1 }, [POD, { ...POD, name: 'b' }])).toBe(
      'budget shop/db allows 1 now, fewer than it has pods here: 3 of its 4 pods healthy, 3 needed',
    );
  });
});
