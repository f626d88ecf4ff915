import type { ClusterNode, NodeJournal, NodeObservation, Slot, UnsupportedLayout } from './facts.ts';
import type { NodeGoal } from './goal.ts';
import type { Finding } from './plan-types.ts';
import { HIGHEST_TOKEN } from './tokens.ts';
import { refuseVia } from './via.ts';

/** The facts of a node whose layout can be worked on. */
export interface Layout {
  node: ClusterNode;
  seen: NodeObservation;
  active: Slot;
  /** The slot that GRUB boots without a next_entry. */
  permanent: Slot;
  slots: NonNullable<NodeObservation['slots']>;
  goal: NodeGoal;
  /** The journal, where its rollout has not ended. */
  open?: NodeJournal;
}

const REPLACE = 'put a node that has the wanted system in its place, and leave this one out: --exclude';

/**
 * What to do instead on a node that kubeos does not work on. KubeOS's agent changes a dm-verity node by `kubeos-dmv`, out of
 * container images alone ("DM-Verity doesn't support disk image").
 */
const OTHER_WAY: Readonly<Record<UnsupportedLayout['code'], string>> = {
  verity: `leave it to KubeOS's own operator, with a container image (imagetype docker or containerd), or ${REPLACE}`,
  partitions: REPLACE,
  'unknown-root': REPLACE,
  'no-boot-environment': 'make it on the node (grub2-editenv FILE create), or leave it out: --exclude',
  'no-trial': `leave it to KubeOS's own operator, which tries no slot before it is permanent, or ${REPLACE}`,
  'missing-tool': 'install it on the node, or leave the node out: --exclude',
};

/** What keeps kubeos from working on the node at all. */
export function findTrouble(seen: NodeObservation, node: ClusterNode): readonly Finding[] {
  const findings: Finding[] = [];
  if (seen.unsupported !== undefined) {
    findings.push({ what: seen.unsupported.message, next: OTHER_WAY[seen.unsupported.code] });
  } else if (seen.active === undefined || seen.slots === undefined) {
    findings.push({ what: 'its two root partitions could not be told apart', next: 'leave it out: --exclude' });
  } else if (seen.bootEnv === undefined || seen.bootEnv.problem !== undefined) {
    findings.push({
      what: `its boot environment cannot be trusted: ${seen.bootEnv?.problem ?? 'none was found'}`,
      next: 'mend the grubenv on the node (grub2-editenv), then give the same command again',
    });
  }
  if (seen.journalProblem !== undefined) {
    findings.push({
      what: `its journal cannot be read: ${seen.journalProblem}`,
      next: 'look at /persist/kubeos/journal on the node and remove it, then give the same command again',
    });
  }
  if (seen.token > HIGHEST_TOKEN) {
    findings.push({
      what: `it says that it has seen the lock token ${seen.token}, which no run can have had`,
      next: 'find out who wrote that, then remove /persist/kubeos/token on the node',
    });
  }
  if (node.recordProblem !== undefined) {
    findings.push({
      what: `the annotation of an earlier run cannot be read: ${node.recordProblem}`,
      next: `see whether the node must stay cordoned, then remove the annotation: kubectl describe node ${node.name}`,
    });
  }
  return findings;
}

/** The journal tells of this very goal. */
export const isMine = (journal: NodeJournal, goal: NodeGoal): boolean =>
  journal.operation === goal.operation && journal.version === goal.version && journal.sha256 === goal.sha256;

/** The verified artifact is on the node already, and the node can decompress it. */
export const hasArtifact = ({ seen: { artifact }, goal }: Layout): boolean =>
  artifact?.sha256 === goal.sha256 && artifact.lacks === undefined;

/** All of the image is in the slot: it need not be written, only verified. */
export const hasWhole = (layout: Layout, target: Slot): boolean =>
  hasStreamed(layout, target) || hasVerified(layout, target);

const hasStreamed = ({ slots, goal }: Layout, target: Slot): boolean =>
  goal.operation === 'upgrade' && goal.byEngine !== true && slots[target].streamed === goal.sha256;

/**
 * An earlier run has written this very image into the slot and verified it, and nothing has changed there since. A tag may
 * name another image by now, and who insists on a write gets one.
 */
export function hasVerified({ slots, goal }: Layout, target: Slot): boolean {
  const { record, recordHolds, content, version, failedTrial } = slots[target];
  if (goal.operation !== 'upgrade' || goal.reinstall || goal.retryFailedImage) return false;
  if (record === undefined || !recordHolds || content !== 'bootable' || failedTrial) return false;
  return record.tag === undefined && record.sha256 === goal.sha256 && version === goal.version;
}

/** What forbids to bring this node's other slot to the goal. */
export const refuseTarget = (layout: Layout, target: Slot): readonly Finding[] => [
  ...(layout.goal.operation === 'upgrade' ? refuseUpgrade(layout, target) : refuseRollback(layout, target)),
  ...refuseNoFallback(layout),
];

function refuseNoFallback({ seen: { fallback }, goal }: Layout): readonly Finding[] {
  if (fallback?.verdict !== 'none' || goal.allowNoFallback) return [];
  return [
    {
      what: 'a trial that fails would not end by itself: each reset would lead to it again',
      reason: fallback.because,
      next: 'mend that, or insist, with somebody at the console: --allow-no-fallback',
    },
  ];
}

function refuseUpgrade(layout: Layout, target: Slot): readonly Finding[] {
  const { seen, slots, goal } = layout;
  const findings: Finding[] = [];
  const failedHere =
    (slots[target].failedTrial && slots[target].record?.sha256 === goal.sha256) ||
    (seen.journal?.phase === 'fell-back' && isMine(seen.journal, goal));
  if (failedHere && !goal.retryFailedImage) findings.push(imageFailed(seen.journal));
  const isThere = goal.byEngine === true || hasArtifact(layout) || hasWhole(layout, target);
  return isThere ? findings : [...findings, ...refuseVia(seen, goal.ways)];
}

const imageFailed = (journal: NodeJournal | undefined): Finding => ({
  what: 'this image failed its trial here',
  ...(journal?.phase === 'fell-back' && journal.reason !== '' ? { reason: journal.reason } : {}),
  next: 'mend the image or the node, or try the same image once more: --retry-failed-image',
});

function refuseRollback(layout: Layout, target: Slot): readonly Finding[] {
  const { slots, goal } = layout;
  const slot = slots[target];
  const next = 'leave the node out (--exclude), or bring it there by its image: kubeos upgrade';
  if (slot.content !== 'bootable') {
    const state = slot.content === 'dirty' ? 'a write into it began and was never verified' : 'nothing in it can boot';
    return [{ what: `slot ${target} holds no system to go back to`, reason: slot.problem ?? state, next }];
  }
  if (slot.version !== goal.version) {
    return [{ what: `slot ${target} holds ${slot.version ?? 'an unknown system'}, not ${goal.version}`, next }];
  }
  if (slot.failedTrial) return [{ ...imageFailed(layout.seen.journal), next: `${next} --retry-failed-image` }];
  return [];
}
