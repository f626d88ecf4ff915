import type { Core } from './core.ts';
import { deleteObject, deleteOptions } from './deletes.ts';
import { isObject, isReady, numberAt, textAt, timestamp, type Json, type KubeObject } from './objects.ts';
import { selectorMatcher } from './selectors.ts';
import { ApiError, badRequest, disruptionRefused, notFound, success, type StatusBody } from './status-errors.ts';

/**
 * Evicts a pod as POST …/pods/NAME/eviction does: 201 with a Status, or throws ApiError 429 where its budget allows no
 * disruption, 500 where it has several budgets. A real eviction takes its disruption from the budget's status at once,
 * so that the next one meets what is left.
 */
export function evict(core: Core, namespace: string, name: string, body: Json, query: URLSearchParams): StatusBody {
  const eviction = checkedEviction(core, name, body);
  const pods = core.catalog.byName('pods');
  const pod = core.store.get(pods, namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  const options = deleteOptions(query, isObject(eviction) ? eviction['deleteOptions'] : undefined);
  if (!isBeyondBudgets(pod)) {
    const budgets = budgetsOf(core, pod);
    if (budgets.length > 1) throw severalBudgets();
    const [budget] = budgets;
    if (budget !== undefined && !isLostAnyway(pod, budget)) takeDisruption(core, budget, pod, options.dryRun);
  }
  deleteObject(core, { kind: pods, namespace, name }, options);
  return success(201);
}

function checkedEviction(core: Core, name: string, body: Json): Json {
  const version = textAt(body, 'apiVersion');
  // Seen on v1.20.2: it knows only v1beta1. Newer servers read both.
  const known = core.catalog.minor < 22 ? ['', 'policy/v1beta1'] : ['', 'policy/v1', 'policy/v1beta1'];
  const kind = textAt(body, 'kind') || 'Eviction';
  if (kind !== 'Eviction' || !known.includes(version)) {
    throw badRequest(`no kind "${kind}" is registered for version "${version}" in scheme`);
  }
  if (textAt(body, 'metadata', 'name') !== name) {
    throw badRequest('name in URL does not match name in Eviction object');
  }
  return body;
}

/** Pods that are ending or do not run count in no budget. */
const isBeyondBudgets = (pod: KubeObject): boolean =>
  pod.metadata.deletionTimestamp !== undefined ||
  ['Pending', 'Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase'));

/** An unready pod may go while the budget's own need is met without it (IfHealthyBudget), or always (AlwaysAllow). */
function isLostAnyway(pod: KubeObject, budget: KubeObject): boolean {
  if (!isReady(pod) && textAt(budget, 'spec', 'unhealthyPodEvictionPolicy') === 'AlwaysAllow') return true;
  const desired = numberAt(budget, 'status', 'desiredHealthy') ?? 0;
  return !isReady(pod) && desired > 0 && (numberAt(budget, 'status', 'currentHealthy') ?? 0) >= desired;
}

const budgetsOf = (core: Core, pod: KubeObject): KubeObject[] =>
  core.store
    .list(core.catalog.byName('poddisruptionbudgets'), pod.metadata.namespace)
    .filter((budget) => selectorMatcher(budget.spec?.['selector'])(pod));

function takeDisruption(core: Core, budget: KubeObject, pod: KubeObject, dryRun: boolean): void {
  const status = budget.status ?? {};
  const allowed = numberAt(status, 'disruptionsAllowed') ?? 0;
  if (allowed <= 0) {
    const [needed, healthy] = [numberAt(status, 'desiredHealthy') ?? 0, numberAt(status, 'currentHealthy') ?? 0];
    throw disruptionRefused(budget.metadata.name, needed, healthy);
  }
  if (dryRun) return;
  const earlier = isObject(status['disruptedPods']) ? status['disruptedPods'] : {};
  const disruptedPods = { ...earlier, [pod.metadata.name]: timestamp(core.clock.now()) };
  const next = { ...status, disruptionsAllowed: allowed - 1, disruptedPods };
  core.store.replace(core.catalog.byName('poddisruptionbudgets'), { ...budget, status: next });
}

/** Seen on v1.34.4: a 500 without a reason. */
const severalBudgets = (): ApiError =>
  new ApiError(
    500,
    '',
    'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
  );
