import { ApiUnreachableError, KubeosError, LockLostError } from '../../src/errors.ts';
import { EXIT } from '../../src/exit-codes.ts';
import type { ClusterNode, FoundMarks, NodeRecord } from '../../src/rollout/facts.ts';
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
} from '../../src/rollout/ports.ts';
import type { ClockOffset } from '../../src/rollout/preflight-types.ts';
import { untilApiAnswers } from '../../src/rollout/patience.ts';
import type { SimClient } from './client.ts';
import { acquireLock, freeLock, type SimLock, stateOf } from './sim-lock.ts';
import { ANNOTATION, type SimNode, type SimPod, type SimWorld } from './world.ts';

const EVICTION_MS = 500;

/** The port `Cluster` over a simulated world, as strict as a real API server with our adapter before it. */
export class SimCluster implements Cluster {
  missing: readonly MissingRight[] = [];
  readonly #client: SimClient;
  readonly #world: SimWorld;
  readonly #lockMs: number;
  #lock: SimLock | undefined;

  constructor(client: SimClient, lockMs = 60_000) {
    this.#client = client;
    this.#world = client.world;
    this.#lockMs = lockMs;
  }

  async missingRights(): Promise<readonly MissingRight[]> {
    return this.#ask('missingRights', () => this.missing);
  }

  clockOffset(): ClockOffset | undefined {
    const { apiAheadMs } = this.#world;
    return apiAheadMs === undefined ? undefined : { atLeastMs: apiAheadMs - 500, atMostMs: apiAheadMs + 500 };
  }

  async nodes(): Promise<readonly ClusterNode[]> {
    return this.#ask('nodes', () => [...this.#world.nodes.keys()].sort().map((name) => this.#world.shown(name)));
  }

  watchNodes(onChange: (nodes: ReadonlyMap<string, ClusterNode>) => void): () => void {
    const tell = (): void => {
      if (this.#client.dead || this.#client.frozen || this.#world.apiAway) return;
      onChange(new Map([...this.#world.nodes.keys()].map((name) => [name, this.#world.shown(name)])));
    };
    this.#world.watchers.add(tell);
    this.#client.onThaw.push(tell);
    tell();
    return () => void this.#world.watchers.delete(tell);
  }

  async osResources(): Promise<readonly OsResource[]> {
    return this.#ask('osResources', () => this.#world.osResources);
  }

  async forecastDrains(names: readonly string[]): Promise<ReadonlyMap<string, DrainForecast>> {
    return this.#ask('forecast', () => {
      return new Map(names.map((name) => [name, forecastOf(this.#found(name).pods)]));
    });
  }

  async record(name: string, record: NodeRecord): Promise<FoundMarks> {
    return this.#ask(`record ${name} ${record.step}`, () => {
      const node = this.#mayChange(name);
      const refusal = this.#world.refusesRecord.get(name);
      if (refusal !== undefined) throw refusal;
      refuseOlder(node, record.token);
      const found = {
        uid: node.uid,
        cordoned: node.cordoned,
        ...(node.record === undefined ? {} : { record: node.record }),
      };
      node.record = record;
      this.#world.changed();
      return found;
    });
  }

  async cordon(name: string, record: Omit<NodeRecord, 'cordon'>): Promise<NodeRecord> {
    return this.#ask(`cordon ${name}`, () => {
      const node = this.#mayChange(name);
      refuseOlder(node, record.token);
      const ours = node.cordoned && node.record?.cordon === 'ours';
      const full: NodeRecord = { ...record, cordon: node.cordoned && !ours ? 'found' : 'ours' };
      node.record = full;
      if (!node.cordoned) this.#world.cordonByRun(name);
      else this.#world.changed();
      return full;
    });
  }

  async release(name: string, token: number): Promise<boolean> {
    return this.#ask(`release ${name}`, () => {
      if (!this.#world.nodes.has(name)) return true;
      const node = this.#mayChange(name);
      if (!(ANNOTATION in node.annotations)) return false;
      refuseOlder(node, token);
      const ours = node.record?.cordon === 'ours';
      node.record = undefined;
      if (ours && node.cordoned) this.#world.uncordonByRun(name);
      else this.#world.changed();
      return true;
    });
  }

  async drain(
    name: string,
    options: DrainOptions,
    onProgress: (progress: DrainProgress) => void,
    signal: AbortSignal,
  ): Promise<{ evicted: number }> {
    // As the real adapter, it waits for an API server that is away.
    const atStart = await untilApiAnswers(this.#client.clock, signal, () =>
      this.#ask(`drain ${name}`, () => this.#found(name).pods.length),
    );
    const end = options.timeoutMs === 0 ? Infinity : this.#world.clock.now() + options.timeoutMs;
    for (;;) {
      signal.throwIfAborted();
      const { pods } = this.#mayChange(name);
      const free = pods.findIndex((pod) => pod.blocked !== true);
      const waitingFor = pods[0]?.name;
      if (waitingFor === undefined) break;
      if (free !== -1) pods.splice(free, 1);
      const because = free === -1 ? { because: 'budget shop/db allows 0' } : {};
      onProgress({ podsLeft: pods.length, podsAtStart: atStart, waitingFor, ...because });
      if (this.#world.clock.now() >= end) {
        throw new KubeosError(`the drain waited for pod ${waitingFor}`, EXIT.incomplete, { step: 'drain', node: name });
      }
      await this.#client.clock.sleep(free === -1 ? 5000 : EVICTION_MS, signal);
    }
    await this.#client.breathe(`drained ${name}`);
    return { evicted: atStart };
  }

  async heartbeat(name: string): Promise<string | undefined> {
    return this.#ask(`heartbeat ${name}`, () => {
      const { lease, machine } = this.#found(name);
      return lease === undefined ? machine.heartbeat() : lease.mark;
    });
  }

  async lockState(): Promise<LockState | undefined> {
    return this.#ask('lockState', () =>
      this.#world.lease.token === 0 ? undefined : stateOf(this.#world.lease, this.#world.clock.now()),
    );
  }

  async acquireLock(request: LockRequest, signal: AbortSignal): Promise<HeldLock> {
    this.#lock = await acquireLock(this.#client, request, this.#lockMs, signal);
    return this.#lock;
  }

  async freeLock(seen: LockState, by: string, whileAlive: boolean): Promise<void> {
    return freeLock(this.#client, seen, by, whileAlive);
  }

  #found(name: string): SimNode {
    const node = this.#world.nodes.get(name);
    if (node === undefined) throw new KubeosError(`no node ${name}`, EXIT.incomplete);
    return node;
  }

  /** A run that knows its lock to be gone writes nothing more. */
  #mayChange(name: string): SimNode {
    if (this.#lock?.isGone() === true) throw new LockLostError('the lock is gone');
    return this.#found(name);
  }

  /** The request, what it does, and the answer: a run may die on either way. */
  async #ask<T>(doing: string, act: () => T): Promise<T> {
    await this.#client.breathe(doing);
    if (this.#world.apiAway) throw new ApiUnreachableError('the API server does not answer');
    const answer = act();
    await this.#client.breathe(`${doing}, answered`);
    return answer;
  }
}

const forecastOf = (pods: readonly SimPod[]): DrainForecast => ({
  pods: pods.length,
  obstacles: pods
    .filter(({ bare }) => bare)
    .map(({ name }) => ({
      kind: 'bare-pod',
      verdict: 'certain',
      pod: name,
      message: 'no controller would bring the pod back',
      remedy: 'delete it yourself, or let it be lost: --force',
    })),
});

function refuseOlder(node: SimNode, token: number): void {
  if (node.record === undefined && ANNOTATION in node.annotations) {
    throw new KubeosError(`the annotation ${ANNOTATION} is unreadable`, EXIT.incomplete);
  }
  if ((node.record?.token ?? 0) > token) throw new LockLostError('a newer run has this node');
}
