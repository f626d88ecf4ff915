import type { OsResource } from '../../src/rollout/ports.ts';
import type { BedBudget, BedLock, BedNode, BedNodeChange, BedNodeState, BedPod } from './cluster-bed.ts';

export interface Meta {
  name: string;
  namespace: string;
}

export const microTime = (ms: number): string => new Date(ms).toISOString().replace('Z', '000Z');
const time = (): string => new Date().toISOString().replace(/\.\d+Z/, 'Z');

export const names = (list: unknown): string[] =>
  ((list as { items: { metadata: Meta }[] | null }).items ?? []).map(({ metadata }) => metadata.name);

export const node = ({ name }: BedNode): object => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });

/** Of this machine's own, so that who tries to sign in there is refused at once. */
const NOBODY = '127.77.255.254';

export function nodeStatus(name: string, change: BedNodeChange & { address?: string }): object {
  const ready = change.ready ?? true;
  const condition = {
    type: 'Ready',
    status: ready ? 'True' : 'False',
    reason: ready ? 'KubeletReady' : 'KubeletNotReady',
    message: ready ? 'kubelet is posting ready status' : 'container runtime is down',
    lastHeartbeatTime: time(),
    lastTransitionTime: time(),
  };
  return {
    status: {
      addresses: [
        { type: 'InternalIP', address: change.address ?? NOBODY },
        { type: 'Hostname', address: name },
      ],
      conditions: [condition],
      nodeInfo: {
        machineID: name,
        systemUUID: name,
        bootID: `boot-of-${name}`,
        kernelVersion: '5.10.0',
        osImage: change.osImage ?? 'KubeOS 1.0.0',
        containerRuntimeVersion: 'containerd://1.6.20',
        kubeletVersion: 'v1.30.0',
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture: 'amd64',
      },
    },
  };
}

interface RawNode {
  metadata: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: { unschedulable?: boolean; taints?: { key: string }[] };
}

export function readNode(raw: unknown): BedNodeState {
  const { metadata, spec } = raw as RawNode;
  return {
    unschedulable: spec.unschedulable === true,
    labels: metadata.labels ?? {},
    annotations: metadata.annotations ?? {},
    taints: (spec.taints ?? []).map(({ key }) => key).filter((key) => !key.startsWith('node.kubernetes.io/')),
  };
}

export function pod(given: BedPod): object {
  const owner = given.owner === undefined ? { kind: 'ReplicaSet', name: 'web' } : given.owner;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: given.name,
      labels: given.labels ?? {},
      annotations: given.mirror === true ? { 'kubernetes.io/config.mirror': 'x' } : {},
      ...(given.finalizer === undefined ? {} : { finalizers: [given.finalizer] }),
      ...(owner === null
        ? {}
        : { ownerReferences: [{ apiVersion: 'apps/v1', ...owner, uid: `uid-of-${owner.name}`, controller: true }] }),
    },
    spec: {
      nodeName: given.node,
      // Without a grace period the API server removes the pod itself, so that no kubelet is needed.
      terminationGracePeriodSeconds: given.slow === true ? 600 : 0,
      containers: [{ name: 'c', image: 'example.org/c:1' }],
      ...(given.emptyDir === true ? { volumes: [{ name: 'data', emptyDir: {} }] } : {}),
    },
  };
}

export function podStatus(given: BedPod): object {
  const phase = given.phase ?? 'Running';
  const status = (given.ready ?? phase === 'Running') ? 'True' : 'False';
  const condition = { type: 'Ready', status, lastProbeTime: null, lastTransitionTime: time() };
  return { status: { phase, conditions: [condition] } };
}

export const daemonSet = (name: string): object => ({
  apiVersion: 'apps/v1',
  kind: 'DaemonSet',
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: 'c', image: 'example.org/c:1' }] },
    },
  },
});

export const budget = ({ name, matchLabels, desiredHealthy }: BedBudget, version: string): object => ({
  apiVersion: `policy/${version}`,
  kind: 'PodDisruptionBudget',
  metadata: { name },
  spec: { minAvailable: desiredHealthy, selector: { matchLabels } },
});

export const budgetStatus = (given: BedBudget): object => ({
  status: {
    observedGeneration: 1,
    disruptionsAllowed: given.disruptionsAllowed,
    currentHealthy: given.currentHealthy,
    desiredHealthy: given.desiredHealthy,
    expectedPods: given.expectedPods,
  },
});

export const osDefinition = (): object => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'os.upgrade.openeuler.org' },
  spec: {
    group: 'upgrade.openeuler.org',
    scope: 'Namespaced',
    names: { kind: 'OS', listKind: 'OSList', plural: 'os', singular: 'os' },
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
});

export const os = (name: string, { osversion, opstype }: OsResource): object => ({
  apiVersion: 'upgrade.openeuler.org/v1alpha1',
  kind: 'OS',
  metadata: { name },
  spec: { osversion, opstype },
});

interface RawLease {
  spec: { holderIdentity?: string; leaseTransitions?: number; leaseDurationSeconds?: number; renewTime?: string };
}

export function readLock(raw: unknown): BedLock {
  const { spec } = raw as RawLease;
  return {
    holder: spec.holderIdentity ?? '',
    token: spec.leaseTransitions ?? 0,
    durationSeconds: spec.leaseDurationSeconds ?? 0,
    renewedAt: Date.parse(spec.renewTime ?? ''),
  };
}

export const lock = (given: BedLock): object => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: {
    name: 'kubeos',
    annotations: {
      'kubeos.openeuler.org/run': `run-of-${given.holder}`,
      'kubeos.openeuler.org/process': '',
      'kubeos.openeuler.org/what': 'upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
    },
  },
  spec: {
    holderIdentity: given.holder,
    leaseTransitions: given.token,
    leaseDurationSeconds: given.durationSeconds,
    acquireTime: microTime(given.renewedAt),
    renewTime: microTime(given.renewedAt),
  },
});
