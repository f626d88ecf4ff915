import * as z from 'zod';
import type { ClusterNode, NodeRecord } from '../rollout/facts.ts';
import { STEPS } from '../rollout/steps.ts';
import { HIGHEST_TOKEN } from '../rollout/tokens.ts';

/** Our annotation: what a run is doing on the node, as JSON. */
export const RECORD_ANNOTATION = 'kubeos.openeuler.org/rollout';
/** KubeOS's operator marks a node that it works on with this label (upstream's LABEL_UPGRADING). */
const OPERATOR_LABEL = 'upgrade.openeuler.org/upgrading';
/** The second is the name that Kubernetes used before 1.20, and KubeOS's own operator still looks for. */
const CONTROL_PLANE_LABELS = ['node-role.kubernetes.io/control-plane', 'node-role.kubernetes.io/master'];

const texts = z
  .record(z.string(), z.string())
  .nullish()
  .transform((found) => found ?? {});

const condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
});

/** As much of a Node as decisions need; the rest of it is ignored. */
export const nodeSchema = z.object({
  metadata: z.object({
    name: z.string(),
    uid: z.string(),
    resourceVersion: z.string(),
    labels: texts,
    annotations: texts,
  }),
  spec: z
    .object({
      unschedulable: z.boolean().optional(),
      taints: z.array(z.object({ key: z.string(), value: z.string().optional(), effect: z.string() })).nullish(),
    })
    .default({}),
  status: z
    .object({
      addresses: z.array(z.object({ type: z.string(), address: z.string() })).nullish(),
      conditions: z.array(condition).nullish(),
      nodeInfo: z
        .object({
          osImage: z.string().default(''),
          kernelVersion: z.string().default(''),
          architecture: z.string().default(''),
          bootID: z.string().default(''),
        })
        .prefault({}),
    })
    .prefault({}),
});
export type ApiNode = z.infer<typeof nodeSchema>;

const recordSchema = z.object({
  run: z.string().min(1),
  token: z.int().min(0).max(HIGHEST_TOKEN),
  operation: z.enum(['upgrade', 'rollback']),
  version: z.string(),
  step: z.enum(STEPS),
  cordon: z.enum(['none', 'ours', 'found']),
});

/** What our annotation says: nothing, a record, or why it cannot be read (a person edited it). */
export function readRecord(node: ApiNode): { record?: NodeRecord; recordProblem?: string } {
  const text = node.metadata.annotations[RECORD_ANNOTATION];
  if (text === undefined) return {};
  try {
    return { record: recordSchema.parse(JSON.parse(text)) };
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error).replaceAll('\n', ' ') : 'it is no JSON';
    return { recordProblem: `annotation ${RECORD_ANNOTATION}: ${why}` };
  }
}

export const writeRecord = (record: NodeRecord): string =>
  JSON.stringify({
    run: record.run,
    token: record.token,
    operation: record.operation,
    version: record.version,
    step: record.step,
    cordon: record.cordon,
  } satisfies NodeRecord);

/** The node as the rollout sees it. */
export function toClusterNode(node: ApiNode): ClusterNode {
  const { labels } = node.metadata;
  const { nodeInfo } = node.status;
  const ready = node.status.conditions?.find((found) => found.type === 'Ready');
  return {
    name: node.metadata.name,
    uid: node.metadata.uid,
    addresses: node.status.addresses ?? [],
    labels,
    controlPlane: CONTROL_PLANE_LABELS.some((label) => label in labels),
    ready: ready?.status === 'True',
    ...(ready?.status === 'True' ? {} : { notReadyBecause: notReadyBecause(ready) }),
    ...(ready?.status === 'Unknown' ? { kubeletSilent: true as const } : {}),
    cordoned: node.spec.unschedulable === true,
    ...foreignTaints(node),
    osImage: nodeInfo.osImage,
    kernelVersion: nodeInfo.kernelVersion,
    architecture: nodeInfo.architecture,
    bootId: nodeInfo.bootID,
    ...readRecord(node),
    operatorUpgrading: OPERATOR_LABEL in labels,
  };
}

function foreignTaints({ spec }: ApiNode): Pick<ClusterNode, 'taints'> {
  const taints = (spec.taints ?? [])
    .filter(({ key, effect }) => effect !== 'PreferNoSchedule' && (key === OUT_OF_SERVICE || !OWN_TAINT.test(key)))
    .map(({ key, value = '', effect }) => `${key}${value === '' ? '' : `=${value}`}:${effect}`);
  return taints.length === 0 ? {} : { taints };
}

/** What controllers and cloud providers set as a node's conditions change, and kubeadm by its role. */
const OWN_TAINT = /^(?:[\w.-]+\.)?(?:kubernetes|k8s)\.io\//;
/** The one of Kubernetes' that a hand sets (KEP-2268). */
const OUT_OF_SERVICE = 'node.kubernetes.io/out-of-service';

function notReadyBecause(ready: z.infer<typeof condition> | undefined): string {
  if (ready === undefined) return 'the kubelet has not reported yet';
  const parts = [ready.reason, ready.message].filter((part) => part !== undefined && part !== '');
  return parts.length === 0 ? `condition Ready is ${ready.status}` : parts.join(': ');
}
