import * as z from 'zod';
import type { ClusterNode, FoundMarks, NodeRecord } from '../rollout/facts.ts';
import type { ClockOffset } from '../rollout/preflight-types.ts';
import type {
  Cluster,
  DrainForecast,
  DrainOptions,
  DrainProgress,
  HeldLock,
  LockRequest,
  LockState,
  MissingRight,
  OsResource,
} from '../rollout/ports.ts';
import { Absence } from './absence.ts';
import { Api } from './api.ts';
import { isNotFound } from './api-error.ts';
import { drainNode, type DrainTools } from './drain.ts';
import { forecastDrain, ownerKey } from './forecast.ts';
import { Kubectl } from './kubectl.ts';
import { LeaseStore, leaseSchema, lockState, processOf } from './lease.ts';
import { acquireLock, freeLock, type LockOptions } from './lock.ts';
import { greet, introduce, type Versions } from './login.ts';
import { leasePath, nodeName } from './names.ts';
import { nodeSchema, toClusterNode } from './node-facts.ts';
import { NodeMarks } from './node-marks.ts';
import { NodeWatch } from './node-watch.ts';
import { listOsResources } from './os-resources.ts';
import { fateOf } from './process-mark.ts';
import { KubectlProxy } from './proxy.ts';
import { findMissingRights } from './rights.ts';
import {
  DEFAULT_LOCK_NAMESPACE,
  DEFAULT_LOCK_SECONDS,
  DEFAULT_RETRY_FOR_MS,
  type ClusterSettings,
} from './settings.ts';
import { findDaemonSets, findPolicyVersion, listBudgets, listPods, type Pod } from './workloads.ts';

export type { ClusterSettings } from './settings.ts';

const placedPodSchema = z.object({ spec: z.object({ nodeName: z.string().optional() }) });

/** The first requests: the user is still there to mend what is wrong. */
const FIRST_RETRY_FOR_MS = 5_000;
/** Up to so many nodes are asked for their pods one by one; beyond, one list of all pods is cheaper. */
const FEW_NODES = 10;

/** A connected cluster; `disconnect` ends kubectl and removes what it left. */
export interface KubectlCluster extends Cluster {
  /** Versions as `kubectl version` prints them. */
  readonly server: { version: string };
  readonly kubectl: { version: string };
  /** The node that a pod runs on; undefined where there is no such pod. */
  nodeOfPod(namespace: string, name: string): Promise<string | undefined>;
  disconnect(): Promise<void>;
}

/**
 * Signs in to the cluster and keeps a kubectl proxy to it. The first call to the cluster keeps the terminal for login
 * plugins. Throws PreflightError where kubectl is missing, or it or the server is too old; ApiUnreachableError where the
 * API is away or refuses the login.
 */
export async function connectCluster(settings: ClusterSettings): Promise<KubectlCluster> {
  const kubectl = new Kubectl(settings);
  const login = await introduce(kubectl);
  const proxy = new KubectlProxy(kubectl);
  try {
    const { clock } = settings;
    const address = (): ReturnType<KubectlProxy['address']> => proxy.address();
    const absence = new Absence(clock, settings.notice ?? (() => undefined));
    const api = new Api({ address, clock, retryForMs: settings.retryForMs ?? DEFAULT_RETRY_FOR_MS, absence });
    const versions = await greet(api, kubectl, login, () => proxy.said);
    const policy = await findPolicyVersion(api, FIRST_RETRY_FOR_MS);
    const watch = new NodeWatch(api, address, clock);
    return new ProxiedCluster(settings, { api, kubectl, clock, policy }, versions, watch, proxy);
  } catch (error) {
    await proxy.close();
    throw error;
  }
}

class ProxiedCluster implements KubectlCluster {
  readonly server: { version: string };
  readonly kubectl: { version: string };
  private readonly tools: DrainTools;
  private readonly marks: NodeMarks;
  private readonly watch: NodeWatch;
  private readonly proxy: KubectlProxy;
  private readonly store: LeaseStore;
  private readonly lockOptions: LockOptions;
  /** The one that was taken through this connection last. */
  private lock: HeldLock | undefined;

  constructor(
    settings: ClusterSettings,
    tools: Omit<DrainTools, 'confirmStart'>,
    versions: Versions,
    watch: NodeWatch,
    proxy: KubectlProxy,
  ) {
    const confirm = async (): Promise<void> => this.lock?.confirm();
    this.server = { version: versions.server };
    this.kubectl = { version: versions.kubectl };
    this.tools = { ...tools, confirmStart: async (signal) => this.lock?.confirmStart(signal) };
    this.watch = watch;
    this.proxy = proxy;
    this.marks = new NodeMarks(tools.api, tools.clock, confirm);
    const namespace = settings.lockNamespace ?? DEFAULT_LOCK_NAMESPACE;
    const lockFlags = namespace === DEFAULT_LOCK_NAMESPACE ? [] : [`--lock-namespace=${namespace}`];
    const flags = [...tools.kubectl.globalFlags(), ...lockFlags];
    this.store = new LeaseStore(tools.api, namespace, flags.map((flag) => ` ${flag}`).join(''));
    const { lockSeconds: seconds = DEFAULT_LOCK_SECONDS, notice } = settings;
    this.lockOptions = { store: this.store, clock: tools.clock, seconds, ...(notice === undefined ? {} : { notice }) };
  }

  missingRights(
    purpose: 'read' | 'rollout',
    drain?: Pick<DrainOptions, 'disableEviction'>,
  ): Promise<readonly MissingRight[]> {
    return findMissingRights(this.tools.api, this.store.namespace, purpose, drain?.disableEviction === true);
  }

  clockOffset(): ClockOffset | undefined {
    return this.tools.api.clockOffset;
  }

  async nodes(signal?: AbortSignal): Promise<readonly ClusterNode[]> {
    const { items } = await this.tools.api.list({
      doing: 'read the nodes',
      path: '/api/v1/nodes',
      item: nodeSchema,
      ...(signal === undefined ? {} : { signal }),
    });
    return items.map(toClusterNode).sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  watchNodes(onChange: (nodes: ReadonlyMap<string, ClusterNode>) => void): () => void {
    return this.watch.add(onChange);
  }

  osResources(): Promise<readonly OsResource[]> {
    return listOsResources(this.tools.api);
  }

  async forecastDrains(nodes: readonly string[], options: DrainOptions): Promise<ReadonlyMap<string, DrainForecast>> {
    const { api, clock, policy } = this.tools;
    const [pods, budgets] = await Promise.all([
      this.podsOf(nodes, options.podSelector),
      options.disableEviction ? [] : listBudgets(api, policy, clock.now()),
    ]);
    const owned = pods.filter((pod) => pod.controller?.kind === 'DaemonSet');
    const daemonSets = await findDaemonSets(api, new Set(owned.map(ownerKey)));
    return new Map(
      nodes.map((node) => {
        const here = pods.filter((pod) => pod.node === node);
        return [node, forecastDrain({ pods: here, budgets, daemonSets }, options)];
      }),
    );
  }

  record(node: string, record: NodeRecord): Promise<FoundMarks> {
    return this.marks.record(node, record);
  }

  cordon(node: string, record: Omit<NodeRecord, 'cordon'>): Promise<NodeRecord> {
    return this.marks.cordon(node, record);
  }

  release(node: string, token: number): Promise<boolean> {
    return this.marks.release(node, token);
  }

  drain(
    node: string,
    options: DrainOptions,
    onProgress: (progress: DrainProgress) => void,
    signal: AbortSignal,
  ): Promise<{ evicted: number }> {
    return drainNode(this.tools, node, options, onProgress, signal);
  }

  async heartbeat(node: string): Promise<string | undefined> {
    const path = leasePath('kube-node-lease', nodeName(node));
    try {
      const lease = await this.tools.api.send({ doing: `read the heartbeat of ${node}`, path, answer: leaseSchema });
      // Not the resourceVersion: that changes by any hand, renewTime by the kubelet's alone.
      return lease.spec?.renewTime ?? undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async lockState(): Promise<LockState | undefined> {
    const lease = await this.store.read();
    if (lease === undefined) await this.store.requireNamespace();
    if (lease === undefined) return undefined;
    const state = lockState(lease, this.store.now());
    return state.held && fateOf(processOf(lease)) === 'dead' ? { ...state, dead: true } : state;
  }

  async acquireLock(request: LockRequest, signal: AbortSignal): Promise<HeldLock> {
    this.lock = await acquireLock(this.lockOptions, request, signal);
    return this.lock;
  }

  freeLock(seen: LockState, by: string, whileAlive: boolean): Promise<void> {
    return freeLock(this.store, seen, by, whileAlive);
  }

  async nodeOfPod(namespace: string, name: string): Promise<string | undefined> {
    const { items } = await this.tools.api.list({
      doing: `find the pod ${namespace}/${name}`,
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`,
      query: { fieldSelector: `metadata.name=${name}` },
      item: placedPodSchema,
    });
    return items[0]?.spec.nodeName;
  }

  async disconnect(): Promise<void> {
    this.watch.stop();
    await this.proxy.close();
  }

  private async podsOf(nodes: readonly string[], podSelector: string | undefined): Promise<readonly Pod[]> {
    const { api } = this.tools;
    const selector = podSelector === undefined ? {} : { podSelector };
    if (nodes.length > FEW_NODES) return listPods(api, selector);
    return (await Promise.all(nodes.map((node) => listPods(api, { node, ...selector })))).flat();
  }
}
