import {
  otherSlot,
  type NodeJournal,
  type NodeObservation,
  type Slot,
  type SlotFacts,
} from '../../src/rollout/facts.ts';
import type { PreflightFacts } from '../../src/rollout/preflight-types.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** A system as an image holds it, with how it behaves once it is booted. */
export interface SimSystem {
  version: string;
  sha256: string;
  /** `panic` resets and so falls back; `stuck` waits at GRUB for hands; `mute` boots without a network. */
  boots: 'well' | 'panic' | 'stuck' | 'mute';
  kubelet: 'ready' | 'not-ready' | 'dead';
}

export const system = (version: string, change: Partial<SimSystem> = {}): SimSystem => ({
  version,
  sha256: digestOf(version),
  boots: 'well',
  kubelet: 'ready',
  ...change,
});

/** 64 hex digits that depend on the text alone. */
export function digestOf(text: string): string {
  let hash = 7;
  for (const char of text) hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return hash.toString(16).padStart(8, '0').repeat(8);
}

export interface SimSlot {
  content?: SimSystem;
  dirty: boolean;
  /** The image that was streamed into it whole. */
  streamed?: string;
  /** Grows with every write: what uuid and write time are on a real disk. */
  stamp: number;
  record?: { version: string; sha256: string; verifiedAt: number; stamp: number };
}

/** A detached step: it goes on whatever becomes of the run that started it. */
export interface SimJob {
  step: 'stage' | 'write' | 'verify';
  mark: string;
  token: number;
  startedAt: number;
  ms: number;
  state: 'running' | 'done' | 'failed';
  error?: Error;
  cancel: () => void;
}

export interface Kubelet {
  registered: boolean;
  since: number;
  mark: string;
}

/** How big every image is. */
export const BYTES = 10 ** 9;

const BOOT_MS = 20_000;
const PANIC_MS = 8000;
const REGISTER_MS = 6000;
const HEARTBEAT_MS = 10_000;

/** One node's hardware, disk and GRUB: what a power cut leaves is what is in here. */
export class SimMachine {
  readonly name: string;
  readonly slots: Record<Slot, SimSlot>;
  env: { saved?: Slot; next?: Slot; problem?: string } = { saved: 'A' };
  active: Slot = 'A';
  power: 'up' | 'down' | 'stuck' = 'up';
  boots = 1;
  token = 0;
  journal: (NodeJournal & { provenBoot?: string }) | undefined;
  failed = new Set<string>();
  artifact: SimSystem | undefined;
  /** When its dead man's timer runs out. */
  deadManAt: number | undefined;
  job: SimJob | undefined;
  hasCurl = true;
  network = true;
  unsupported: NodeObservation['unsupported'];
  fallback: NonNullable<NodeObservation['fallback']> = { verdict: 'proven', because: 'GRUB has cleared next_entry' };
  managedBoot: NonNullable<NodeObservation['managedBoot']> = { state: 'no' };
  /** The trial that is armed goes by the managed boot. */
  trialIsManaged = false;
  architecture = 'x86_64';
  kernel = '5.10.0-60.oe2209.x86_64';
  freeBytes = 10 ** 10;
  slotBytes = 4 * 10 ** 9;
  /** What the node answers to a preflight request. */
  preflight: PreflightFacts = {
    clock: { atLeastMs: -500, atMostMs: 500 },
    persistReadOnly: false,
    freeInodes: 10 ** 6,
    partBytes: 0,
    tools: ['openssl', 'gzip', 'xz', 'zstd', 'tar', 'find', 'sort', 'xargs', 'comm', 'mkfs.ext4'],
    certificateProblems: [],
  };
  kubelet: Kubelet;
  /** Set by the world: the cluster's side of a boot. */
  onKubelet: (event: 'gone' | 'registered') => void = () => undefined;
  readonly #clock: VirtualClock;

  constructor(name: string, clock: VirtualClock, running: SimSystem) {
    this.name = name;
    this.#clock = clock;
    this.slots = { A: { content: running, dirty: false, stamp: 1 }, B: { dirty: false, stamp: 1 } };
    this.kubelet = { registered: true, since: clock.now(), mark: 'first' };
  }

  get bootId(): string {
    return `${this.name}-boot-${this.boots}`;
  }

  get running(): SimSystem {
    const { content } = this.slots[this.active];
    if (content === undefined) throw new Error(`${this.name} runs an empty slot`);
    return content;
  }

  get permanent(): Slot {
    return this.env.saved ?? 'A';
  }

  get onTrial(): boolean {
    const { journal, active, bootId } = this;
    if (journal?.target !== active || !['verified', 'armed', 'proven'].includes(journal.phase)) return false;
    return journal.armedBootId !== '' && journal.armedBootId !== bootId;
  }

  get answersSsh(): boolean {
    return this.power === 'up' && this.network && this.running.boots !== 'mute';
  }

  /** The mark of the kubelet's Lease: another one every ten seconds, as long as the kubelet lives. */
  heartbeat(): string {
    const { registered, since } = this.kubelet;
    if (registered && this.power === 'up' && this.running.kubelet !== 'dead') {
      this.kubelet.mark = `${this.bootId}/${Math.floor((this.#clock.now() - since) / HEARTBEAT_MS)}`;
    }
    return this.kubelet.mark;
  }

  /** Goes down in so many milliseconds and comes up again as GRUB decides. */
  reset(inMs = 0): void {
    this.#clock.after(inMs, () => {
      if (this.power === 'stuck') return;
      this.heartbeat();
      this.power = 'down';
      this.kubelet.registered = false;
      this.job?.cancel();
      this.job = undefined;
      this.onKubelet('gone');
      const boots = ++this.boots;
      this.deadManAt = undefined;
      this.#clock.after(BOOT_MS, () => this.#boot(boots));
    });
  }

  /** What GRUB would boot now, without taking next_entry. */
  nextBoot(): Slot {
    return this.env.next ?? this.permanent;
  }

  #boot(boots: number): void {
    if (boots !== this.boots || this.power !== 'down') return;
    const slot = this.nextBoot();
    const falls = this.trialIsManaged && this.env.next !== undefined;
    delete this.env.next;
    const { content, dirty } = this.slots[slot];
    if (content?.boots === 'stuck' && falls) {
      this.#clock.after(PANIC_MS, () => this.#boot(boots));
      return;
    }
    if (content === undefined || dirty || content.boots === 'stuck') {
      this.power = 'stuck';
      return;
    }
    if (content.boots === 'panic') {
      this.#clock.after(PANIC_MS, () => this.#boot(boots));
      return;
    }
    this.active = slot;
    this.power = 'up';
    this.#clock.after(REGISTER_MS, () => {
      if (boots !== this.boots || this.power !== 'up' || content.kubelet === 'dead' || content.boots === 'mute') return;
      this.kubelet = { registered: true, since: this.#clock.now(), mark: this.kubelet.mark };
      this.onKubelet('registered');
    });
  }

  recordHolds(slot: Slot): boolean {
    const { record, stamp } = this.slots[slot];
    return record !== undefined && record.stamp === stamp;
  }

  observe(withPreflight = false): NodeObservation {
    const facts = (slot: Slot): SlotFacts => this.#slotFacts(slot);
    const base = {
      bootId: this.bootId,
      osVersion: this.running.version,
      kernelVersion: this.kernel,
      architecture: this.architecture,
      firmware: 'uefi' as const,
      token: this.token,
      freeBytes: this.freeBytes,
      hasCurl: this.hasCurl,
      ...(this.deadManAt === undefined ? {} : { deadManMs: this.deadManAt - this.#clock.now() }),
      ...(withPreflight ? { preflight: this.preflight } : {}),
    };
    if (this.unsupported !== undefined) return { ...base, unsupported: this.unsupported };
    return {
      ...base,
      active: this.active,
      slots: { A: facts('A'), B: facts('B') },
      bootEnv: { path: '/boot/efi/EFI/openEuler/grubenv', ...this.env },
      fallback: this.fallback,
      managedBoot: this.managedBoot,
      ...(this.journal === undefined ? {} : { journal: this.journal }),
      ...(this.artifact === undefined ? {} : { artifact: { sha256: this.artifact.sha256, bytes: BYTES } }),
      ...(this.job === undefined
        ? {}
        : { detached: { step: this.job.step, job: this.job.mark, running: this.job.state === 'running' } }),
    };
  }

  #slotFacts(slot: Slot): SlotFacts {
    const { content, dirty, record, streamed } = this.slots[slot];
    return {
      device: `/dev/vda${slot === 'A' ? 2 : 3}`,
      sizeBytes: this.slotBytes,
      fsType: content === undefined ? '' : 'ext4',
      label: `ROOT-${slot}`,
      ...(content === undefined || dirty ? {} : { version: content.version }),
      content: dirty ? 'dirty' : content === undefined ? 'unbootable' : 'bootable',
      ...(content === undefined && !dirty ? { problem: 'no kernel' } : {}),
      ...(record === undefined ? {} : { record }),
      ...(streamed === undefined || !dirty ? {} : { streamed }),
      recordHolds: this.recordHolds(slot),
      failedTrial: record !== undefined && this.failed.has(record.sha256),
    };
  }

  /** The slot that is not running. */
  get inactive(): Slot {
    return otherSlot(this.active);
  }
}
