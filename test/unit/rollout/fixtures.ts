import type { ClusterNode, NodeJournal, NodeObservation, NodeRecord, SlotFacts } from '../../../src/rollout/facts.ts';
import type { NodeGoal, RolloutRequest } from '../../../src/rollout/goal.ts';

export const V1 = 'KubeOS 1.0.0';
export const V2 = 'KubeOS 2.0.0';
export const V3 = 'KubeOS 3.0.0';
export const SHA2 = '2'.repeat(64);
export const SHA3 = '3'.repeat(64);

export const clusterNode = (change: Partial<ClusterNode> = {}): ClusterNode => ({
  name: 'w-1',
  uid: 'u-1',
  addresses: [],
  labels: {},
  controlPlane: false,
  ready: true,
  cordoned: false,
  osImage: V1,
  kernelVersion: '5.10.0',
  architecture: 'amd64',
  bootId: 'boot-1',
  operatorUpgrading: false,
  ...change,
});

export const slot = (change: Partial<SlotFacts> = {}): SlotFacts => ({
  device: '/dev/vda2',
  sizeBytes: 4e9,
  fsType: 'ext4',
  label: 'ROOT-A',
  version: V1,
  content: 'bootable',
  recordHolds: false,
  failedTrial: false,
  ...change,
});

const without = (facts: SlotFacts): SlotFacts => {
  const bare = { ...facts };
  delete bare.version;
  return bare;
};

export const empty = (): SlotFacts => without(slot({ content: 'unbootable', problem: 'no kernel', fsType: '' }));
export const dirty = (): SlotFacts => without(slot({ content: 'dirty' }));
export const holding = (version: string, sha256: string, change: Partial<SlotFacts> = {}): SlotFacts =>
  slot({ version, record: { version, sha256, verifiedAt: 1 }, recordHolds: true, ...change });

/** Runs A with 1.0.0, permanently; B is empty; never touched by us. */
export const seen = (change: Partial<NodeObservation> = {}): NodeObservation => ({
  bootId: 'boot-1',
  osVersion: V1,
  kernelVersion: '5.10.0',
  architecture: 'x86_64',
  firmware: 'uefi',
  active: 'A',
  slots: { A: slot(), B: empty() },
  bootEnv: { path: '/boot/grub2/grubenv', saved: 'A' },
  token: 0,
  freeBytes: 1e10,
  hasCurl: true,
  ...change,
});

export const journal = (change: Partial<NodeJournal> = {}): NodeJournal => ({
  run: 'r-1',
  token: 4,
  operation: 'upgrade',
  version: V2,
  replaced: V1,
  sha256: SHA2,
  from: 'A',
  target: 'B',
  phase: 'started',
  armedBootId: '',
  reason: '',
  updatedAt: 1,
  ...change,
});

export const record = (change: Partial<NodeRecord> = {}): NodeRecord => ({
  run: 'r-1',
  token: 4,
  operation: 'upgrade',
  version: V2,
  step: 'stage',
  cordon: 'ours',
  ...change,
});

export const UPGRADE: NodeGoal = {
  operation: 'upgrade',
  version: V2,
  sha256: SHA2,
  reinstall: false,
  retryFailedImage: false,
  allowNoFallback: false,
};
export const ROLLBACK: NodeGoal = { ...UPGRADE, operation: 'rollback', version: V1, sha256: '' };

export const request = (change: Partial<RolloutRequest> = {}): RolloutRequest => ({
  goal: { operation: 'upgrade', version: V2, toOtherSlot: false },
  image: {
    type: 'disk',
    artifact: { url: 'https://u:p@10.0.0.5/update.img', sha256: SHA2, flagSafe: false },
    shownUrl: 'https://10.0.0.5/update.img',
  },
  selection: { includeControlPlane: false },
  maxUnavailable: { kind: 'count', count: 2 },
  canary: 1,
  maxFailures: 1,
  writeAfterDrain: false,
  drain: { timeoutMs: 1, gracePeriodSeconds: -1, force: false, deleteEmptyDirData: false, disableEviction: false },
  allowMajor: true,
  reinstall: false,
  retryFailedImage: false,
  allowNoFallback: false,
  managedBoot: false,
  rights: 'read',
  ...change,
});
