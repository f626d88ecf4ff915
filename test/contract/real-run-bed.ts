import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { RECORD_ANNOTATION } from '../../src/cluster/node-facts.ts';
import { STEPS, type Step } from '../../src/rollout/steps.ts';
import { ask, watch, type Answer, type Endpoint, type Status, type WatchEvent } from '../lab/api-client.ts';
import { type LabBed, startBed } from '../lab/lab-bed.ts';
import { startRealApi, type RealApi } from './envtest.ts';
import { Kubelets } from './kubelets.ts';
import { followBoots } from './lab-boots.ts';
import * as workloads from './real-workloads.ts';

const LOCK = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kubeos';
const WORKERS = ['worker-1', 'worker-2', 'worker-3'];
/** More than a kubelet's beat, as in a real cluster, and little enough that a dead node is noticed in a test. */
const GRACE_SECONDS = 8;

/**
 * A real API server with its controllers and scheduler, whose nodes are machines of the lab: SSH leads to the lab, and
 * stand-ins for the kubelets tell the API server of every boot there.
 */
export interface RealRunBed {
  readonly lab: LabBed;
  /** The environment of kubeos: the lab's nodes, and the cluster as its least role sees it. */
  readonly env: Readonly<Record<string, string>>;
  node(name: string): Promise<NodeState>;
  /** Resolves once the annotation names this step, or one after it; rejects where it has not in some minutes. */
  untilStep(name: string, step: Step): Promise<void>;
  /** The step that the node's annotation names. */
  stepOf(name: string): string | undefined;
  /** Resolves once one of the node's pods was evicted, and another's eviction refused. */
  midDrain(name: string): Promise<void>;
  /** Its next trial comes up, but its kubelet is not heard of; returns the way to let it speak. */
  holdNextBoot(name: string): () => void;
  /** Stops the API server for so long. */
  away(ms: number): Promise<void>;
  /** What every change of a node showed since this was asked last. */
  peaks(): Peaks;
  /** How many evictions the API server answered with 429 since it was started. */
  refusedEvictions(): Promise<number>;
  /** Who holds the lock; '' for nobody. */
  lockHolder(): Promise<unknown>;
  /** Pods of the workloads with their budgets: name, node, and whether they are Ready. */
  pods(): Promise<readonly workloads.RunningPod[]>;
  stop(): Promise<void>;
}

export interface NodeState {
  osImage: string;
  bootId: string;
  ready: boolean;
  cordoned: boolean;
  annotated: boolean;
}

interface Peaks {
  /** The most nodes cordoned at once. */
  cordoned: number;
  /** The most nodes that were cordoned or not Ready when one more was cordoned, that one included. */
  unavailableAtCordon: number;
}

export async function startRealRun(assets: string): Promise<RealRunBed> {
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of undo.splice(0).reverse()) await one();
  };
  try {
    const lab = await startBed({ workers: WORKERS.length, sampleWorkload: false });
    undo.push(() => lab.stop());
    const api = await startRealApi(assets, { controllers: true, nodeGraceSeconds: GRACE_SECONDS });
    undo.push(() => api.close());
    const admin = { url: api.url, token: api.token('admin') };
    const kubelets = new Kubelets(admin);
    undo.push(() => kubelets.stop());
    const boots = followBoots(lab.lab, kubelets);
    undo.push(() => {
      boots.stop();
      return Promise.resolve();
    });
    await boots.allReported();
    await taintControlPlane(admin);
    const nodes = new NodeEvents(admin);
    undo.push(() => nodes.stop());
    const old = (await ask(admin, 'GET', '/apis/policy/v1')).code === 404;
    await workloads.deploy(admin, old ? 'v1beta1' : 'v1', WORKERS.length);
    const env = { ...lab.env, KUBECONFIG: await leastRole(api, lab) };
    const away = async (ms: number): Promise<void> => {
      await api.stopApi();
      await new Promise((resolve) => setTimeout(resolve, ms));
      await api.startApi();
    };
    return { ...handle(admin, nodes), holdNextBoot: (name) => boots.holdNext(name), away, lab, env, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

type Asking = Omit<RealRunBed, 'lab' | 'env' | 'holdNextBoot' | 'away' | 'stop'>;

function handle(admin: Endpoint, nodes: NodeEvents): Asking {
  const node = async (name: string): Promise<NodeState> => stateOf(await get(admin, `/api/v1/nodes/${name}`));
  const podsOn = async (name: string): Promise<number> =>
    (await workloads.running(admin)).filter((pod) => pod.node === name).length;
  const untilStep = (name: string, step: Step): Promise<void> =>
    patiently(
      () => STEPS.indexOf(nodes.stepOf(name) as Step) >= STEPS.indexOf(step),
      () => `${name} never came to ${step}, but to ${String(nodes.stepOf(name))}`,
    );
  const midDrain = async (name: string): Promise<void> => {
    await untilStep(name, 'drain');
    const [onIt, refused] = [await podsOn(name), await refusedEvictions(admin)];
    await patiently(
      async () => (await podsOn(name)) < onIt && (await refusedEvictions(admin)) > refused,
      () => `no drain of ${name} was seen that an eviction is refused in`,
    );
  };
  return {
    node,
    untilStep,
    midDrain,
    stepOf: (name) => nodes.stepOf(name),
    peaks: () => nodes.peaks(),
    refusedEvictions: () => refusedEvictions(admin),
    lockHolder: async () => (await get(admin, LOCK)).spec?.['holderIdentity'] ?? '',
    pods: () => workloads.running(admin),
  };
}

async function refusedEvictions(admin: Endpoint): Promise<number> {
  const { text } = await ask(admin, 'GET', '/metrics');
  const refused = text
    .split('\n')
    .filter((line) => line.startsWith('apiserver_request_total{') && line.includes('subresource="eviction"'))
    .filter((line) => line.includes('code="429"'));
  return refused.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Waits for a condition; rejects when four minutes have passed: machines that test are slow at times. */
async function patiently(condition: () => boolean | Promise<boolean>, otherwise: () => string): Promise<void> {
  const deadline = Date.now() + 240_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(otherwise());
    await pause();
  }
}

/** As kubeadm does, so that no ordinary pod is placed there. */
async function taintControlPlane(admin: Endpoint): Promise<void> {
  const spec = { taints: [{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }] };
  const { code } = await ask(admin, 'PATCH', '/api/v1/nodes/cp-1', { body: { spec }, type: MERGE });
  if (code !== 200) throw new Error(`the taint of cp-1: HTTP ${code}`);
}

const MERGE = 'application/merge-patch+json';

/** Binds the least role to its ServiceAccount, as examples/rbac.yaml says, and signs in as that. */
async function leastRole(api: RealApi, lab: LabBed): Promise<string> {
  const asAdmin = await api.kubeconfig('admin');
  const kubectl = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('kubectl', [`--kubeconfig=${asAdmin}`, ...args], { env: lab.env })).stdout;
  await kubectl('apply', '-f', 'examples/rbac.yaml');
  const token = await kubectl('create', 'token', 'kubeos', '-n', 'kube-system', '--duration=2h');
  const file = path.join(lab.folder, 'kubeconfig');
  const text = (await readFile(asAdmin, 'utf8')).replace(api.token('admin'), token.trim());
  await writeFile(file, text, { mode: 0o600 });
  return file;
}

/** Follows every change of the nodes in the API server's own order, and goes on when that was away. */
class NodeEvents {
  readonly #api: Endpoint;
  readonly #nodes = new Map<string, Status>();
  readonly #loop: Promise<void>;
  #peaks: Peaks = { cordoned: 0, unavailableAtCordon: 0 };
  #stopped = false;

  constructor(api: Endpoint) {
    this.#api = api;
    this.#loop = this.#run();
  }

  stepOf(name: string): string | undefined {
    const text = this.#nodes.get(name)?.metadata?.annotations?.[RECORD_ANNOTATION];
    return text === undefined ? undefined : (JSON.parse(text) as { step: string }).step;
  }

  peaks(): Peaks {
    const seen = this.#peaks;
    this.#peaks = { cordoned: 0, unavailableAtCordon: 0 };
    return seen;
  }

  stop(): Promise<void> {
    this.#stopped = true;
    return this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#follow().catch(() => undefined);
      await pause();
    }
  }

  async #follow(): Promise<void> {
    const list = await get(this.#api, '/api/v1/nodes');
    for (const object of list.items ?? []) this.#take({ type: 'MODIFIED', object });
    const version = list.metadata?.resourceVersion ?? '';
    const open = await watch(this.#api, `/api/v1/nodes?watch=1&resourceVersion=${version}`);
    const over = open.ended.then(() => true);
    while (!this.#stopped && !(await Promise.race([over, pause()]))) {
      for (const event of open.events.splice(0)) this.#take(event);
    }
    open.close();
  }

  #take({ object }: Pick<WatchEvent, 'type' | 'object'>): void {
    const name = object.metadata?.name ?? '';
    if (!WORKERS.includes(name)) return;
    const before = this.#nodes.get(name);
    this.#nodes.set(name, object);
    const all = [...this.#nodes.values()].map(stateOf);
    const count = (isSo: (node: NodeState) => boolean): number => all.filter(isSo).length;
    const peaks = this.#peaks;
    peaks.cordoned = Math.max(
      peaks.cordoned,
      count(({ cordoned }) => cordoned),
    );
    if (before === undefined || stateOf(before).cordoned || !stateOf(object).cordoned) return;
    peaks.unavailableAtCordon = Math.max(
      peaks.unavailableAtCordon,
      count(({ cordoned, ready }) => cordoned || !ready),
    );
  }
}

async function get(api: Endpoint, at: string): Promise<Status> {
  const { code, json, text }: Answer = await ask(api, 'GET', at);
  if (code !== 200) throw new Error(`GET ${at}: HTTP ${code}: ${text.slice(0, 300)}`);
  return json;
}

function stateOf({ metadata, spec, status }: Status): NodeState {
  const { nodeInfo, conditions } = status as {
    nodeInfo: { osImage: string; bootID: string };
    conditions?: { type: string; status: string }[];
  };
  return {
    osImage: nodeInfo.osImage,
    bootId: nodeInfo.bootID,
    ready: conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
    cordoned: spec?.['unschedulable'] === true,
    annotated: metadata?.annotations?.[RECORD_ANNOTATION] !== undefined,
  };
}

const pause = (): Promise<false> => new Promise((resolve) => setTimeout(() => resolve(false), 50));
