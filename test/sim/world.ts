import type { KubeosError } from '../../src/errors.ts';
import type { ClusterNode, NodeAddress, NodeRecord, Slot } from '../../src/rollout/facts.ts';
import type { DrainOptions, OsResource } from '../../src/rollout/ports.ts';
import type { ImageNotSeen, ImageSeen } from '../../src/rollout/preflight-types.ts';
import { BYTES, digestOf, SimMachine, system, type SimSystem } from './machine.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface SimPod {
  name: string;
  /** Its budget allows no eviction. */
  blocked?: boolean;
  /** No controller would bring it back. */
  bare?: boolean;
}

export interface SimNode {
  uid: string;
  machine: SimMachine;
  labels: Record<string, string>;
  controlPlane: boolean;
  ready: boolean;
  cordoned: boolean;
  taints: string[];
  /** Who cordoned it. */
  cordonedBy?: 'a user' | 'a run';
  /** When a hand last uncordoned it. */
  uncordonedAt?: number;
  notReadyBecause: string;
  addresses: NodeAddress[];
  osImage: string;
  bootId: string;
  annotations: Record<string, string>;
  /** What our annotation says; undefined where it is missing or unreadable. */
  record: NodeRecord | undefined;
  /** A Lease that moves only when somebody says so, where it is not the machine's own kubelet that renews it. */
  lease?: { mark: string | undefined };
  pods: SimPod[];
}

export interface SimLease {
  holder: string;
  what: string;
  run: string;
  held: boolean;
  token: number;
  durationMs: number;
  acquiredAt: number;
  renewedAt: number;
  freedBy?: string;
}

export const NO_LEASE: SimLease = {
  holder: '',
  what: '',
  run: '',
  held: false,
  token: 0,
  durationMs: 60_000,
  acquiredAt: 0,
  renewedAt: 0,
};

export const ANNOTATION = 'kubeos.openeuler.org/rollout';

/** What goes wrong on a node, until it is taken away. */
export interface SimFaults {
  refusesSsh?: boolean;
  /** It shows another host key than the one that is known. */
  strangeHostKey?: boolean;
  corruptDownload?: boolean;
  writeFails?: boolean;
  commitFails?: boolean;
  /** No way leads from it to the image server. */
  noWayToImages?: boolean;
}

const CONTROL_PLANE = ['node-role.kubernetes.io/control-plane', 'node-role.kubernetes.io/master'];

function readRecord(text: string | undefined): NodeRecord | undefined {
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as Partial<NodeRecord>;
    return typeof record.token === 'number' && record.cordon !== undefined ? (record as NodeRecord) : undefined;
  } catch {
    return undefined;
  }
}

const NOT_READY_AFTER_MS = 40_000;
const ORDER_MS = 200;

/** A cluster of simulated machines. Whoever changes it does so here, and every change is held against what always holds. */
export class SimWorld {
  readonly clock = new VirtualClock();
  readonly nodes = new Map<string, SimNode>();
  /** Every machine that there is, whether the cluster has its node or not. */
  readonly machines = new Map<string, SimMachine>();
  readonly faults = new Map<string, SimFaults>();
  readonly watchers = new Set<() => void>();
  /** What the image server serves, by digest. */
  readonly images = new Map<string, SimSystem>();
  /** The digests that a container image's reference leads to, one pull after the other; the last stays. */
  readonly tags = new Map<string, string[]>();
  /** An image that behaves otherwise on one node than on the rest. */
  readonly behaviour = new Map<string, Partial<SimSystem>>();
  readonly broken: string[] = [];
  #registered = 0;
  readonly logs: { node: string; message: string }[] = [];
  /** Downloads that stand still, by address, until their promise is over. */
  readonly stands = new Map<string, Promise<void>>();
  /** What the image server answers to a look at the image. */
  imageServer: ImageSeen | ImageNotSeen = { sizeBytes: BYTES, ranges: true, content: 'ext4' };
  /** How far the API server's clock is ahead; undefined where it does not say. */
  apiAheadMs: number | undefined = 0;
  osResources: OsResource[] = [];
  lease: SimLease = { ...NO_LEASE };
  apiAway = false;
  /** The API server answers for all but the Lease: its reads and renewals are refused. */
  leaseRefused = false;
  /** Why the API server refuses to have this node's annotation written, though nobody changed the node. */
  readonly refusesRecord = new Map<string, KubeosError>();
  /** Set by a scenario: the budget that every cordon is held against. */
  budget = { maxUnavailable: Infinity, addressed: (): readonly string[] => [...this.nodes.keys()] };

  constructor(names: readonly string[] = ['worker-1', 'worker-2', 'worker-3'], running = system('KubeOS 1.0.0')) {
    for (const name of names) this.addNode(name, running);
    this.addImage(system('KubeOS 2.0.0'));
  }

  addNode(name: string, running: SimSystem): SimNode {
    const machine = new SimMachine(name, this.clock, running);
    this.machines.set(name, machine);
    this.faults.set(name, {});
    return this.#register(machine, running);
  }

  /** As `kubectl delete node`: the machine goes on, and its kubelet registers it again when it starts. */
  deleteNode(name: string): void {
    this.nodes.delete(name);
    this.changed();
  }

  /** The name of a deleted node is taken again, by its own machine or by another. */
  registerAgain(name: string): void {
    this.#register(this.machine(name), this.machine(name).running);
    this.changed();
  }

  /** What its kubelet registers: a Node that bears no marks. */
  #register(machine: SimMachine, running: SimSystem): SimNode {
    const { name } = machine;
    const node: SimNode = {
      uid: `uid-${name}-${++this.#registered}`,
      machine,
      labels: {},
      controlPlane: false,
      ready: true,
      cordoned: false,
      taints: [],
      notReadyBecause: 'NodeStatusUnknown',
      addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
      osImage: running.version,
      bootId: machine.bootId,
      annotations: {},
      get record() {
        return readRecord(this.annotations[ANNOTATION]);
      },
      set record(record) {
        const others = Object.entries(this.annotations).filter(([key]) => key !== ANNOTATION);
        this.annotations = Object.fromEntries(others);
        if (record !== undefined) this.annotations[ANNOTATION] = JSON.stringify(record);
      },
      pods: [{ name: `shop/${name}-a` }, { name: `shop/${name}-b` }],
    };
    machine.onKubelet = (event) => this.#onKubelet(machine, event);
    this.nodes.set(name, node);
    return node;
  }

  addImage(image: SimSystem): void {
    this.images.set(image.sha256, image);
  }

  node(name: string): SimNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  machine(name: string): SimMachine {
    const machine = this.machines.get(name);
    if (machine === undefined) throw new Error(`no machine ${name}`);
    return machine;
  }

  fault(name: string): SimFaults {
    return this.faults.get(name)!;
  }

  isDown = (name: string): boolean => !this.node(name).ready || this.node(name).cordoned;

  /** What the cluster's API shows. */
  shown(name: string): ClusterNode {
    const { uid, labels, controlPlane, ready, cordoned, osImage, bootId, record, addresses, ...node } = this.node(name);
    const unreadable = record === undefined && ANNOTATION in node.annotations;
    return {
      name,
      uid,
      addresses,
      labels,
      controlPlane: controlPlane || CONTROL_PLANE.some((label) => label in labels),
      ready,
      ...(ready ? {} : { notReadyBecause: node.notReadyBecause }),
      ...(!ready && node.notReadyBecause === 'NodeStatusUnknown' ? { kubeletSilent: true as const } : {}),
      cordoned,
      ...(node.taints.length === 0 ? {} : { taints: [...node.taints] }),
      osImage,
      kernelVersion: '5.10.0',
      architecture: 'amd64',
      bootId,
      ...(record === undefined ? {} : { record }),
      ...(unreadable ? { recordProblem: `the annotation ${ANNOTATION} is unreadable` } : {}),
      operatorUpgrading: 'upgrade.openeuler.org/upgrading' in labels,
    };
  }

  /** Something in the cluster changed: the watchers hear of it. */
  changed(): void {
    for (const tell of this.watchers) tell();
  }

  // ------------------------------------------------------------------------------------ what always holds

  #violated(what: string): void {
    this.broken.push(`${this.clock.now()}: ${what}`);
  }

  /** A run cordons a node: invariant 1. */
  cordonByRun(name: string): void {
    const node = this.node(name);
    const wasDown = this.isDown(name);
    node.cordoned = true;
    node.cordonedBy = 'a run';
    const down = this.budget.addressed().filter(this.isDown);
    if (!wasDown && down.length > this.budget.maxUnavailable) {
      this.#violated(`1: ${down.join(', ')} are unavailable, ${this.budget.maxUnavailable} may be`);
    }
    this.changed();
  }

  /** A run takes a cordon off: invariant 7. */
  uncordonByRun(name: string): void {
    const node = this.node(name);
    if (node.cordonedBy === 'a user') this.#violated(`7: the user's cordon was taken off ${name}`);
    node.cordoned = false;
    delete node.cordonedBy;
    this.schedulePods();
  }

  cordonByUser(name: string): void {
    const node = this.node(name);
    node.cordoned = true;
    node.cordonedBy = 'a user';
    this.changed();
  }

  uncordonByHand(name: string): void {
    const node = this.node(name);
    node.cordoned = false;
    node.uncordonedAt = this.clock.now();
    delete node.cordonedBy;
    this.schedulePods();
  }

  schedulePods(): void {
    for (const [name, node] of this.nodes) {
      if (!node.cordoned && node.pods.length === 0) node.pods = [{ name: `shop/${name}-again` }];
    }
    this.changed();
  }

  /** A slot's first byte changes: invariants 2 and 4. */
  writeBegins(machine: SimMachine, target: Slot): void {
    if (target === machine.active) this.#violated(`2: ${machine.name} writes its active slot ${target}`);
    if (machine.permanent !== machine.active)
      this.#violated(`4: ${machine.name} writes while ${machine.permanent} is permanent`);
    if (machine.env.next !== undefined)
      this.#violated(`4: ${machine.name} writes while slot ${machine.env.next} is armed`);
  }

  /** The boot environment changes: invariants 3 and 4. */
  setEnv(machine: SimMachine, saved: Slot, next: Slot | undefined): void {
    const { journal } = machine;
    if (saved !== machine.permanent) {
      const proven = journal?.phase === 'proven' && journal.provenBoot === machine.bootId && saved === machine.active;
      if (!proven) this.#violated(`4: slot ${saved} of ${machine.name} becomes permanent without proof`);
      else this.#checkHealthy(machine);
    }
    if (next !== undefined) {
      const slot = machine.slots[next];
      const version = slot.content?.version;
      if (!machine.recordHolds(next) && journal?.operation !== 'rollback') {
        this.#violated(`3: ${machine.name} is armed to slot ${next}, which was not read back`);
      }
      if (slot.dirty || version !== journal?.version) {
        this.#violated(
          `3: ${machine.name} is armed to ${version ?? 'nothing'}, not to ${journal?.version ?? 'nothing'}`,
        );
      }
    }
    const changed = saved !== machine.permanent;
    machine.env = next === undefined ? { saved } : { saved, next };
    if (changed) this.checkBootable(machine);
  }

  /** Success needs health: invariant 6. */
  #checkHealthy({ name, bootId, running }: SimMachine): void {
    const node = this.nodes.get(name);
    if (node === undefined) return;
    if (!node.ready || node.bootId !== bootId || node.osImage !== running.version) {
      this.#violated(`6: ${name} is committed, though its kubelet is not Ready on this boot`);
    }
  }

  /** A power cut now leaves a node that boots: invariant 4. */
  checkBootable(machine: SimMachine): void {
    const { content, dirty } = machine.slots[machine.permanent];
    if (content === undefined || dirty) this.#violated(`4: ${machine.name} would not boot slot ${machine.permanent}`);
  }

  /** A run reboots a node: invariant 5. */
  rebootByRun(machine: SimMachine): void {
    const node = this.nodes.get(machine.name);
    // Nobody sees what a hand does while the order is on its way.
    const justNow = node?.uncordonedAt !== undefined && this.clock.now() - node.uncordonedAt < ORDER_MS;
    if (node !== undefined && !justNow && (!node.cordoned || node.pods.length > 0)) {
      this.#violated(`5: ${machine.name} is rebooted with ${node.pods.length} pods, cordoned: ${node.cordoned}`);
    }
    machine.reset(1000);
  }

  /** A script of a run works on a node: invariant 8. */
  actedBy(name: string, token: number): void {
    if (token < this.machine(name).token) this.#violated(`8: a run with token ${token} changed ${name}`);
  }

  #onKubelet(machine: SimMachine, event: 'gone' | 'registered'): void {
    const { boots, name } = machine;
    if (event === 'gone') {
      this.clock.after(NOT_READY_AFTER_MS, () => {
        const gone = this.nodes.get(name);
        if (gone === undefined || machine.boots !== boots || machine.kubelet.registered) return;
        gone.ready = false;
        this.changed();
      });
      return;
    }
    const node = this.nodes.get(name) ?? this.#register(machine, machine.running);
    node.osImage = machine.running.version;
    node.bootId = machine.bootId;
    node.ready = machine.running.kubelet === 'ready';
    this.changed();
  }
}

export const DRAIN: DrainOptions = {
  timeoutMs: 600_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};

export const ARTIFACT = {
  url: 'https://10.0.0.5/update.img',
  sha256: digestOf('KubeOS 2.0.0'),
  flagSafe: false,
  cacert: 'ca.crt',
};
