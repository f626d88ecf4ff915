/**
 * The rollout's only view of its neighbours. The comments are the contract: one suite (test/contract) runs against the
 * real adapters and against the test doubles alike.
 *
 * Every method that can take long takes an AbortSignal; when it is aborted, the method rejects with the signal's
 * reason as soon as it safely can and leaves nothing of its own running. Failures that are expected reject with a
 * KubeosError; anything else is a bug.
 */
import type { Artifact, DiskArtifact } from './artifacts.ts';
import type {
  Assignment,
  ClusterNode,
  FoundMarks,
  NodeJournal,
  NodeObservation,
  NodeRecord,
  Slot,
  Verified,
} from './facts.ts';
import type { DrainForecast, DrainOptions, DrainProgress } from './drain-types.ts';
import type { RolloutEvent } from './events.ts';
import type { StepProgress } from './image-source.ts';
import type { LockState } from './lock-state.ts';
import type { ClockOffset, ImageNotSeen, ImageSeen, PreflightRequest } from './preflight-types.ts';

export type { Artifact, ContainerArtifact, DiskArtifact } from './artifacts.ts';
export type { ImageSource, StepProgress } from './image-source.ts';
export type { Assignment, Verified } from './facts.ts';
export type { LockState } from './lock-state.ts';
export type { DrainForecast, DrainObstacle, DrainOptions, DrainProgress } from './drain-types.ts';

// ---------------------------------------------------------------------------------------------------- the cluster

export interface LockRequest {
  run: string;
  /** user@host and pid, and the CI job's URL where there is one. */
  holder: string;
  /** `upgrade to KubeOS 2.0.0`. */
  what: string;
  /** How long a live holder is waited for, in milliseconds; 0 waits for ever; missing: not at all. */
  waitMs?: number;
  /** Told at first, and whenever the Lease changes, while the lock is another's. */
  onWaiting?: (wait: LockWait) => void;
}

/** A lock that is another's, while it is waited for or its holder is watched for a sign of life. */
export interface LockWait {
  holder: LockState;
  /** The holder has shown a sign of life since it is watched; else it may be dead, and is taken for it in the end. */
  alive: boolean;
}

/** A lock that is held and being renewed. */
export interface HeldLock {
  /** Grows with every acquisition and with raiseAbove; every changing script carries it as it is now. */
  readonly token: number;
  /** Aborted, with a LockLostError as its reason, once the lock is no longer ours for sure. */
  readonly lost: AbortSignal;
  /** The dead holder whose lock this was; missing where it was free. */
  readonly tookOverFrom?: LockState;
  /**
   * To be awaited before each change on a node: rejects with LockLostError where the lock is not ours any more, as a process that
   * slept through a takeover finds out. The Lease is asked unless that was done a moment ago; an API server that does not
   * answer is no reason to wait, since nobody could have taken the lock there.
   */
  confirm(): Promise<void>;
  /**
   * As `confirm`, before what need not be begun. Where nothing has proved the lock to be ours for its duration, it waits
   * until the Lease can be read again: a refused login or right proves nothing. Rejects with the signal's reason where it
   * is aborted while it waits.
   */
  confirmStart(signal: AbortSignal): Promise<void>;
  /** Tells others how far the run is; best effort. */
  describe(what: string): void;
  /** Raises the token above `floor` (a node has seen that one); rejects with LockLostError where the lock is gone. */
  raiseAbove(floor: number): Promise<void>;
  /** Gives the lock back; the Lease itself stays. Never rejects; does nothing the second time. */
  release(): Promise<void>;
}

/** Another writer of the nodes' operating systems: an OS resource of KubeOS's own operator. */
export interface OsResource {
  /** namespace/name */
  name: string;
  osversion: string;
  opstype: string;
}

/** What the cluster must let us do, as SelfSubjectAccessReview names it. */
export interface MissingRight {
  verb: string;
  resource: string;
  namespace?: string;
  /** The API server's own words, where it gave some. */
  reason?: string;
  /** Without it nothing can be planned. */
  toRead: boolean;
}

export interface Cluster {
  /**
   * `plan` and `status` only read; `rollout` also cordons, drains, annotates, locks. A drain with `disableEviction`
   * deletes pods, which is a right of its own. Resolves to what is missing.
   */
  missingRights(
    purpose: 'read' | 'rollout',
    drain?: Pick<DrainOptions, 'disableEviction'>,
  ): Promise<readonly MissingRight[]>;
  /** The API server's clock, as its last answer told it; undefined where none did. */
  clockOffset(): ClockOffset | undefined;
  /** All nodes, freshly read, sorted by name. */
  nodes(signal?: AbortSignal): Promise<readonly ClusterNode[]>;
  /**
   * Keeps one watch over all nodes, whatever the number of callers. `onChange` gets the whole set whenever any node
   * changes, and once at the start. It survives cut and expired watches and an API server that is away.
   * Returns the way to stop it.
   */
  watchNodes(onChange: (nodes: ReadonlyMap<string, ClusterNode>) => void): () => void;
  /** All OS resources in all namespaces; empty where the cluster has no such kind. */
  osResources(): Promise<readonly OsResource[]>;
  /**
   * What a drain of each of these nodes would meet, counted from pods and budgets; changes nothing. Nodes that drain
   * at the same time are not counted against each other.
   */
  forecastDrains(nodes: readonly string[], options: DrainOptions): Promise<ReadonlyMap<string, DrainForecast>>;
  // The four that follow are made under the lock that was taken through this very connection, if any: where that is
  // gone they change nothing, with a LockLostError.
  /**
   * Writes our annotation, conditional on the node's resourceVersion (retried while the conflict is not about us).
   * A record of a newer token than `record.token` is left alone, with a LockLostError. Resolves to what it found.
   */
  record(node: string, record: NodeRecord): Promise<FoundMarks>;
  /**
   * Sets spec.unschedulable and our annotation in one conditional patch. A node that was cordoned before stays as it
   * is and gets `cordon: 'found'`; one that we cordoned in an earlier run keeps `ours`. Resolves to what was recorded.
   * A record of a newer token than `record.token` is left alone, with a LockLostError.
   */
  cordon(node: string, record: Omit<NodeRecord, 'cordon'>): Promise<NodeRecord>;
  /**
   * Removes our annotation and, where it says `ours`, the cordon, in one conditional patch. Does nothing to a node
   * without our annotation: then it resolves to false. A record of a newer token than `token` is left alone, with a
   * LockLostError.
   */
  release(node: string, token: number): Promise<boolean>;
  /**
   * Evicts the node's pods. Resolves once none is left; rejects with a KubeosError (step `drain`) that names what it
   * waited for last, when the time is up or the drain cannot succeed. Never cordons or uncordons by itself.
   */
  drain(
    node: string,
    options: DrainOptions,
    onProgress: (progress: DrainProgress) => void,
    signal: AbortSignal,
  ): Promise<{ evicted: number }>;
  /**
   * Resolves to an opaque mark that changes each time the kubelet renews its Lease in kube-node-lease; undefined where
   * there is no such Lease. Two different later marks prove a live kubelet without comparing clocks.
   */
  heartbeat(node: string): Promise<string | undefined>;
  /** The lock as it stands; undefined where it was never taken. */
  lockState(): Promise<LockState | undefined>;
  /**
   * Takes the lock, at once or after the dead holder's Lease stood still for its duration; waits for a live holder as
   * long as the request says, then rejects with LockHeldError.
   */
  acquireLock(request: LockRequest, signal: AbortSignal): Promise<HeldLock>;
  /**
   * Frees a lock that another holds, if it still is as it was seen; its holder finds out before its next change. Does
   * nothing to a lock that is free. Rejects with LockHeldError where it changed since.
   * @param by who does it, for the holder to read
   * @param whileAlive frees it from this very holder even if that has renewed it since
   */
  freeLock(seen: LockState, by: string, whileAlive: boolean): Promise<void>;
}

// ------------------------------------------------------------------------------------------------------- the nodes

/** What every changing script carries: a node refuses a token older than the one it has seen. */
export interface Authority {
  run: string;
  token: number;
}

/** What a node says of itself after its reboot. */
export interface BootReport {
  bootId: string;
  active: Slot;
  osVersion: string;
}

/**
 * The nodes. Every method that takes an Authority rejects with a LockLostError where the node has seen a newer token
 * (exit 12 of the scripts), and with a ConnectError where the connection is gone and could not be made again.
 */
export interface Remote {
  /**
   * Where the node stands; changes nothing. Connects if need be: rejects with ConnectError where it cannot be reached
   * or signed in to. With a preflight request the answer has its facts too.
   */
  observe(node: ClusterNode, signal?: AbortSignal, preflight?: PreflightRequest): Promise<NodeObservation>;
  /**
   * Asks the image server for the image's first bytes, from this node, once and for at most half a minute; changes
   * nothing. Rejects as `observe` does, and with a KubeosError where the node has neither curl nor GNU wget.
   */
  lookAtImage(node: ClusterNode, artifact: DiskArtifact, signal?: AbortSignal): Promise<ImageSeen | ImageNotSeen>;
  /** Leaves the token on the node and ends any detached step of an older one. */
  claim(node: ClusterNode, by: Authority): Promise<void>;
  /** Writes the journal. The same assignment again keeps the phase that the journal is in. */
  begin(node: ClusterNode, by: Authority, assignment: Assignment): Promise<void>;
  /**
   * Brings the verified artifact to the node; touches no slot. Done already: resolves at once. For a container image it
   * resolves to the digest that its reference had, and leaves nothing of the image in the engine.
   */
  stage(
    node: ClusterNode,
    by: Authority,
    artifact: Artifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest?: string }>;
  /**
   * Disarms the boot environment, marks the slot dirty, writes and fsyncs the artifact. Done already: at once.
   * @param rate bytes a second at most, on average
   */
  write(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
    rate?: number,
  ): Promise<{ bytes: number }>;
  /**
   * As `write`, with the image as it arrives: nothing of it lies in /persist. What the slot held is given up before it is
   * known whether all of the image comes. Broken off, it begins anew; all of it there: done at once.
   */
  stream(
    node: ClusterNode,
    by: Authority,
    target: Slot,
    artifact: DiskArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
    rate?: number,
  ): Promise<{ bytes: number }>;
  /** Proves the target slot: read back (upgrade) or recorded digest (rollback), then label and content. */
  verify(
    node: ClusterNode,
    by: Authority,
    assignment: Assignment,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<Verified>;
  /**
   * Sets next_entry to the verified target, saved_entry staying with the active slot. A managed boot that is asked for is
   * made first, and one that is there is brought up to date; where it cannot be, nothing is armed if it was asked for.
   */
  arm(node: ClusterNode, by: Authority, target: Slot, managedBoot: boolean): Promise<void>;
  /** Orders the reboot and resolves once the node has accepted it. `send-back` leaves an unhealthy trial. */
  reboot(node: ClusterNode, by: Authority, purpose: 'trial' | 'send-back'): Promise<void>;
  /**
   * Waits until the node answers SSH with another boot id than `previousBootId`. Resolves to undefined when
   * `timeoutMs` (0: never) is over. Refused, cut and unanswered connections are part of the wait; so are a host key
   * that is not trusted, a sign-in that is refused and a system that does not know its slots, but where one still stands
   * at the end, it rejects with that KubeosError.
   */
  awaitBoot(
    node: ClusterNode,
    previousBootId: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<BootReport | undefined>;
  /**
   * Plants the dead man's timer of a trial, or renews it: a node on trial that hears nothing more for `spanMs` (whole
   * seconds) goes back to its old slot by itself, its journal closed as `aborted`. A commit and a close end it.
   * Does nothing to a node that is not on trial.
   */
  deadMan(node: ClusterNode, by: Authority, spanMs: number): Promise<void>;
  /**
   * Records in the journal that the node runs the target slot with the right version, on a new boot. Rejects with a
   * KubeosError where it does not. `adopt` proves a slot that was booted by hand, on the present boot.
   */
  prove(node: ClusterNode, by: Authority, expected: { slot: Slot; version: string; adopt: boolean }): Promise<void>;
  /** Makes the proven slot permanent: saved_entry; removes the artifact. */
  commit(node: ClusterNode, by: Authority, slot: Slot): Promise<void>;
  /**
   * Ends detached work, points the boot environment at the active slot and closes the journal. `fell-back` also
   * remembers the digest that failed its trial.
   */
  close(node: ClusterNode, by: Authority, outcome: 'aborted' | 'fell-back', reason: string): Promise<NodeJournal>;
  /**
   * Takes the managed boot out again; the custom.cfg of others is as it was. Refused while a trial is armed or runs.
   * Done already: resolves to false.
   */
  resetBoot(node: ClusterNode, by: Authority): Promise<{ removed: boolean }>;
  /** Writes a line to the node's syslog under the tag `kubeos`. */
  log(node: ClusterNode, message: string): Promise<void>;
  /** The node's last `kubeos` lines, oldest first. */
  logTail(node: ClusterNode, lines: number): Promise<readonly string[]>;
}

// ------------------------------------------------------------------------------------------------------- the rest

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Rejects with the signal's reason when it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export interface Report {
  /** Never throws, never waits. */
  event(event: RolloutEvent): void;
}
