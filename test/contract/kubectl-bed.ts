import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectCluster, type ClusterSettings, type KubectlCluster } from '../../src/cluster/index.ts';
import type { OsResource } from '../../src/rollout/ports.ts';
import type { BedBudget, BedLock, BedNode, BedNodeChange, BedNodeState, BedPod, ClusterBed } from './cluster-bed.ts';
import * as manifests from './cluster-manifests.ts';

export const realClock = {
  now: () => Date.now(),
  sleep: (ms: number, signal?: AbortSignal) =>
    sleep(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      signal?.throwIfAborted();
      throw error;
    }),
};

const NAMESPACE = 'shop';
const LEASES = '/apis/coordination.k8s.io/v1/namespaces';
const LOCK = `${LEASES}/kube-system/leases/kubeos`;

export interface KubectlBedOptions {
  kubeconfig: string;
  stopApi?: () => Promise<void>;
  startApi?: () => Promise<void>;
  close?: () => Promise<void>;
}

/** A bed over any API server that kubectl reaches: its own hands go through a kubectl proxy of its own. */
export class KubectlBed implements ClusterBed {
  readonly kubeconfig: string;
  private readonly options: KubectlBedOptions;
  private readonly folder: string;
  private proxy: ChildProcess | undefined;
  policy = 'v1';
  stopApi?: () => Promise<void>;
  startApi?: () => Promise<void>;

  private constructor(options: KubectlBedOptions, folder: string) {
    this.kubeconfig = options.kubeconfig;
    this.options = options;
    this.folder = folder;
    if (options.stopApi !== undefined) this.stopApi = options.stopApi;
    if (options.startApi !== undefined) {
      const start = options.startApi;
      this.startApi = async () => {
        await start();
        await this.untilServed();
      };
    }
  }

  static async open(options: KubectlBedOptions): Promise<KubectlBed> {
    const bed = new KubectlBed(options, await mkdtemp(join(tmpdir(), 'bed-')));
    const args = [`--kubeconfig=${options.kubeconfig}`, 'proxy', `--unix-socket=${join(bed.folder, 's')}`];
    bed.proxy = spawn('kubectl', args, { stdio: 'ignore', env: bed.environment() });
    await bed.untilServed();
    const group = (await bed.call('GET', '/apis/policy')) as { versions: { version: string }[] };
    if (!group.versions.some(({ version }) => version === 'v1')) bed.policy = 'v1beta1';
    for (const name of [NAMESPACE, 'kube-node-lease', 'kube-system']) {
      await bed.call('POST', '/api/v1/namespaces', { metadata: { name } }, [409]);
    }
    return bed;
  }

  /** kubectl keeps its cache at home, or in the current folder where it has none. */
  private environment(): NodeJS.ProcessEnv {
    return { ...process.env, HOME: this.folder };
  }

  connect(options: Partial<ClusterSettings> = {}): Promise<KubectlCluster> {
    return connectCluster({
      kubectl: 'kubectl',
      kubeconfig: this.kubeconfig,
      environment: this.environment(),
      clock: realClock,
      ...options,
    });
  }

  async addNode(node: BedNode): Promise<void> {
    await this.call('POST', '/api/v1/nodes', manifests.node(node));
    await this.changeNode(node.name, node);
  }

  /** Many nodes, without any status. */
  async addPlainNodes(names: readonly string[]): Promise<void> {
    const left = [...names];
    const add = async (): Promise<void> => {
      for (let name = left.pop(); name !== undefined; name = left.pop()) {
        await this.call('POST', '/api/v1/nodes', manifests.node({ name }));
      }
    };
    await Promise.all(Array.from({ length: 16 }, add));
  }

  async changeNode(name: string, change: BedNodeChange): Promise<void> {
    const path = `/api/v1/nodes/${name}`;
    const { labels, annotations, unschedulable } = change;
    await this.patch(path, {
      metadata: { labels: labels ?? {}, annotations: annotations ?? {} },
      ...(unschedulable === undefined ? {} : { spec: { unschedulable: unschedulable || null } }),
    });
    if (change.ready !== undefined || change.osImage !== undefined || 'name' in change) {
      await this.patch(`${path}/status`, manifests.nodeStatus(name, change));
    }
  }

  async removeNode(name: string): Promise<void> {
    await this.call('DELETE', `/api/v1/nodes/${name}`);
  }

  async readNode(name: string): Promise<BedNodeState> {
    return manifests.readNode(await this.call('GET', `/api/v1/nodes/${name}`));
  }

  async addPod(pod: BedPod): Promise<void> {
    const namespace = pod.namespace ?? NAMESPACE;
    const path = `/api/v1/namespaces/${namespace}/pods`;
    await this.call('POST', path, manifests.pod(pod));
    await this.patch(`${path}/${pod.name}/status`, manifests.podStatus(pod));
  }

  async deletePod(namespace: string, name: string): Promise<void> {
    await this.call('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`);
  }

  async endPod(namespace: string, name: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    await this.patch(path, { metadata: { finalizers: null } }, [404]);
    await this.call('DELETE', `${path}?gracePeriodSeconds=0`, undefined, [404]);
  }

  async podsOn(node: string): Promise<readonly string[]> {
    const list = await this.call('GET', `/api/v1/pods?fieldSelector=spec.nodeName%3D${node}`);
    return manifests.names(list).sort();
  }

  async addDaemonSet(namespace: string, name: string): Promise<void> {
    await this.call('POST', `/apis/apps/v1/namespaces/${namespace}/daemonsets`, manifests.daemonSet(name));
  }

  async addBudget(budget: BedBudget): Promise<void> {
    const path = `/apis/policy/${this.policy}/namespaces/${budget.namespace ?? NAMESPACE}/poddisruptionbudgets`;
    await this.call('POST', path, manifests.budget(budget, this.policy));
    await this.patch(`${path}/${budget.name}/status`, manifests.budgetStatus(budget));
  }

  async allowDisruptions(namespace: string, name: string, disruptionsAllowed: number): Promise<void> {
    const path = `/apis/policy/${this.policy}/namespaces/${namespace}/poddisruptionbudgets/${name}/status`;
    await this.patch(path, { status: { disruptionsAllowed } });
  }

  async addOsResource(os: OsResource): Promise<void> {
    await this.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', manifests.osDefinition(), [409]);
    const [namespace = '', name = ''] = os.name.split('/');
    const path = `/apis/upgrade.openeuler.org/v1alpha1/namespaces/${namespace}/os`;
    const body = manifests.os(name, os);
    // A new kind is served a moment after its definition.
    for (let tries = 0; tries < 200; tries++) {
      if ((await this.call('POST', path, body, [404])) !== undefined) return;
      await sleep(50);
    }
    throw new Error('the kind os is not served');
  }

  async beat(node: string, renewedAt: number): Promise<void> {
    const renewTime = manifests.microTime(renewedAt * 1000);
    const path = `${LEASES}/kube-node-lease/leases`;
    const body = { metadata: { name: node }, spec: { holderIdentity: node, leaseDurationSeconds: 40, renewTime } };
    const made = await this.call('POST', path, body, [409]);
    if (made === undefined) await this.patch(`${path}/${node}`, body);
  }

  async readLock(): Promise<BedLock | undefined> {
    const lease = await this.call('GET', LOCK, undefined, [404]);
    return lease === undefined ? undefined : manifests.readLock(lease);
  }

  async writeLock(lock: BedLock): Promise<void> {
    const body = manifests.lock(lock);
    const made = await this.call('POST', LOCK.replace('/kubeos', ''), body, [409]);
    if (made === undefined) await this.patch(LOCK, body);
  }

  now(): Promise<number> {
    return Promise.resolve(Date.now());
  }

  async annotateLock(): Promise<void> {
    await this.patch(LOCK, { metadata: { annotations: { 'example.org/seen': 'yes' } } });
  }

  async deleteLock(): Promise<void> {
    await this.call('DELETE', LOCK, undefined, [404]);
  }

  async clear(): Promise<void> {
    const pods = (await this.call('GET', '/api/v1/pods')) as { items: { metadata: manifests.Meta }[] };
    for (const { metadata } of pods.items) await this.endPod(metadata.namespace, metadata.name);
    for (const path of [
      `/apis/policy/${this.policy}/namespaces/${NAMESPACE}/poddisruptionbudgets`,
      `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets`,
      '/api/v1/nodes',
      `${LEASES}/kube-node-lease/leases`,
    ]) {
      for (const name of manifests.names(await this.call('GET', path))) {
        await this.call('DELETE', `${path}/${name}`, undefined, [404]);
      }
    }
    await this.deleteLock();
  }

  async close(): Promise<void> {
    this.proxy?.kill('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
    await this.options.close?.();
  }

  /** One request of the bed's own; undefined for the statuses that are fine too. Any other refusal fails the test. */
  async call(method: string, path: string, body?: unknown, fine: readonly number[] = []): Promise<unknown> {
    const { status, text } = await this.exchange(method, path, body, 'application/json');
    return answerOf(method, path, status, text, fine);
  }

  async patch(path: string, body: unknown, fine: readonly number[] = []): Promise<unknown> {
    const { status, text } = await this.exchange('PATCH', path, body, 'application/merge-patch+json');
    return answerOf('PATCH', path, status, text, fine);
  }

  /** `batch/v1/jobs`, for each kind that is served in a group's version; none where that is not served. */
  async resources(groupVersion: string): Promise<readonly string[]> {
    const list = await this.call('GET', `/apis/${groupVersion}`, undefined, [404]);
    const { resources = [] } = (list ?? {}) as { resources?: { name: string }[] };
    return resources.map(({ name }) => `${groupVersion}/${name}`);
  }

  private async untilServed(): Promise<void> {
    for (let tries = 0; tries < 600; tries++) {
      const answer = await this.exchange('GET', '/readyz', undefined, '').catch(() => undefined);
      const list = await this.exchange('GET', '/api/v1/nodes?limit=1', undefined, '').catch(() => undefined);
      if ((answer?.status === 200 || answer?.status === 404) && list?.status === 200) return;
      await sleep(100);
    }
    throw new Error('the API server does not answer');
  }

  private exchange(
    method: string,
    path: string,
    body: unknown,
    type: string,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const data = body === undefined ? undefined : JSON.stringify(body);
      const headers = { host: 'localhost', ...(data === undefined ? {} : { 'content-type': type }) };
      const call = request({ socketPath: join(this.folder, 's'), method, path, headers }, (message) => {
        let text = '';
        message.setEncoding('utf8').on('data', (part: string) => (text += part));
        message.on('end', () => resolve({ status: message.statusCode ?? 0, text }));
        message.on('error', reject);
      });
      call.on('error', reject);
      call.end(data);
    });
  }
}

function answerOf(method: string, path: string, status: number, text: string, fine: readonly number[]): unknown {
  if (fine.includes(status)) return undefined;
  if (status >= 200 && status < 300) return JSON.parse(text);
  throw new Error(`${method} ${path}: HTTP ${status}: ${text.slice(0, 500)}`);
}
