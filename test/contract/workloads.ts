import { setTimeout as sleep } from 'node:timers/promises';
import type { DrainOptions } from '../../src/rollout/ports.ts';
import type { KubectlCluster } from '../../src/cluster/index.ts';
import { names, osDefinition } from './cluster-manifests.ts';
import { eventually, RECORD } from './cluster-suite.ts';
import type { KubectlBed } from './kubectl-bed.ts';
import type { WorkloadBed } from './workload-bed.ts';

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string } & Record<string, unknown>;
  spec?: unknown;
}

/** Where one workload of the table lives: a namespace, the node to be drained, and one that its pods may go to. */
export class Place {
  readonly bed: KubectlBed;
  readonly namespace: string;
  readonly node: string;
  readonly spare: string;
  private readonly policy: string;

  constructor(bed: KubectlBed, name: string, policy: string) {
    this.bed = bed;
    this.namespace = name;
    this.node = `w-${name}`;
    this.spare = `s-${name}`;
    this.policy = policy;
  }

  /** What keeps pods on the node that is drained, until the spare one gets the same label. */
  get here(): Record<string, string> {
    return { here: this.namespace };
  }

  /** What keeps pods on the spare node. */
  get there(): Record<string, string> {
    return { there: this.namespace };
  }

  path(apiVersion: string, plural: string, name = ''): string {
    const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    return `${group}/namespaces/${this.namespace}/${plural}${name === '' ? '' : `/${name}`}`;
  }

  /** Makes an object; a pod is refused (403, 500) until its namespace has a service account with its token. */
  async make(manifest: Manifest): Promise<{ metadata: { uid: string } }> {
    const apiVersion = manifest.kind === 'PodDisruptionBudget' ? `policy/${this.policy}` : manifest.apiVersion;
    const path = this.path(apiVersion, PLURALS[manifest.kind] ?? `${manifest.kind.toLowerCase()}s`);
    for (let tries = 0; tries < 400; tries++) {
      const made = await this.bed.call('POST', path, { ...manifest, apiVersion }, [403, 404, 500]);
      if (made !== undefined) return made as { metadata: { uid: string } };
      await sleep(50);
    }
    throw new Error(`${this.namespace}: no ${manifest.kind} can be made`);
  }

  async pods(): Promise<PodSeen[]> {
    return ((await this.bed.call('GET', this.path('v1', 'pods'))) as { items: PodSeen[] }).items;
  }

  /** Whoever owned the pods, they own themselves now. */
  async untilOrphaned(): Promise<void> {
    await eventually(async () => {
      if ((await this.pods()).some(({ metadata }) => metadata.ownerReferences !== undefined)) throw new Error('owned');
    }, 60_000);
  }

  /** `1 allowed, 2 healthy`; `failed`: it cannot be worked out; `new`, or `stuck` where it is new for long. */
  async budget(name: string): Promise<string> {
    const path = this.path(`policy/${this.policy}`, 'poddisruptionbudgets', name);
    const { metadata, status = {} } = (await this.bed.call('GET', path)) as BudgetSeen;
    if (status.conditions?.some(({ reason }) => reason === 'SyncFailed') === true) return 'failed';
    const { observedGeneration = 0, disruptionsAllowed = 0, currentHealthy = 0 } = status;
    if (observedGeneration >= metadata.generation) return `${disruptionsAllowed} allowed, ${currentHealthy} healthy`;
    return Date.now() - Date.parse(metadata.creationTimestamp) > STUCK_AFTER_MS ? 'stuck' : 'new';
  }
}

/** A little more than the forecast waits for the disruption controller. */
const STUCK_AFTER_MS = 32_000;
const PLURALS: Readonly<Record<string, string>> = { OS: 'os' };

interface PodSeen {
  metadata: { name: string; uid: string; ownerReferences?: object[] };
  spec: { nodeName?: string };
  status: { phase: string; conditions?: { type: string; status: string }[] };
}

interface BudgetSeen {
  metadata: { generation: number; creationTimestamp: string };
  status?: {
    observedGeneration?: number;
    disruptionsAllowed?: number;
    currentHealthy?: number;
    conditions?: { reason?: string }[];
  };
}

/** One row of the table. */
export interface Workload {
  what: string;
  /** Only where the server serves it: `batch/v1/jobs`. */
  needs?: string;
  /** The oldest minor version that knows it. */
  since?: number;
  set: (place: Place) => Promise<unknown>;
  /** How many pods are to be there, and of those run and be Ready, before the forecast is asked for. */
  pods: number;
  started?: number;
  ready?: number;
  /** How the budgets stand by then, as `Place.budget` tells; one of several where versions differ. */
  budgets?: Record<string, string | readonly string[]>;
  /** What happens to the pods once they run. */
  then?: (place: Place) => Promise<void>;
  /** Pods that are evicted have no other node to go to. */
  nowhereElse?: true;
  options?: Partial<DrainOptions>;
  /** How many pods it says will be evicted, and each obstacle's kind and verdict. */
  forecast: { pods: number; obstacles: readonly string[] };
  drain: DrainEnd;
  /** Pods that are on the node afterwards. */
  left?: number;
}

/**
 * `done`; `waits, then done`: at least one eviction was put off; `fails`: kubectl gives up by itself; `runs out of
 * time`: it would go on for ever.
 */
export type DrainEnd = 'done' | 'waits, then done' | 'fails' | 'runs out of time';

export interface Happened {
  forecast: Workload['forecast'];
  drain: DrainEnd;
  left: number;
}

const OPTIONS: DrainOptions = {
  timeoutMs: 240_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};
/** Enough for kubectl to be refused twice, since it asks again every 5 s, on a machine that is slow to start it too. */
const OUT_OF_TIME_MS = 20_000;
const KUBECTL_PAUSE_MS = 5_000;

/** Sets the workload up, asks for the forecast, drains, and tells both. */
export async function tryOut(
  bed: WorkloadBed,
  cluster: KubectlCluster,
  workload: Workload,
  name: string,
  policy: string,
): Promise<Happened> {
  const place = new Place(bed.kubectl, name, policy);
  await bed.kubectl.call('POST', '/api/v1/namespaces', { metadata: { name } });
  await bed.addNode(place.node, place.here);
  await bed.addNode(place.spare, place.there);
  await workload.set(place);
  await untilSettled(place, workload);
  await workload.then?.(place);
  if (workload.nowhereElse !== true) await bed.kubectl.changeNode(place.spare, { labels: place.here });
  const options = { ...OPTIONS, ...workload.options };
  if (workload.drain === 'runs out of time') options.timeoutMs = OUT_OF_TIME_MS;
  const { pods, obstacles } = (await cluster.forecastDrains([place.node], options)).get(place.node)!;
  await cluster.cordon(place.node, RECORD);
  const drain = await drainEnd(cluster, place, options, workload.drain === 'waits, then done');
  const left = await podsLeft(place, workload.left ?? 0);
  const forecast = { pods, obstacles: obstacles.map(({ kind, verdict }) => `${kind} ${verdict}`) };
  return { forecast, drain, left };
}

/** The pods on the drained node, as soon as they are as many as expected; a kubelet may need a moment to end one. */
async function podsLeft(place: Place, expected: number): Promise<number> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const { length } = (await place.pods()).filter(({ spec }) => spec.nodeName === place.node);
    if (length === expected || Date.now() > deadline) return length;
    await sleep(100);
  }
}

async function untilSettled(
  place: Place,
  { pods, started = pods, ready = started, budgets = {} }: Workload,
): Promise<void> {
  const isReady = ({ status }: PodSeen): boolean =>
    status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
  await eventually(async () => {
    const seen = await place.pods();
    const bound = seen.filter(({ spec }) => spec.nodeName !== undefined);
    const running = bound.filter(({ status }) => status.phase === 'Running');
    const count = [bound, running, running.filter(isReady)].map(({ length }) => length).join(', ');
    const wanted = [pods, started, ready].join(', ');
    if (count !== wanted)
      throw new Error(`${place.namespace}: ${count} pods bound, running, Ready instead of ${wanted}`);
    for (const [name, states] of Object.entries(budgets)) {
      const state = await place.budget(name);
      if (![states].flat().includes(state)) throw new Error(`${place.namespace}: budget ${name}: ${state}`);
    }
  }, 120_000);
}

async function drainEnd(
  cluster: KubectlCluster,
  place: Place,
  options: DrainOptions,
  waits: boolean,
): Promise<DrainEnd> {
  const began = Date.now();
  const drain = cluster.drain(place.node, options, () => undefined, new AbortController().signal);
  const error: unknown = await drain.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  const took = Date.now() - began;
  // A busy machine may be as slow without any refusal: only where one is expected, the time must show it.
  if (error === undefined) return waits && took >= KUBECTL_PAUSE_MS ? 'waits, then done' : 'done';
  return took < options.timeoutMs ? 'fails' : 'runs out of time';
}

/** The custom kind of which some pods' owners are. */
export async function defineCustomKind(bed: KubectlBed): Promise<void> {
  await bed.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', osDefinition(), [409]);
  await eventually(async () => names(await bed.call('GET', '/apis/upgrade.openeuler.org/v1alpha1/os')));
}
