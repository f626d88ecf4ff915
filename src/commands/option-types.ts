import type { JumpHost } from '../remote/jump-hosts.ts';
import type { Streaming, Via } from '../rollout/artifacts.ts';

/** What the flags of src/program.ts hand to the commands: already parsed, defaults filled in. */

export interface ClusterFlags {
  kubectl: string;
  kubeconfig?: string;
  context?: string;
  lockNamespace: string;
}

export interface SshFlags {
  sshUser?: string;
  sshPort?: number;
  /** Private key files; several may be given. */
  identity?: readonly string[];
  /** None: every node is reached directly. */
  jump?: readonly JumpHost[];
  sshConfig?: string;
  knownHosts?: readonly string[];
  acceptNewHostKeys?: boolean;
  askSudoPassword?: boolean;
  hosts?: string;
  addressType: string;
}

export interface SelectionFlags {
  selector?: string;
  nodes?: readonly string[];
  exclude?: readonly string[];
  includeControlPlane: boolean;
}

export interface DrainFlags {
  drainTimeout: number;
  gracePeriod: number;
  force: boolean;
  deleteEmptydirData: boolean;
  disableEviction: boolean;
  podSelector?: string;
}

export interface PaceFlags {
  /** A whole number, or a percentage such as `25%`. */
  maxunavailable?: string;
  budgetWait: number;
  canary: number;
  maxFailures: number;
  rebootTimeout: number;
  healthTimeout: number;
  deadMan: number;
}

export interface DisplayFlags {
  ascii: boolean;
}

export type OutputFormat = 'text' | 'json';

export interface ValidateFlags extends DisplayFlags {
  file: string;
  output: OutputFormat;
}

export interface RolloutFlags extends ClusterFlags, SshFlags, SelectionFlags, DrainFlags, PaceFlags, DisplayFlags {
  strict: boolean;
  allowNoFallback: boolean;
  output: OutputFormat;
}

/** How a run holds the lock, and waits for another's. */
export interface LockFlags {
  /** Milliseconds that a live holder is waited for; 0: for ever; missing: not at all. */
  lockWait?: number;
  /** Milliseconds without a sign of life after which this run counts as dead. */
  lockDuration: number;
}

export interface RunFlags extends RolloutFlags, LockFlags {
  yes: boolean;
  logDir?: string;
}

/** What a run leads to; one of them is given. */
export interface GoalFlags {
  file?: string;
  toPrevious: boolean;
  toOtherSlot: boolean;
}

/** What changes how an image is brought to a node; shared by `plan` and `upgrade`. */
export interface ImageFlags {
  write: 'before-drain' | 'after-drain';
  /** Bytes a second. */
  writeRate?: number;
  reinstall: boolean;
  retryFailedImage: boolean;
  managedBoot: boolean;
  allowMajor: boolean;
  via?: Via;
  /** Bytes a second. */
  limitRate?: number;
  /** May hold a password. */
  proxy?: string;
  certsDir?: string;
  stream?: Streaming;
}

export interface PlanFlags extends RolloutFlags, ImageFlags, GoalFlags {
  detailedExitcode: boolean;
}

export interface UpgradeFlags extends RunFlags, ImageFlags {
  file: string;
}

export interface RollbackFlags extends RunFlags, GoalFlags {
  allowMajor: boolean;
}

export interface StatusFlags extends ClusterFlags, SshFlags, SelectionFlags, DisplayFlags {
  output: 'text' | 'wide' | 'json' | 'yaml';
  ssh: boolean;
}

export interface LogsFlags extends ClusterFlags, SshFlags, DisplayFlags {
  lines: number;
}

export interface LockStatusFlags extends ClusterFlags, DisplayFlags {
  output: OutputFormat;
}

export interface LockReleaseFlags extends ClusterFlags, DisplayFlags {
  yes: boolean;
  force: boolean;
}

export interface ResetBootFlags extends ClusterFlags, SshFlags, SelectionFlags, LockFlags, DisplayFlags {
  file?: string;
  yes: boolean;
  output: OutputFormat;
}

export interface LabFlags {
  dir?: string;
}

export interface LabStartFlags extends LabFlags {
  nodes: number;
}

export interface LabFaultFlags extends LabFlags {
  clear: boolean;
}
