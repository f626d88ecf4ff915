import type { DrainForecast, DrainObstacle, DrainOptions } from '../rollout/ports.ts';
import { selects } from './label-selector.ts';
import type { Budget, Pod } from './workloads.ts';

/** How the remedy of what a drain outwaits begins. */
export const WAITED_FOR = 'it is waited for (--drain-timeout)';

type Flags = Pick<DrainOptions, 'force' | 'deleteEmptyDirData' | 'disableEviction'>;

/** What a drain meets on one node. */
export interface NodeWorkload {
  /** The node's pods, as far as the drain's pod selector lets it see them. */
  pods: readonly Pod[];
  /** All budgets. */
  budgets: readonly Budget[];
  /** DaemonSets that exist, as namespace/name. */
  daemonSets: ReadonlySet<string>;
}

/**
 * What `kubectl drain --ignore-daemonsets` would meet on one node. The rules are those of kubectl's pod filters and of
 * the API server's eviction, seen with kubectl 1.32 and servers 1.20 and 1.34.
 */
export function forecastDrain(workload: NodeWorkload, flags: Flags): DrainForecast {
  const pods = workload.pods.filter((pod) => isDrained(pod, workload.daemonSets));
  const obstacles = pods.flatMap((pod) => [...refusals(pod, flags), ...lingering(pod)]);
  if (!flags.disableEviction) obstacles.push(...budgetObstacles(pods, workload.budgets));
  const rank = (found: DrainObstacle): number => (found.verdict === 'certain' ? 0 : 1);
  return {
    pods: pods.filter((pod) => !pod.finished).length,
    obstacles: obstacles.sort((one, other) => rank(one) - rank(other)),
  };
}

/** Whether a drain ends this pod: neither a static pod's mirror nor one that a DaemonSet would bring back at once. */
export function isDrained(pod: Pod, daemonSets: ReadonlySet<string>): boolean {
  if (pod.mirror) return false;
  return pod.controller?.kind !== 'DaemonSet' || pod.finished || !daemonSets.has(ownerKey(pod));
}

/** namespace/name of the pod's controller, as `daemonSets` names them. */
export const ownerKey = (pod: Pod): string => `${pod.namespace}/${pod.controller?.name ?? ''}`;

export const podKey = (pod: Pod): string => `${pod.namespace}/${pod.name}`;
const budgetKey = (budget: Budget): string => `${budget.namespace}/${budget.name}`;

/** kubectl refuses the whole drain, before it evicts anything, for a single such pod; a finished pod is let go. */
export function refusals(pod: Pod, flags: Flags): DrainObstacle[] {
  if (pod.finished) return [];
  const found: DrainObstacle[] = [];
  // A pod that is going already stands in the way only until it is gone: the drain waits for that before it begins.
  const verdict = pod.deleting ? 'waits' : 'certain';
  const orphan = pod.controller?.kind === 'DaemonSet';
  if (!flags.force && (pod.controller === undefined || orphan)) {
    found.push({
      kind: 'bare-pod',
      verdict,
      ...about(pod),
      message: orphan
        ? `its DaemonSet ${ownerKey(pod)} is gone: nothing would bring the pod back`
        : 'no controller would bring the pod back',
      remedy: `delete it yourself (kubectl -n ${pod.namespace} delete pod ${pod.name}), or let it be lost: --force`,
    });
  }
  if (!flags.deleteEmptyDirData && pod.emptyDir) {
    found.push({
      kind: 'empty-dir',
      verdict,
      ...about(pod),
      message: 'it keeps data in an emptyDir volume, which is lost with the pod',
      remedy: 'let that data be lost: --delete-emptydir-data',
    });
  }
  return found;
}

/** Finalizers that Kubernetes itself takes off soon after the pod has ended. */
const PASSING_FINALIZERS: ReadonlySet<string> = new Set([
  'batch.kubernetes.io/job-tracking',
  'foregroundDeletion',
  'orphan',
]);

/** A drain waits until the pod is gone, not only until its eviction was accepted. */
function lingering(pod: Pod): DrainObstacle[] {
  const held = pod.finalizers.filter((name) => !PASSING_FINALIZERS.has(name)).join(', ');
  if (pod.deleting) {
    return [
      {
        kind: 'terminating',
        verdict: 'waits',
        ...about(pod),
        message: `it is being deleted already${held === '' ? '' : `, and its finalizer ${held} holds it`}`,
        remedy: `${WAITED_FOR}; if it stays: kubectl -n ${pod.namespace} describe pod ${pod.name}`,
      },
    ];
  }
  if (held === '') return [];
  return [
    {
      kind: 'finalizer',
      verdict: 'waits',
      ...about(pod),
      message: `its finalizer ${held} keeps it until whoever set it takes it off`,
      remedy: `${WAITED_FOR}; see that the owner of ${held} is running`,
    },
  ];
}

function budgetObstacles(pods: readonly Pod[], budgets: readonly Budget[]): DrainObstacle[] {
  const used = new Map<Budget, number>();
  const guarded = pods.filter((pod) => !ignoresBudgets(pod)).map((pod) => ({ pod, by: budgetsOf(pod, budgets) }));
  return guarded.flatMap(({ pod, by }) => {
    const [budget, second] = by;
    if (budget === undefined) return [];
    if (second !== undefined) return [twoBudgets(pod, by)];
    if (goesUncounted(pod, budget)) return [];
    const soFar = used.get(budget) ?? 0;
    used.set(budget, soFar + 1);
    return soFar < budget.disruptionsAllowed ? [] : [blocked(pod, budget)];
  });
}

/** The eviction API looks at no budget for a pod that has ended, never started or is on its way out. */
const ignoresBudgets = (pod: Pod): boolean => pod.finished || pod.pending || pod.deleting;

/** The budgets that guard a pod. */
export const budgetsOf = (pod: Pod, budgets: readonly Budget[]): readonly Budget[] =>
  budgets.filter(
    (budget) =>
      budget.namespace === pod.namespace && budget.selector !== undefined && selects(budget.selector, pod.labels),
  );

/** A pod that is not Ready takes nothing from a budget that allows it, or that has enough healthy pods without it. */
const goesUncounted = (pod: Pod, budget: Budget): boolean =>
  !pod.ready &&
  (budget.unhealthyAlwaysGo || (budget.desiredHealthy > 0 && budget.currentHealthy >= budget.desiredHealthy));

function twoBudgets(pod: Pod, by: readonly Budget[]): DrainObstacle {
  const names = by.map(budgetKey).join(' and ');
  return {
    kind: 'budget-never',
    verdict: 'certain',
    ...about(pod),
    budget: by.map(budgetKey)[0] ?? '',
    message: `the budgets ${names} both guard it, and the API server evicts no such pod`,
    remedy: `make one of them select other pods, or pass over budgets: --disable-eviction`,
  };
}

function blocked(pod: Pod, budget: Budget): DrainObstacle {
  const never = isNever(budget, pod);
  const edit = `kubectl -n ${budget.namespace} edit poddisruptionbudget ${budget.name}`;
  return {
    kind: never ? 'budget-never' : 'budget-now',
    verdict: never ? 'certain' : 'waits',
    ...about(pod),
    budget: budgetKey(budget),
    message: whyBlocked(budget, pod),
    remedy: never
      ? `add replicas, or make the budget allow one (${edit}), or pass over budgets: --disable-eviction`
      : `${WAITED_FOR}; see: kubectl -n ${budget.namespace} get poddisruptionbudget ${budget.name}`,
  };
}

/** It will not allow an eviction by itself, however long one waits. */
function isNever(budget: Budget, pod: Pod): boolean {
  if (budget.syncFailed !== undefined || budget.stuck) return true;
  if (!budget.observed || budget.disruptionsAllowed > 0) return false;
  return isUncounted(budget, pod) || (budget.expectedPods > 0 && budget.desiredHealthy >= budget.expectedPods);
}

/** By maxUnavailable or a percentage a budget counts what controllers want: of pods without one it expects none. */
const isUncounted = (budget: Budget, pod: Pod): boolean => budget.expectedPods === 0 && pod.controller === undefined;

function whyBlocked(budget: Budget, pod: Pod): string {
  const name = `budget ${budgetKey(budget)}`;
  if (budget.syncFailed !== undefined) return `${name} cannot be worked out and allows nothing: ${budget.syncFailed}`;
  if (budget.stuck) return `${name} allows nothing: the disruption controller has not worked it out ${SINCE_LONG}`;
  if (!budget.observed) return `${name} is new, and what it allows is not worked out yet`;
  const { currentHealthy, desiredHealthy, expectedPods, disruptionsAllowed } = budget;
  const numbers = `${currentHealthy} of its ${expectedPods} pods healthy, ${desiredHealthy} needed`;
  if (isUncounted(budget, pod)) return `${name} counts only pods that a controller wants, and so never allows it`;
  if (isNever(budget, pod)) return `${name} never allows an eviction: ${numbers}`;
  if (disruptionsAllowed === 0) return `${name} allows no eviction now: ${numbers}`;
  return `${name} allows ${disruptionsAllowed} now, fewer than it has pods here: ${numbers}`;
}

/** The usual causes, since before 1.21 the controller tells them in events alone. */
const SINCE_LONG = 'for long (pods without a controller or a scale, or the controller-manager is not running)';

function about(pod: Pod): Pick<DrainObstacle, 'pod' | 'owner'> {
  const owner = pod.controller;
  return {
    pod: podKey(pod),
    ...(owner === undefined ? {} : { owner: `${owner.kind} ${pod.namespace}/${owner.name}` }),
  };
}
