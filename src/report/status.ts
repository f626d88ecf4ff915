import type { KubeosError } from '../errors.ts';
import {
  type Fallback,
  otherSlot,
  type ClusterNode,
  type NodeJournal,
  type ManagedBoot,
  type NodeObservation,
  type NodeRecord,
  type Slot,
  type SlotFacts,
  type SlotRecord,
} from '../rollout/facts.ts';
import { isLive, isSilent } from '../rollout/lock-state.ts';
import type { LockState } from '../rollout/ports.ts';
import { recordedTime } from '../rollout/recorded-time.ts';
import { defined } from './defined.ts';

/** Where a node's running slot stands towards its bootloader. */
type SlotState =
  /** It boots this slot again. */
  | 'committed'
  /** It runs a slot that a run is trying; any reset returns to the other one. */
  | 'trial'
  /** It will try the other slot at its next boot. */
  | 'armed'
  /** Someone chose a boot entry; any reset returns to the other slot. */
  | 'booted by hand'
  | 'unknown';

/** What is known of a slot; a person or a program reads it. */
export interface SlotStatus {
  slot: Slot;
  content: SlotFacts['content'];
  version?: string;
  problem?: string;
  failedTrial: boolean;
  device: string;
  sizeBytes: number;
  fsType: string;
  label: string;
  /** SHA-256 of the artifact that a run wrote and verified; missing where that record no longer holds. */
  sha256?: string;
  /** The container image that it was, where that was trusted by its tag: then nothing has that SHA-256. */
  image?: string;
  /** ISO 8601, on the node's clock. */
  verifiedAt?: string;
}

/** A run's traces on a node: still at work, or left behind. */
interface RunOnNode extends NodeRecord {
  /** That run holds the lock right now. */
  live: boolean;
}

/** One node of `kubeos status`. What only SSH can tell is missing where SSH did not answer. */
export interface StatusRow {
  node: string;
  controlPlane: boolean;
  ready: boolean;
  notReadyBecause?: string;
  cordoned: boolean;
  /** As `.status.nodeInfo.osImage` prints it. */
  osVersion: string;
  kernelVersion: string;
  architecture: string;
  bootId: string;
  state: SlotState;
  active?: Slot;
  /** The slot that a reset right now would boot. */
  nextBoot?: Slot;
  /** Why the boot environment cannot be trusted. */
  bootProblem?: string;
  activeSlot?: SlotStatus;
  otherSlot?: SlotStatus;
  /** Why kubeos cannot work on this node. */
  unsupported?: string;
  /** The trial goes back by itself in so many milliseconds, unless a run renews that. */
  deadManMs?: number;
  /** Whether a trial that fails ends in the old slot by itself. */
  fallback?: Fallback;
  /** Whether its trials go by a managed boot, or why they cannot. */
  managedBoot?: ManagedBoot;
  /** A long step that runs detached on the node. */
  detached?: { step: string; running: boolean };
  run?: RunOnNode;
  /** The node's own memory of the rollout that last touched it. */
  journal?: NodeJournal;
  /** KubeOS's own operator is at work here. */
  operatorUpgrading: boolean;
  /** What could not be read, and why. */
  problems: readonly { what: string; reason?: string; next?: string }[];
}

/** The rollout that last held the lock. */
export interface LastRun {
  run: string;
  what: string;
  holder: string;
  /** It holds the lock right now, and has shown a sign of life within the time that it promised. */
  running: boolean;
  /** It holds the lock, but shows no sign of life for longer than it promised: how long, in milliseconds. */
  silentMs?: number;
  /** Nodes that it has not finished with: they carry its traces. */
  unfinished: readonly string[];
  acquiredAt?: string;
  /** Its last sign of life. */
  renewedAt?: string;
  /** The command that carries on, where something is left to do. */
  next?: string;
}

export interface StatusReport {
  /** ISO 8601. */
  at: string;
  nodes: readonly StatusRow[];
  lastRun?: LastRun;
}

/**
 * Puts together what the cluster and the nodes say. Pure.
 * @param observations by node name; a KubeosError says why a node did not answer; no entry: it was not asked
 * @param lock the Lease as it stands; undefined where it was never taken
 * @param now milliseconds since 1970
 */
export function statusReport(
  nodes: readonly ClusterNode[],
  observations: ReadonlyMap<string, NodeObservation | KubeosError>,
  lock: LockState | undefined,
  now: number,
): StatusReport {
  const rows = nodes.map((node) => statusRow(node, observations.get(node.name), lock));
  const lastRun = lock === undefined ? undefined : describeLastRun(lock, rows);
  return { at: new Date(now).toISOString(), nodes: rows, ...(lastRun === undefined ? {} : { lastRun }) };
}

function statusRow(
  node: ClusterNode,
  answer: NodeObservation | KubeosError | undefined,
  lock: LockState | undefined,
): StatusRow {
  const seen = answer instanceof Error ? undefined : answer;
  return {
    ...clusterFacts(node, lock),
    ...bootFacts(seen),
    ...slotFacts(seen),
    ...nodeFacts(seen),
    problems: problems(node, answer),
  };
}

function clusterFacts(node: ClusterNode, lock: LockState | undefined): Omit<StatusRow, 'state' | 'problems'> {
  const { record } = node;
  const live = record !== undefined && lock !== undefined && isLive(lock) && lock.run === record.run;
  return {
    node: node.name,
    controlPlane: node.controlPlane,
    ready: node.ready,
    ...defined({ notReadyBecause: node.notReadyBecause }),
    cordoned: node.cordoned,
    osVersion: node.osImage,
    kernelVersion: node.kernelVersion,
    architecture: node.architecture,
    bootId: node.bootId,
    ...defined({ run: record && { ...record, live } }),
    operatorUpgrading: node.operatorUpgrading,
  };
}

/** The node's own word on its boot goes before what its kubelet last told the cluster. */
function nodeFacts(
  seen: NodeObservation | undefined,
): Partial<
  Pick<StatusRow, 'bootId' | 'unsupported' | 'deadManMs' | 'fallback' | 'managedBoot' | 'detached' | 'journal'>
> {
  if (seen === undefined) return {};
  const { bootId, unsupported, deadManMs, fallback, managedBoot, detached, journal } = seen;
  return defined({
    bootId,
    unsupported: unsupported?.message,
    deadManMs,
    fallback,
    managedBoot,
    detached: detached && { step: detached.step, running: detached.running },
    journal,
  });
}

function bootFacts(
  seen: NodeObservation | undefined,
): Pick<StatusRow, 'state' | 'active' | 'nextBoot' | 'bootProblem'> {
  const { active, bootEnv } = seen ?? {};
  if (active === undefined) return { state: 'unknown' };
  if (bootEnv === undefined) return { state: 'unknown', active };
  if (bootEnv.problem !== undefined) return { state: 'unknown', active, bootProblem: bootEnv.problem };
  const nextBoot = bootEnv.next ?? bootEnv.saved ?? 'A';
  return { state: slotState(active, nextBoot, bootEnv.next !== undefined, seen?.journal), active, nextBoot };
}

function slotState(active: Slot, nextBoot: Slot, nextIsSet: boolean, journal: NodeJournal | undefined): SlotState {
  if (nextBoot === active) return 'committed';
  if (nextIsSet) return 'armed';
  const trying = journal?.target === active && (journal.phase === 'armed' || journal.phase === 'proven');
  return trying ? 'trial' : 'booted by hand';
}

function slotFacts(seen: NodeObservation | undefined): Pick<StatusRow, 'activeSlot' | 'otherSlot'> {
  if (seen?.active === undefined || seen.slots === undefined) return {};
  const other = otherSlot(seen.active);
  return {
    activeSlot: slotStatus(seen.active, seen.slots[seen.active]),
    otherSlot: slotStatus(other, seen.slots[other]),
  };
}

function slotStatus(slot: Slot, facts: SlotFacts): SlotStatus {
  const { content, version, problem, failedTrial, device, sizeBytes, fsType, label } = facts;
  const record = facts.recordHolds ? facts.record : undefined;
  return {
    slot,
    content,
    ...defined({ version, problem }),
    failedTrial,
    device,
    sizeBytes,
    fsType,
    label,
    ...(record && { ...imageOf(record), ...defined({ verifiedAt: recordedTime(record.verifiedAt) }) }),
  };
}

const imageOf = ({ sha256, tag }: SlotRecord): Pick<SlotStatus, 'sha256' | 'image'> =>
  tag === undefined ? { sha256 } : { image: tag };

function problems(node: ClusterNode, answer: NodeObservation | KubeosError | undefined): StatusRow['problems'] {
  const found: { what: string; reason?: string; next?: string }[] = [];
  if (node.recordProblem !== undefined)
    found.push({ what: 'its annotation cannot be read', reason: node.recordProblem });
  if (answer instanceof Error) {
    const { message, reason, next } = answer;
    found.push({ what: message, ...defined({ reason, next }) });
  } else if (answer?.journalProblem !== undefined) {
    found.push({ what: 'its journal cannot be read', reason: answer.journalProblem });
  }
  return found;
}

function describeLastRun(lock: LockState, rows: readonly StatusRow[]): LastRun {
  const left = rows.filter((row) => row.run !== undefined || isUnfinished(row.journal));
  const [first] = left;
  const { run, what, holder, acquiredAt, renewedAt } = lock;
  const live = isLive(lock);
  return {
    run,
    what,
    holder,
    running: live,
    ...defined({ silentMs: lock.dead !== true && isSilent(lock) ? lock.silentMs : undefined }),
    unfinished: left.map((row) => row.node),
    ...defined({ acquiredAt, renewedAt, next: live || first === undefined ? undefined : continueWith(first) }),
  };
}

const isUnfinished = (journal: NodeJournal | undefined): boolean =>
  journal !== undefined && !['committed', 'fell-back', 'aborted'].includes(journal.phase);

function continueWith({ run, journal }: StatusRow): string {
  const { operation, version } = run ?? journal ?? { operation: 'upgrade', version: 'the same version' };
  if (operation === 'upgrade') return `kubeos upgrade -f FILE, with the spec of ${version}`;
  return `kubeos rollback --to-previous, or the command that was given: it leads to ${version}`;
}
