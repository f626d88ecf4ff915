import type { LabGate } from '../gate.ts';
import { systemClock, type ApiClock } from './clock.ts';
import { Controllers } from './controllers.ts';
import { makeCore, type Core, type Deny } from './core.ts';
import { defineOs, followDefinitions } from './custom-kinds.ts';
import { catalogOf } from './kinds.ts';
import { kubeconfigOf } from './kubeconfig.ts';
import { addNode, heartbeat, removeNode, setNode, type NewNode, type NodeChange } from './lab-nodes.ts';
import {
  addBudget,
  addPod,
  addWorkload,
  ensureNamespace,
  removeNow,
  type NewBudget,
  type NewPod,
  type NewWorkload,
} from './lab-workloads.ts';
import type { KubeObject } from './objects.ts';
import { ApiServer } from './server.ts';
import { Store } from './store.ts';
import { Watches } from './watches.ts';

export type { ApiClock, Deny, KubeObject, NewBudget, NewNode, NewPod, NewWorkload, NodeChange };
export { POD_ANNOTATIONS } from './kubelet.ts';

export interface ApiOptions {
  host: string;
  /** Any free one by default. */
  port?: number;
  /** PEM text; `ca` goes into kubeconfigs. */
  tls: { key: string; cert: string; ca: string };
  /** Bearer token to user name. */
  tokens: ReadonlyMap<string, string>;
  /** Which server it plays, `v1.34.4` by default; 1.20 and newer differ as the real ones do. */
  version?: string;
  clock?: ApiClock;
  /** Who may not do what; everybody may do everything by default. */
  deny?: Deny;
  /** Where every request stops, watches excepted on their way out. */
  gate?: LabGate;
  /** False: a bare API server, without controllers, scheduler and kubelets. */
  controllers?: boolean;
  /** False: a cluster that does not know KubeOS's kind OS. */
  osResources?: boolean;
  /** Milliseconds from binding a pod to its being Ready, and from its deletion to its end. */
  podStartMs?: number;
  podEndMs?: number;
  /** How many changes a watch can look back at. */
  historyLimit?: number;
  /** Milliseconds between the bookmarks of a watch. */
  bookmarkMs?: number;
}

/** The lab's Kubernetes API, in this process. */
export interface LabApi {
  readonly url: string;
  readonly store: Store;
  /** A kubeconfig, as YAML text, for the user of this token. */
  kubeconfig(token: string): string;
  addNode(node: NewNode): KubeObject;
  setNode(name: string, change: NodeChange): KubeObject;
  removeNode(name: string): void;
  /** The kubelet's sign of life: renews the node's Lease. */
  heartbeat(name: string): void;
  addNamespace(name: string): void;
  addPod(pod: NewPod): KubeObject;
  addWorkload(workload: NewWorkload): KubeObject;
  addBudget(budget: NewBudget): KubeObject;
  /** One object by its plural (`pods`); the namespace is empty for nodes and namespaces. */
  get(plural: string, namespace: string, name: string): KubeObject | undefined;
  list(plural: string, namespace?: string): readonly KubeObject[];
  /** Takes an object out at once, whatever its grace period or finalizers. */
  removeNow(plural: string, namespace: string, name: string): boolean;
  /** Resolves once nothing more changes by itself; rejects when it takes longer. */
  settled(timeoutMs?: number): Promise<void>;
  /** How many watches are open. */
  readonly watchCount: number;
  /** Breaks all watches off, as a lost connection does. */
  cutWatches(): void;
  /** Ends all watches with 410 Gone and forgets the past. */
  expireWatches(): void;
  /** The API is away: every connection breaks, new ones are refused. What it knows stays. */
  pause(): Promise<void>;
  /** It answers again, under the same URL. */
  resume(): Promise<void>;
  stop(): Promise<void>;
}

const NAMESPACES = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

/** Starts the lab's Kubernetes API. Rejects where the port is taken or the certificate cannot be used. */
export async function startApi(options: ApiOptions): Promise<LabApi> {
  const clock = options.clock ?? systemClock;
  const core = makeCore({
    clock,
    catalog: catalogOf(options.version ?? 'v1.34.4'),
    store: new Store(clock, options.historyLimit ?? 2000),
    deny: options.deny ?? (() => false),
  });
  const watches = new Watches(core, options.bookmarkMs ?? 30_000);
  const { host, port = 0, tls, tokens } = options;
  const server = new ApiServer(core, watches, { host, port, tls, tokens, gate: options.gate });
  for (const name of NAMESPACES) ensureNamespace(core, name);
  const unfollow = followDefinitions(core);
  if (options.osResources !== false) defineOs(core);
  const timings = { startMs: options.podStartMs ?? 300, endMs: options.podEndMs ?? 300 };
  const controllers = options.controllers === false ? undefined : new Controllers(core, timings);
  await server.listen();
  return {
    ...helpers(core),
    store: core.store,
    get url() {
      return server.url;
    },
    kubeconfig: (token) => kubeconfigOf(server.url, tls.ca, token),
    settled: (timeoutMs = 20_000) => untilSettled(() => controllers?.settled ?? true, timeoutMs),
    get watchCount() {
      return watches.count;
    },
    cutWatches: () => watches.cut(),
    expireWatches: () => watches.expire(),
    pause: () => server.close(),
    resume: () => server.listen(),
    stop: async () => {
      unfollow();
      controllers?.stop();
      await server.close();
    },
  };
}

type Helpers = Pick<
  LabApi,
  | ('addNode' | 'setNode' | 'removeNode' | 'heartbeat' | 'addNamespace' | 'addPod' | 'addWorkload' | 'addBudget')
  | ('get' | 'list' | 'removeNow')
>;

const helpers = (core: Core): Helpers => ({
  addNode: (node) => addNode(core, node),
  setNode: (name, change) => setNode(core, name, change),
  removeNode: (name) => removeNode(core, name),
  heartbeat: (name) => heartbeat(core, name),
  addNamespace: (name) => ensureNamespace(core, name),
  addPod: (pod) => addPod(core, pod),
  addWorkload: (workload) => addWorkload(core, workload),
  addBudget: (budget) => addBudget(core, budget),
  get: (plural, namespace, name) => core.store.get(core.catalog.byName(plural), namespace, name),
  list: (plural, namespace) => core.store.list(core.catalog.byName(plural), namespace),
  removeNow: (plural, namespace, name) => removeNow(core, plural, namespace, name),
});

async function untilSettled(isSettled: () => boolean, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!isSettled()) {
    if (Date.now() > deadline) throw new Error(`the lab's pods did not settle within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
