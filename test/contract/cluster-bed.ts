import type { Cluster, OsResource } from '../../src/rollout/ports.ts';

/** What the contract suite needs of a cluster, real, simulated or played by the lab. */
export interface ClusterBed {
  /** A connection as the product makes it; `lockSeconds` is how long a lock lasts without a renewal. */
  connect(options?: { lockSeconds?: number }): Promise<ConnectedCluster>;
  addNode(node: BedNode): Promise<void>;
  /** What foreign hands do to a node; null removes a label or an annotation. */
  changeNode(name: string, change: BedNodeChange): Promise<void>;
  removeNode(name: string): Promise<void>;
  readNode(name: string): Promise<BedNodeState>;
  /** A running pod, unless told otherwise. */
  addPod(pod: BedPod): Promise<void>;
  /** A person's `kubectl delete pod`; it goes on to exist where it has a finalizer or is slow. */
  deletePod(namespace: string, name: string): Promise<void>;
  /** The pod is gone for good, whatever held it. */
  endPod(namespace: string, name: string): Promise<void>;
  /** Names of the pods on a node, sorted; those being deleted included. */
  podsOn(node: string): Promise<readonly string[]>;
  addDaemonSet(namespace: string, name: string): Promise<void>;
  addBudget(budget: BedBudget): Promise<void>;
  allowDisruptions(namespace: string, name: string, disruptionsAllowed: number): Promise<void>;
  addOsResource?(os: OsResource): Promise<void>;
  /** The kubelet's sign of life: its Lease in kube-node-lease gets this renewTime (seconds since 1970). */
  beat(node: string, renewedAt: number): Promise<void>;
  /** The Lease of the lock; undefined where there is none. */
  readLock(): Promise<BedLock | undefined>;
  /** What another run writes over the Lease, or a first one makes. */
  writeLock(lock: BedLock): Promise<void>;
  /** The API server's clock, in milliseconds since 1970. */
  now(): Promise<number>;
  /** A person's kubectl annotate on the Lease. */
  annotateLock(): Promise<void>;
  deleteLock(): Promise<void>;
  /** The API server goes away, and comes back with all it knew. */
  stopApi?(): Promise<void>;
  startApi?(): Promise<void>;
  /** Removes all that the test made; the API server stays. */
  clear(): Promise<void>;
  close(): Promise<void>;
}

export type ConnectedCluster = Cluster & { disconnect(): Promise<void> };

export interface BedNode extends BedNodeChange {
  name: string;
  address?: string;
}

export interface BedNodeChange {
  labels?: Record<string, string | null>;
  annotations?: Record<string, string | null>;
  unschedulable?: boolean;
  ready?: boolean;
  osImage?: string;
}

export interface BedNodeState {
  unschedulable: boolean;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  /** Keys of the taints, without those of Kubernetes's own controllers. */
  taints: readonly string[];
}

export interface BedPod {
  namespace?: string;
  name: string;
  node: string;
  labels?: Record<string, string>;
  /** Kind and name of its controller; a ReplicaSet `web` by default, null for a bare pod. */
  owner?: { kind: string; name: string } | null;
  emptyDir?: boolean;
  mirror?: boolean;
  finalizer?: string;
  /** Once deleted, it stays until endPod. */
  slow?: boolean;
  phase?: 'Running' | 'Pending' | 'Succeeded';
  ready?: boolean;
}

export interface BedBudget {
  namespace?: string;
  name: string;
  matchLabels: Record<string, string>;
  disruptionsAllowed: number;
  currentHealthy: number;
  desiredHealthy: number;
  expectedPods: number;
}

export interface BedLock {
  holder: string;
  token: number;
  durationSeconds: number;
  /** Milliseconds since 1970. */
  renewedAt: number;
}
