import { setTimeout as sleep } from 'node:timers/promises';
import { POD_ANNOTATIONS } from '../../src/lab/api/index.ts';
import { ask, type Endpoint } from '../lab/api-client.ts';
import { microTime } from './cluster-manifests.ts';

/** What a node's system says of itself when it comes up. */
export interface BootedNode {
  name: string;
  address?: string;
  labels?: Record<string, string>;
  osImage: string;
  bootId: string;
  kernelVersion?: string;
  /** False: the kubelet says that it is not Ready. */
  ready?: boolean;
}

interface Pod {
  metadata: {
    namespace: string;
    name: string;
    uid: string;
    resourceVersion: string;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
    deletionGracePeriodSeconds?: number;
  };
  spec: { nodeName?: string; containers: { name: string; image: string }[] };
  status: { phase?: string; conditions?: Condition[] };
}

interface Condition {
  type: string;
  status: string;
}

interface RawNode {
  status: { conditions?: Condition[] };
}

const LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases';
const LOOK_MS = 150;
const BEAT_MS = 2_000;
/** From its binding to its being Ready, and from its deletion to its end, where no annotation says otherwise. */
const POD_MS = 100;

/**
 * Stand-ins for the kubelets of a real API server with controllers: they register nodes, renew their Leases, start the
 * pods bound to them and end those deleted. Pods say by the lab's annotations how they behave; a mirror pod never ends,
 * since its file is still there.
 */
export class Kubelets {
  readonly #api: Endpoint;
  readonly #beats = new Map<string, number>();
  readonly #nodes = new Map<string, BootedNode>();
  readonly #begun = new Set<string>();
  #stopped = false;
  readonly #loop: Promise<void>;

  constructor(api: Endpoint) {
    this.#api = api;
    this.#loop = this.#run();
  }

  /** The node's system is up: registered where it is new, reported, and alive from now on. */
  async boot(node: BootedNode): Promise<void> {
    const labels = { 'kubernetes.io/hostname': node.name, 'kubernetes.io/os': 'linux', ...node.labels };
    const made = { metadata: { name: node.name, labels } };
    this.#nodes.set(node.name, node);
    await this.#call('POST', '/api/v1/nodes', made, [201, 409]);
    await this.#report(node);
    await this.#beat(node.name);
  }

  /** The node's system is down, or its kubelet hangs: nothing is heard of it from now on. */
  lose(name: string): void {
    this.#beats.delete(name);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      // An API server that is away is asked again, as kubelets do.
      await this.#look().catch(() => undefined);
      await sleep(LOOK_MS);
    }
  }

  async #look(): Promise<void> {
    for (const [name, at] of this.#beats) {
      if (Date.now() - at < BEAT_MS) continue;
      await this.#beat(name);
      await this.#correct(name);
    }
    const list = await this.#call('GET', '/api/v1/pods?resourceVersion=0', undefined, [200]);
    for (const pod of (list as { items: Pod[] }).items) this.#see(pod);
  }

  #see(pod: Pod): void {
    const { metadata, spec, status } = pod;
    if (!this.#beats.has(spec.nodeName ?? '')) return;
    const after = (name: string): number => Number(metadata.annotations?.[name] ?? POD_MS);
    if (metadata.deletionTimestamp !== undefined) {
      if (metadata.annotations?.['kubernetes.io/config.mirror'] !== undefined) return;
      const graceMs = (metadata.deletionGracePeriodSeconds ?? 0) * 1000;
      this.#later(`end ${metadata.uid}`, Math.min(graceMs, after(POD_ANNOTATIONS.endMs)), () => this.#end(pod));
    } else if (status.phase === 'Pending') {
      this.#later(`start ${metadata.uid}`, after(POD_ANNOTATIONS.startMs), () => this.#start(pod));
    } else if (status.phase === 'Running' && isReady(pod) !== wantsReady(pod)) {
      // The pods of a node that is called Unknown are called not Ready; its kubelet knows better.
      this.#later(`ready ${metadata.uid} ${metadata.resourceVersion}`, 0, () => this.#start(pod));
    }
  }

  /** Once for each pod, unless it could not be done, or its node is lost by then. */
  #later(key: string, ms: number, act: () => Promise<unknown>): void {
    if (this.#begun.has(key)) return;
    this.#begun.add(key);
    setTimeout(() => {
      if (!this.#stopped) void act().catch(() => this.#begun.delete(key));
    }, ms);
  }

  async #end({ metadata, spec }: Pod): Promise<void> {
    this.#mustLive(spec.nodeName);
    const body = { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } };
    await this.#call('DELETE', pathOf(metadata), body, [200, 404, 409]);
  }

  async #start(pod: Pod): Promise<void> {
    const { metadata, spec } = pod;
    this.#mustLive(spec.nodeName);
    const body = { metadata: { uid: metadata.uid }, status: podStatus(metadata.uid, spec.containers, wantsReady(pod)) };
    await this.#call('PATCH', `${pathOf(metadata)}/status`, body, [200, 404, 409]);
  }

  #mustLive(node: string | undefined): void {
    if (!this.#beats.has(node ?? '')) throw new Error(`${node ?? 'no node'} is lost`);
  }

  #report(node: BootedNode): Promise<unknown> {
    return this.#call('PATCH', `/api/v1/nodes/${node.name}/status`, { status: nodeStatus(node) }, [200]);
  }

  /** A node that was called Unknown while the API server was away is reported anew: a beat alone says nothing. */
  async #correct(name: string): Promise<void> {
    const node = this.#nodes.get(name);
    const { status } = (await this.#call('GET', `/api/v1/nodes/${name}`, undefined, [200])) as RawNode;
    const ready = status.conditions?.find(({ type }) => type === 'Ready');
    if (node !== undefined && ready?.status === 'Unknown') await this.#report(node);
  }

  async #beat(name: string): Promise<void> {
    const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime: microTime(Date.now()) };
    const renewed = await ask(this.#api, 'PATCH', `${LEASES}/${name}`, { body: { spec }, type: MERGE });
    if (renewed.code === 404) await this.#call('POST', LEASES, { metadata: { name }, spec }, [201, 409]);
    this.#beats.set(name, Date.now());
  }

  async #call(method: string, path: string, body: unknown, fine: readonly number[]): Promise<unknown> {
    const type = method === 'PATCH' ? 'application/strategic-merge-patch+json' : 'application/json';
    const { code, text, json } = await ask(this.#api, method, path, { body, type });
    if (fine.includes(code)) return json;
    throw new Error(`kubelet: ${method} ${path}: HTTP ${code}: ${text.slice(0, 500)}`);
  }
}

const wantsReady = ({ metadata }: Pod): boolean => metadata.annotations?.[POD_ANNOTATIONS.ready] !== 'false';
const isReady = ({ status }: Pod): boolean =>
  status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true;
const MERGE = 'application/merge-patch+json';
const pathOf = ({ namespace, name }: Pod['metadata']): string => `/api/v1/namespaces/${namespace}/pods/${name}`;
const now = (): string => new Date().toISOString().replace(/\.\d+Z/, 'Z');

function nodeStatus(node: BootedNode): object {
  const ready = node.ready ?? true;
  const condition = (type: string, status: boolean, reason: string): object => ({
    ...{ type, status: status ? 'True' : 'False', reason, message: reason },
    ...{ lastHeartbeatTime: now(), lastTransitionTime: now() },
  });
  const capacity = { cpu: '8', memory: '32Gi', pods: '110', 'ephemeral-storage': '100Gi' };
  return {
    ...{ capacity, allocatable: capacity },
    addresses: [
      { type: 'InternalIP', address: node.address ?? '127.0.0.1' },
      { type: 'Hostname', address: node.name },
    ],
    conditions: [
      condition('MemoryPressure', false, 'KubeletHasSufficientMemory'),
      condition('DiskPressure', false, 'KubeletHasNoDiskPressure'),
      condition('PIDPressure', false, 'KubeletHasSufficientPID'),
      condition('Ready', ready, ready ? 'KubeletReady' : 'KubeletNotReady'),
    ],
    nodeInfo: {
      ...{ machineID: node.name, systemUUID: node.name, bootID: node.bootId, osImage: node.osImage },
      kernelVersion: node.kernelVersion ?? '5.10.0',
      containerRuntimeVersion: 'containerd://1.6.20',
      ...{ kubeletVersion: 'v1.30.0', kubeProxyVersion: '', operatingSystem: 'linux', architecture: 'amd64' },
    },
  };
}

function podStatus(uid: string, containers: Pod['spec']['containers'], isReady: boolean): object {
  const condition = (type: string, status: boolean): object => ({
    ...{ type, status: status ? 'True' : 'False', lastTransitionTime: now(), lastProbeTime: null },
  });
  return {
    ...{ phase: 'Running', startTime: now(), hostIP: '127.0.0.1', podIP: '10.244.0.1', podIPs: [{ ip: '10.244.0.1' }] },
    conditions: [
      ...[condition('Initialized', true), condition('Ready', isReady)],
      ...[condition('ContainersReady', isReady), condition('PodScheduled', true)],
    ],
    containerStatuses: containers.map(({ name, image }) => ({
      ...{ name, image, imageID: image, containerID: `containerd://${uid}`, ready: isReady, started: true },
      ...{ restartCount: 0, lastState: {}, state: { running: { startedAt: now() } } },
    })),
  };
}
