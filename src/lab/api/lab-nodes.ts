import type { Core } from './core.ts';
import { changedCondition } from './kubelet.ts';
import { microTimestamp, textAt, timestamp, type Condition, type JsonObject, type KubeObject } from './objects.ts';
import { createObject } from './writes.ts';

/** A node to add; what is missing gets an ordinary value. */
export interface NewNode {
  name: string;
  addresses: readonly { type: string; address: string }[];
  labels?: Readonly<Record<string, string>>;
  osImage: string;
  kernelVersion: string;
  /** As the kubelet says it: `amd64`, `arm64`. */
  architecture: string;
  bootId: string;
  /** Gets the label and the taint of a control plane. */
  controlPlane?: boolean;
}

/** What a kubelet, or its absence, tells of a node. */
export interface NodeChange {
  ready?: boolean;
  /**
   * Why it is not ready: by default `NodeStatusUnknown`, a node that fell silent (condition Unknown); any other reason
   * is a kubelet that says so itself (condition False).
   */
  reason?: string;
  message?: string;
  osImage?: string;
  bootId?: string;
  kernelVersion?: string;
}

const ROLE = 'node-role.kubernetes.io/control-plane';

/** Adds a node that is Ready, with its Lease in kube-node-lease. */
export function addNode(core: Core, node: NewNode): KubeObject {
  const now = timestamp(core.clock.now());
  const amount = { cpu: '4', memory: '8Gi', pods: '110', 'ephemeral-storage': '20Gi' };
  const conditions = [
    ...kubeletConditions().map(([type, reason]) =>
      heard(changedCondition(undefined, type, 'False', now, { reason, message: reason }), now),
    ),
    readyCondition(undefined, { ready: true }, now),
  ];
  const labels = {
    'kubernetes.io/hostname': node.name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': node.architecture,
    ...(node.controlPlane === true ? { [ROLE]: '' } : {}),
    ...node.labels,
  };
  const made = createObject(
    core,
    { kind: core.catalog.byName('nodes'), namespace: '' },
    {
      metadata: { name: node.name, labels },
      spec: node.controlPlane === true ? { taints: [{ key: ROLE, effect: 'NoSchedule' }] } : {},
      status: {
        addresses: [...node.addresses.map((one) => ({ ...one })), { type: 'Hostname', address: node.name }],
        ...{ capacity: amount, allocatable: amount, conditions },
        daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
        nodeInfo: {
          ...{ machineID: node.name, systemUUID: node.name, bootID: node.bootId, kernelVersion: node.kernelVersion },
          ...{ osImage: node.osImage, containerRuntimeVersion: 'containerd://1.6.22', kubeProxyVersion: '' },
          ...{ kubeletVersion: core.catalog.gitVersion, operatingSystem: 'linux', architecture: node.architecture },
        },
      },
    },
  );
  heartbeat(core, node.name);
  return made;
}

/** Tells what changed on a node. Throws where there is no such node. */
export function setNode(core: Core, name: string, change: NodeChange): KubeObject {
  const nodes = core.catalog.byName('nodes');
  const node = core.store.get(nodes, '', name);
  if (node === undefined) throw new Error(`the lab has no node ${name}`);
  const now = timestamp(core.clock.now());
  const before = (node.status?.['nodeInfo'] ?? {}) as JsonObject;
  const nodeInfo = {
    ...before,
    ...(change.osImage === undefined ? {} : { osImage: change.osImage }),
    ...(change.bootId === undefined ? {} : { bootID: change.bootId }),
    ...(change.kernelVersion === undefined ? {} : { kernelVersion: change.kernelVersion }),
  };
  const conditions = ((node.status?.['conditions'] ?? []) as unknown as Condition[]).map((condition) => {
    if (change.ready === undefined) return condition;
    if (condition.type === 'Ready') return readyCondition(condition, change, now);
    const status = isSilent(change) ? 'Unknown' : 'False';
    const reason = isSilent(change) ? SILENT : (new Map(kubeletConditions()).get(condition.type) ?? '');
    return heard(changedCondition(condition, condition.type, status, now, { reason, message: reason }), now);
  });
  return core.store.replace(nodes, {
    ...node,
    status: { ...node.status, conditions: conditions as unknown as JsonObject[], nodeInfo },
  });
}

/** Renews the node's Lease, as its kubelet does every ten seconds; each renewTime is later than the last. */
export function heartbeat(core: Core, name: string): void {
  const leases = core.catalog.byName('leases');
  const lease = core.store.get(leases, LEASES, name);
  const last = Date.parse(textAt(lease, 'spec', 'renewTime'));
  const now = core.clock.now();
  const renewTime = microTimestamp(Number.isNaN(last) ? now : Math.max(now, last + 1));
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime };
  if (lease !== undefined) {
    core.store.replace(leases, { ...lease, spec });
    return;
  }
  const node = core.store.get(core.catalog.byName('nodes'), '', name);
  // Deleted by somebody: its kubelet goes on, unheard.
  if (node === undefined) return;
  const owner = { apiVersion: 'v1', kind: 'Node', name, uid: node.metadata.uid };
  createObject(core, { kind: leases, namespace: LEASES }, { metadata: { name, ownerReferences: [owner] }, spec });
}

/** Takes a node and its Lease away; its pods follow. */
export function removeNode(core: Core, name: string): void {
  core.store.remove(core.catalog.byName('nodes'), '', name);
  core.store.remove(core.catalog.byName('leases'), LEASES, name);
}

const LEASES = 'kube-node-lease';
const SILENT = 'NodeStatusUnknown';

const kubeletConditions = (): [string, string][] => [
  ['MemoryPressure', 'KubeletHasSufficientMemory'],
  ['DiskPressure', 'KubeletHasNoDiskPressure'],
  ['PIDPressure', 'KubeletHasSufficientPID'],
];

const isSilent = (change: NodeChange): boolean => change.ready === false && (change.reason ?? SILENT) === SILENT;

const heard = (condition: JsonObject, now: string): JsonObject => ({ ...condition, lastHeartbeatTime: now });

function readyCondition(before: Condition | undefined, change: NodeChange, now: string): JsonObject {
  if (change.ready === true) {
    const words = { reason: 'KubeletReady', message: 'kubelet is posting ready status' };
    return heard(changedCondition(before, 'Ready', 'True', now, words), now);
  }
  const reason = change.reason ?? SILENT;
  const silence = 'Kubelet stopped posting node status.';
  const message = change.message ?? (isSilent(change) ? silence : `the kubelet says ${reason}`);
  const status = isSilent(change) ? 'Unknown' : 'False';
  return heard(changedCondition(before, 'Ready', status, now, { reason, message }), now);
}
