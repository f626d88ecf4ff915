import type { Compression } from './artifacts.ts';
import type { PreflightFacts } from './preflight-types.ts';
import type { Step } from './steps.ts';

/** One of the two root partitions: A is partition 2, B partition 3 (KubeOS's image tool lays disks out so). */
export type Slot = 'A' | 'B';

export const otherSlot = (slot: Slot): Slot => (slot === 'A' ? 'B' : 'A');

/** A node as the cluster's API shows it. Only what decisions need. */
export interface ClusterNode {
  name: string;
  uid: string;
  addresses: readonly NodeAddress[];
  labels: Readonly<Record<string, string>>;
  /** Has the label node-role.kubernetes.io/control-plane or node-role.kubernetes.io/master. */
  controlPlane: boolean;
  /** Condition Ready is True. */
  ready: boolean;
  /** Reason and message of the condition Ready where it is not True. */
  notReadyBecause?: string;
  /** Condition Ready is Unknown: the cluster has not heard of its kubelet for too long. Missing where it is not so. */
  kubeletSilent?: true;
  /** spec.unschedulable. */
  cordoned: boolean;
  /** `key=value:effect` of each taint that keeps pods away and that Kubernetes does not set itself; missing for none. */
  taints?: readonly string[];
  /** status.nodeInfo, as the kubelet reported it. */
  osImage: string;
  kernelVersion: string;
  architecture: string;
  bootId: string;
  /** What a run of kubeos left here, from our annotation. */
  record?: NodeRecord;
  /** Our annotation is there but cannot be read: why. */
  recordProblem?: string;
  /** The label upgrade.openeuler.org/upgrading: KubeOS's own operator is at work here. */
  operatorUpgrading: boolean;
}

export interface NodeAddress {
  type: string;
  address: string;
}

/** Our annotation on a node: what a run is doing there, so that any later run can carry on or tidy up. */
export interface NodeRecord {
  run: string;
  /** The lock's token that the run held (`leaseTransitions` of the Lease). */
  token: number;
  operation: Operation;
  version: string;
  step: Step;
  /** `ours`: this run cordoned the node and must uncordon it. `found`: it was cordoned before; leave it so. */
  cordon: 'none' | 'ours' | 'found';
}

/** What stood on the node where our annotation was written: by it a hand other than ours is noticed. */
export interface FoundMarks {
  uid: string;
  cordoned: boolean;
  /** Our annotation before; missing where there was none. */
  record?: NodeRecord;
}

export type Operation = 'upgrade' | 'rollback';

/** A node as its own machine shows it, over SSH. */
export interface NodeObservation {
  bootId: string;
  /** PRETTY_NAME of /etc/os-release, else /usr/lib/os-release, byte for byte. */
  osVersion: string;
  kernelVersion: string;
  /** `uname -m`. */
  architecture: string;
  firmware: 'uefi' | 'bios';
  /** Set where the node cannot be worked on at all; then the fields below may be missing. */
  unsupported?: UnsupportedLayout;
  active?: Slot;
  slots?: Readonly<Record<Slot, SlotFacts>>;
  bootEnv?: BootEnvironment;
  fallback?: Fallback;
  managedBoot?: ManagedBoot;
  /** The highest lock token that this node has seen; 0 where none. */
  token: number;
  journal?: NodeJournal;
  /** The journal is there but cannot be read: why. */
  journalProblem?: string;
  /** Free bytes where the artifact goes (/persist/KubeOS-Update). */
  freeBytes: number;
  /** Bytes of a whole, verified artifact that is already there, its digest, and the decompressor that the node has not. */
  artifact?: { sha256: string; bytes: number; lacks?: Compression };
  /** A long step that runs detached on the node right now. */
  detached?: { step: string; job: string; running: boolean };
  /** A trial goes back by itself in so many milliseconds, unless a run renews it. */
  deadManMs?: number;
  /** The node has curl. */
  hasCurl: boolean;
  /** The node has GNU wget. */
  hasWget?: boolean;
  /** Where it was asked for. */
  preflight?: PreflightFacts;
}

export interface UnsupportedLayout {
  code: 'verity' | 'partitions' | 'unknown-root' | 'no-boot-environment' | 'no-trial' | 'missing-tool';
  message: string;
}

export interface SlotFacts {
  device: string;
  sizeBytes: number;
  fsType: string;
  label: string;
  /** The system inside, from its os-release; missing where there is none. */
  version?: string;
  /** `bootable`: kernel, initramfs, os-release and the tools that the steps need are there. `dirty`: a write began and was never verified. */
  content: 'bootable' | 'unbootable' | 'dirty';
  /** Why it is not bootable. */
  problem?: string;
  /** What a run recorded once it had verified this slot. */
  record?: SlotRecord;
  /** When a rollback verified it by its content alone, since no digest of it is recorded: seconds since 1970, on the node's clock. */
  contentJudgedAt?: number;
  /** The SHA-256 of an image that was streamed into it whole, and is still to be verified. */
  streamed?: string;
  /** The record's file-system UUID and superblock write time still match the slot. */
  recordHolds: boolean;
  /** This slot's image failed its trial here. */
  failedTrial: boolean;
}

export interface SlotRecord {
  version: string;
  /** SHA-256 of the artifact that was written, 64 lower-case hex digits; what it was called by, where `tag` is set. */
  sha256: string;
  /** The container image's reference, where it was trusted by its tag alone. */
  tag?: string;
  /** Seconds since 1970, on the node's clock. */
  verifiedAt: number;
}

/** What GRUB would do next. */
export interface BootEnvironment {
  /** The grubenv file. */
  path: string;
  /** What `saved_entry` means; missing where it names no slot (then GRUB boots its first entry, A). */
  saved?: Slot;
  /** What `next_entry` means; missing where none is set. */
  next?: Slot;
  /** Set where the environment cannot be trusted: why (size, missing, unknown entry, read-only). */
  problem?: string;
}

/** Whether a trial that fails ends in the old slot by itself, which hangs on GRUB alone. */
export interface Fallback {
  /** `proven`: GRUB was seen to clear what it was told for one boot. `likely`: nothing speaks against it. */
  verdict: 'proven' | 'likely' | 'none';
  because: string;
}

/** Whether trials go by the managed boot (`--managed-boot`), which leads back from what GRUB cannot load, too. */
export interface ManagedBoot {
  /** `stale`: the node's grub.cfg has changed since; the next trial brings it up to date. */
  state: 'yes' | 'stale' | 'no';
  /** Why none can be made there. */
  problem?: string;
}

/** Where a node stands in the rollout that last touched it, from /persist/kubeos/journal. */
export type JournalPhase = 'started' | 'verified' | 'armed' | 'proven' | 'committed' | 'fell-back' | 'aborted';

export interface NodeJournal {
  run: string;
  token: number;
  operation: Operation;
  /** The OS version that the rollout leads to. */
  version: string;
  /** The OS version that the node ran when the rollout began. */
  replaced: string;
  /** SHA-256 of the artifact; empty for a rollback. */
  sha256: string;
  from: Slot;
  target: Slot;
  phase: JournalPhase;
  /** The boot id at the time of arming; empty before. */
  armedBootId: string;
  /** Why it fell back or was aborted. */
  reason: string;
  /** Seconds since 1970, on the node's clock, of the last change. */
  updatedAt: number;
}

/** What a node is about to become; written to its journal before anything else. */
export interface Assignment {
  operation: Operation;
  version: string;
  /** The OS version that the node runs now. */
  replaced: string;
  from: Slot;
  target: Slot;
  /** 64 lower-case hex digits; empty for a rollback. */
  sha256: string;
}

/** What a node's script has seen of the slot that was written. */
export interface Verified {
  version: string;
  /**
   * What the verdict stands on: the slot's bytes equal the image's, all its files those of the tar after a remount with
   * caches dropped, its recorded digest holds, or only its content.
   */
  basis: 'bytes' | 'files' | 'recorded digest' | 'content only';
}
