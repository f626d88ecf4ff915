import type { Core } from './core.ts';
import { changedCondition } from './kubelet.ts';
import {
  at,
  conditionOf,
  controllerOf,
  isObject,
  isReady,
  numberAt,
  timestamp,
  type JsonObject,
  type KubeObject,
} from './objects.ts';
import { selectorMatcher } from './selectors.ts';

/** Keeps every PodDisruptionBudget's status, by the rules of the disruption controller. */
export function syncBudgets(core: Core): void {
  const budgets = core.catalog.byName('poddisruptionbudgets');
  for (const budget of core.store.list(budgets)) {
    core.store.replace(budgets, { ...budget, status: statusOf(core, budget) });
  }
}

function statusOf(core: Core, budget: KubeObject): JsonObject {
  const matches = selectorMatcher(budget.spec?.['selector']);
  const pods = core.store.list(core.catalog.byName('pods'), budget.metadata.namespace).filter(matches);
  const disrupted = stillDisrupted(budget, pods);
  const healthy = pods.filter(
    (pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined && !(pod.metadata.name in disrupted),
  ).length;
  const { expected, desired } = needs(core, budget, pods);
  const allowed = expected <= 0 ? 0 : Math.max(0, healthy - desired);
  const before = conditionOf(budget, 'DisruptionAllowed');
  const condition = changedCondition(
    before,
    'DisruptionAllowed',
    allowed > 0 ? 'True' : 'False',
    timestamp(core.clock.now()),
    { reason: allowed > 0 ? 'SufficientPods' : 'InsufficientPods', message: '' },
  );
  return {
    conditions: [{ ...condition, observedGeneration: budget.metadata.generation ?? 1 }],
    ...{ currentHealthy: healthy, desiredHealthy: desired, disruptionsAllowed: allowed, expectedPods: expected },
    observedGeneration: budget.metadata.generation ?? 1,
    ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }),
  };
}

/** Pods that were evicted and whose deletion has not begun yet. */
function stillDisrupted(budget: KubeObject, pods: readonly KubeObject[]): JsonObject {
  const named = at(budget, 'status', 'disruptedPods');
  const living = new Set(
    pods.filter((pod) => pod.metadata.deletionTimestamp === undefined).map((pod) => pod.metadata.name),
  );
  return Object.fromEntries(Object.entries(isObject(named) ? named : {}).filter(([name]) => living.has(name)));
}

/** Only a plain minAvailable counts the pods that are there; everything else counts what their owners want. */
function needs(core: Core, budget: KubeObject, pods: readonly KubeObject[]): { expected: number; desired: number } {
  const minAvailable = budget.spec?.['minAvailable'];
  if (typeof minAvailable === 'number') return { expected: pods.length, desired: minAvailable };
  const expected = wantedByOwners(core, pods);
  if (minAvailable !== undefined) return { expected, desired: share(minAvailable, expected) };
  const maxUnavailable = budget.spec?.['maxUnavailable'];
  if (maxUnavailable === undefined) return { expected: pods.length, desired: 0 };
  return { expected, desired: Math.max(0, expected - share(maxUnavailable, expected)) };
}

/** A number, or a percentage rounded up, as the disruption controller does for both fields. */
function share(value: unknown, of: number): number {
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(String(value))?.[1];
  return percent === undefined ? 0 : Math.ceil((Number(percent) * of) / 100);
}

function wantedByOwners(core: Core, pods: readonly KubeObject[]): number {
  const owners = new Map<string, KubeObject>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    const kind = core.catalog.kinds.find((one) => one.kind === owner?.kind);
    const found =
      owner === undefined || kind === undefined
        ? undefined
        : core.store.get(kind, pod.metadata.namespace ?? '', owner.name);
    if (found !== undefined) owners.set(found.metadata.uid, found);
  }
  return [...owners.values()].reduce((sum, owner) => sum + (numberAt(owner, 'spec', 'replicas') ?? 0), 0);
}
