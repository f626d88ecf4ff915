import * as z from 'zod';
import type { Api, Request } from './api.ts';
import { isNotFound } from './api-error.ts';
import { isEmptySelector, selectorSchema, type LabelSelector } from './label-selector.ts';
import { nodeName } from './names.ts';

const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((found) => found ?? {});

const podSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    labels,
    annotations: labels,
    deletionTimestamp: z.string().optional(),
    finalizers: z.array(z.string()).nullish(),
    ownerReferences: z
      .array(z.object({ kind: z.string(), name: z.string(), controller: z.boolean().optional() }))
      .nullish(),
  }),
  spec: z.object({
    nodeName: z.string().default(''),
    volumes: z.array(z.object({ name: z.string(), emptyDir: z.unknown().optional() })).nullish(),
  }),
  status: z
    .object({
      phase: z.string().default('Pending'),
      conditions: z.array(z.object({ type: z.string(), status: z.string() })).nullish(),
    })
    .default({ phase: 'Pending' }),
});

/** A pod as a drain sees it. */
export interface Pod {
  name: string;
  namespace: string;
  uid: string;
  node: string;
  labels: Readonly<Record<string, string>>;
  /** Its controller: the owner that would make it anew. */
  controller?: { kind: string; name: string };
  mirror: boolean;
  finished: boolean;
  pending: boolean;
  ready: boolean;
  deleting: boolean;
  emptyDir: boolean;
  finalizers: readonly string[];
}

const budgetSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    generation: z.number().default(0),
    creationTimestamp: z.string().default(''),
  }),
  spec: z.object({
    selector: selectorSchema.nullish(),
    unhealthyPodEvictionPolicy: z.string().optional(),
  }),
  status: z
    .object({
      observedGeneration: z.number().default(-1),
      disruptionsAllowed: z.number().default(0),
      currentHealthy: z.number().default(0),
      desiredHealthy: z.number().default(0),
      expectedPods: z.number().default(0),
      conditions: z
        .array(
          z.object({
            type: z.string(),
            status: z.string(),
            reason: z.string().optional(),
            message: z.string().optional(),
          }),
        )
        .nullish(),
    })
    .prefault({}),
});

/** A PodDisruptionBudget with its numbers, as the disruption controller last wrote them. */
export interface Budget {
  name: string;
  namespace: string;
  /** Missing: it selects no pod. */
  selector?: LabelSelector;
  /** unhealthyPodEvictionPolicy is AlwaysAllow: pods that are not Ready may always go. */
  unhealthyAlwaysGo: boolean;
  /** The controller has seen the budget as it is now. */
  observed: boolean;
  /** It never has, though the budget is there for long: it cannot work it out, and before 1.21 does not say so. */
  stuck: boolean;
  /** Why the controller cannot work the budget out (condition DisruptionAllowed, reason SyncFailed). */
  syncFailed?: string;
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  expectedPods: number;
}

/** How long a read may go on: until it is aborted, or instead of the usual time that failures are retried. */
export type Patience = Pick<Request<unknown>, 'signal' | 'retryForMs'>;

/** Pods on a node (or, without one, on all), as far as the label selector allows. */
export async function listPods(
  api: Api,
  where: { node?: string; podSelector?: string },
  patience: Patience = {},
): Promise<readonly Pod[]> {
  const { items } = await api.list({
    doing: where.node === undefined ? 'read the pods' : `read the pods of node ${where.node}`,
    path: '/api/v1/pods',
    query: {
      ...(where.node === undefined ? {} : { fieldSelector: `spec.nodeName=${nodeName(where.node)}` }),
      ...(where.podSelector === undefined ? {} : { labelSelector: where.podSelector }),
    },
    item: podSchema,
    ...patience,
  });
  return items.map(toPod);
}

/** All budgets, in the version of the policy API that the server has; `now` in milliseconds since 1970. */
export async function listBudgets(
  api: Api,
  version: PolicyVersion,
  now: number,
  patience: Patience = {},
): Promise<readonly Budget[]> {
  const { items } = await api.list({
    doing: 'read the PodDisruptionBudgets',
    path: `/apis/policy/${version}/poddisruptionbudgets`,
    item: budgetSchema,
    ...patience,
  });
  return items.map((item) => toBudget(item, version, now));
}

export type PolicyVersion = 'v1' | 'v1beta1';

const groupSchema = z.object({ versions: z.array(z.object({ version: z.string() })) });

/** policy/v1 came with 1.21, policy/v1beta1 went with 1.25. */
export async function findPolicyVersion(api: Api, retryForMs: number): Promise<PolicyVersion> {
  const group = await api.send({
    doing: 'ask for the version of the policy API',
    path: '/apis/policy',
    answer: groupSchema,
    retryForMs,
  });
  return group.versions.some((found) => found.version === 'v1') ? 'v1' : 'v1beta1';
}

/** Which of these DaemonSets (namespace/name) still exist. */
export async function findDaemonSets(
  api: Api,
  names: ReadonlySet<string>,
  patience: Patience = {},
): Promise<ReadonlySet<string>> {
  const found = await Promise.all(
    [...names].map(async (full) => {
      const [namespace = '', name = ''] = full.split('/');
      const path = `/apis/apps/v1/namespaces/${encodeURIComponent(namespace)}/daemonsets/${encodeURIComponent(name)}`;
      const request = { doing: `read the DaemonSet ${full}`, path, answer: z.unknown() };
      try {
        await api.send({ ...request, ...patience });
        return full;
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    }),
  );
  return new Set(found.filter((name) => name !== undefined));
}

/** The kubelet's own copy of a static pod carries this annotation. */
const MIRROR = 'kubernetes.io/config.mirror';

function toPod(item: z.infer<typeof podSchema>): Pod {
  const { metadata, spec, status } = item;
  const controller = metadata.ownerReferences?.find((owner) => owner.controller === true);
  return {
    name: metadata.name,
    namespace: metadata.namespace,
    uid: metadata.uid,
    node: spec.nodeName,
    labels: metadata.labels,
    ...(controller === undefined ? {} : { controller: { kind: controller.kind, name: controller.name } }),
    mirror: MIRROR in metadata.annotations,
    finished: status.phase === 'Succeeded' || status.phase === 'Failed',
    pending: status.phase === 'Pending',
    ready: status.conditions?.some((found) => found.type === 'Ready' && found.status === 'True') ?? false,
    deleting: metadata.deletionTimestamp !== undefined,
    emptyDir: spec.volumes?.some((volume) => volume.emptyDir !== undefined && volume.emptyDir !== null) ?? false,
    finalizers: metadata.finalizers ?? [],
  };
}

/** The disruption controller takes up a new budget within a second or two. */
const STUCK_AFTER_MS = 30_000;

function toBudget(item: z.infer<typeof budgetSchema>, version: PolicyVersion, now: number): Budget {
  const { metadata, spec, status } = item;
  const failed = status.conditions?.find(
    (found) => found.type === 'DisruptionAllowed' && found.reason === 'SyncFailed',
  );
  return {
    name: metadata.name,
    namespace: metadata.namespace,
    ...selectorOf(spec.selector, version),
    unhealthyAlwaysGo: spec.unhealthyPodEvictionPolicy === 'AlwaysAllow',
    observed: status.observedGeneration >= metadata.generation,
    // Only a budget that was never observed: one that was just edited is as old, and is taken up in a moment.
    stuck: status.observedGeneration <= 0 && now - Date.parse(metadata.creationTimestamp) > STUCK_AFTER_MS,
    ...(failed === undefined ? {} : { syncFailed: failed.message ?? 'the disruption controller cannot work it out' }),
    disruptionsAllowed: status.disruptionsAllowed,
    currentHealthy: status.currentHealthy,
    desiredHealthy: status.desiredHealthy,
    expectedPods: status.expectedPods,
  };
}

/** An empty selector selects nothing in policy/v1beta1 and everything in policy/v1; none at all selects nothing. */
function selectorOf(selector: LabelSelector | null | undefined, version: PolicyVersion): Pick<Budget, 'selector'> {
  if (selector === null || selector === undefined) return {};
  return version === 'v1beta1' && isEmptySelector(selector) ? {} : { selector };
}
