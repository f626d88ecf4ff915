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
  const counted = needs(core, budget, pods);
  if (typeof counted === 'string') return failed(core, budget, counted);
  const disrupted = stillDisrupted(budget, pods);
  const healthy = pods.filter(
    (pod) => isReady(pod) && pod.metadata.deletionTimestamp === undefined && !(pod.metadata.name in disrupted),
  ).length;
  const { expected, desired } = counted;
  const allowed = expected <= 0 ? 0 : Math.max(0, healthy - desired);
  return {
    ...condition(core, budget, allowed > 0, allowed > 0 ? 'SufficientPods' : 'InsufficientPods'),
    ...{ currentHealthy: healthy, desiredHealthy: desired, disruptionsAllowed: allowed, expectedPods: expected },
    observedGeneration: budget.metadata.generation ?? 1,
    ...(Object.keys(disrupted).length === 0 ? {} : { disruptedPods: disrupted }),
  };
}

/** Seen on v1.20.2 and v1.34.4: nothing is allowed then, and the budget as it is now never counts as observed. */
const failed = (core: Core, budget: KubeObject, why: string): JsonObject => ({
  ...{ currentHealthy: 0, desiredHealthy: 0, expectedPods: 0, ...budget.status },
  disruptionsAllowed: 0,
  ...condition(core, budget, false, 'SyncFailed', why),
});

/** Budgets have conditions since policy/v1. */
function condition(core: Core, budget: KubeObject, isAllowed: boolean, reason: string, message = ''): JsonObject {
  if (core.catalog.minor < 21) return {};
  const before = conditionOf(budget, 'DisruptionAllowed');
  const now = timestamp(core.clock.now());
  const made = changedCondition(before, 'DisruptionAllowed', isAllowed ? 'True' : 'False', now, { reason, message });
  return { conditions: [{ ...made, observedGeneration: budget.metadata.generation ?? 1 }] };
}

/** Pods that were evicted and whose deletion has not begun yet. */
function stillDisrupted(budget: KubeObject, pods: readonly KubeObject[]): JsonObject {
  const named = at(budget, 'status', 'disruptedPods');
  const living = new Set(
    pods.filter((pod) => pod.metadata.deletionTimestamp === undefined).map((pod) => pod.metadata.name),
  );
  return Object.fromEntries(Object.entries(isObject(named) ? named : {}).filter(([name]) => living.has(name)));
}

/** Only a plain minAvailable counts the pods that are there; else what their owners want, or why that is not known. */
function needs(
  core: Core,
  budget: KubeObject,
  pods: readonly KubeObject[],
): { expected: number; desired: number } | string {
  const minAvailable = budget.spec?.['minAvailable'];
  if (typeof minAvailable === 'number') return { expected: pods.length, desired: minAvailable };
  const maxUnavailable = budget.spec?.['maxUnavailable'];
  if (minAvailable === undefined && maxUnavailable === undefined) return { expected: pods.length, desired: 0 };
  const expected = wantedByOwners(core, pods);
  if (typeof expected === 'string') return expected;
  if (minAvailable !== undefined) return { expected, desired: share(minAvailable, expected) };
  return { expected, desired: Math.max(0, expected - share(maxUnavailable, expected)) };
}

/** A number, or a percentage rounded up, as the disruption controller does for both fields. */
function share(value: unknown, of: number): number {
  if (typeof value === 'number') return value;
  const percent = /^(\d+)%$/.exec(String(value))?.[1];
  return percent === undefined ? 0 : Math.ceil((Number(percent) * of) / 100);
}

/** How many pods their owners want; why not, where one of them has no scale, or (before 1.22) a pod no owner. */
function wantedByOwners(core: Core, pods: readonly KubeObject[]): number | string {
  const owners = new Map<string, KubeObject>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (owner === undefined) {
      if (core.catalog.minor < 22) return `found no controller ref for pod "${pod.metadata.name}"`;
      continue;
    }
    const kind = core.catalog.kinds.find((one) => one.kind === owner.kind);
    if (kind?.hasScale !== true) return `${owner.kind} does not implement the scale subresource`;
    const found = core.store.get(kind, pod.metadata.namespace ?? '', owner.name);
    if (found !== undefined) owners.set(found.metadata.uid, found);
  }
  return [...owners.values()].reduce((sum, owner) => sum + (numberAt(owner, 'spec', 'replicas') ?? 0), 0);
}
