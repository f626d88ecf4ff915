import { otherSlot, type ClusterNode, type NodeJournal, type NodeObservation } from './facts.ts';
import { findTrouble, isMine, refuseTarget, hasArtifact, hasVerified, hasWhole, type Layout } from './blockers.ts';
import type { NodeGoal } from './goal.ts';
import type { Finding, Preliminary } from './plan-types.ts';
import type { Assignment } from './ports.ts';
import { isAhead, type Step } from './steps.ts';

/** Where a node stands, and so what it still needs. Derived from the node and the cluster alone. */
export type Standing =
  /** It runs the version, permanently, and nothing of a run is left to tidy up. */
  | { kind: 'done'; notes: readonly string[] }
  | Way
  /** It came up in its old slot in an earlier run that did not live to tell: to be proven there and tidied up. */
  | { kind: 'fell-back'; assignment: Assignment; reason: string; /** Its journal says so already. */ closed: boolean }
  | Blocked;

/** It needs the change but cannot be started. */
export interface Blocked {
  kind: 'blocked';
  findings: readonly Finding[];
  /** It may be armed, on trial or broken: only who understands it may put it back into service. */
  unclear: boolean;
}

export interface Way {
  kind: 'way';
  /** The first step with work to do. A drain before a reboot, and the proof before the commit, are always done again. */
  firstStep: Step;
  assignment: Assignment;
  /** The slot it runs was booted by hand: proven and committed where it runs. */
  adopt: boolean;
  preliminary?: Preliminary;
  notes: readonly string[];
}

/**
 * @param node as the cluster shows it
 * @param seen as the node shows itself
 * @param goal what it shall become
 */
export function deriveStanding(node: ClusterNode, seen: NodeObservation, goal: NodeGoal): Standing {
  const layout = layoutOf(node, seen, goal);
  const trouble = findTrouble(seen, node);
  if (layout === undefined) {
    const left = leftBehind(node, seen);
    return seen.osVersion === goal.version && !goal.reinstall && left.length === 0
      ? { kind: 'done', notes: trouble.map(({ what }) => what) }
      : { kind: 'blocked', findings: [...trouble, ...left], unclear: true };
  }
  const standing = judge(layout);
  if (trouble.length === 0) return standing;
  if (standing.kind === 'done') return { kind: 'done', notes: [...standing.notes, ...trouble.map(({ what }) => what)] };
  return { kind: 'blocked', findings: trouble, unclear: true };
}

/** The step after which a reboot is still ahead of a node, so that it must be drained. */
export const rebootAhead = isAhead;

function layoutOf(node: ClusterNode, seen: NodeObservation, goal: NodeGoal): Layout | undefined {
  const { active, slots, bootEnv, journal } = seen;
  if (seen.unsupported !== undefined || active === undefined || slots === undefined) return undefined;
  // GRUB boots its first entry, A, where saved_entry names none.
  const layout = { node, seen, active, slots, goal, permanent: bootEnv?.saved ?? 'A' };
  return isOpen(journal) ? { ...layout, open: journal } : layout;
}

const isOpen = (journal: NodeJournal | undefined): journal is NodeJournal =>
  journal !== undefined && ['started', 'verified', 'armed', 'proven'].includes(journal.phase);

/** What a run left on a node of which too little is seen to carry on: whatever it runs, it is not done with. */
function leftBehind({ record, name }: ClusterNode, { journal }: NodeObservation): readonly Finding[] {
  if (isOpen(journal) && journal.armedBootId !== '') {
    const { target, from } = journal;
    return [
      {
        what: `a run left slot ${target} armed, or on trial`,
        next: `a reset leads a trial back to slot ${from}; once what is in the way is mended, give the same command again`,
      },
    ];
  }
  if (record === undefined) return [];
  const next = `once that is mended, give the same command again; what it did there: kubeos logs ${name}`;
  return [{ what: `run ${record.run} left it at ${record.step}`, next }];
}

function judge(layout: Layout): Standing {
  const { open } = layout;
  if (open !== undefined && open.armedBootId !== '' && open.target === layout.active) return judgeTrial(layout, open);
  if (open?.phase === 'armed' || open?.phase === 'proven') {
    return open.target === layout.active ? judgeTrial(layout, open) : judgeArmed(layout, open);
  }
  const standing = judgeFellBack(layout) ?? judgeUnarmed(layout);
  return armedByAnother(layout) ? withPreliminary(standing, { kind: 'disarm' }, layout) : standing;
}

/** The power went between two lines of arming, in a run with another goal: its journal does not say `armed` yet. */
const armedByAnother = ({ open, goal, seen }: Layout): boolean =>
  open !== undefined && !isMine(open, goal) && open.phase === 'verified' && seen.bootEnv?.next === open.target;

function judgeUnarmed(layout: Layout): Standing {
  const { open, active, permanent, goal } = layout;
  if (layout.seen.osVersion === goal.version && !mustReinstall(layout)) {
    return permanent === active ? judgeDone(layout) : adoptHere(layout);
  }
  if (permanent !== active) return afterSettling(layout, handBooted(layout), true);
  if (open === undefined) return fresh(layout, []);
  return isMine(open, goal) && open.from === active ? resume(layout, open) : fresh(layout, [givenUp(open)]);
}

// ------------------------------------------------------------------------------------------- armed or on trial

/** It runs the slot that was armed. */
function judgeTrial(layout: Layout, journal: NodeJournal): Standing {
  const { active, goal } = layout;
  if (layout.seen.bootId === journal.armedBootId) {
    return unclear(
      `its journal says that slot ${active} was armed on this very boot, yet it runs`,
      `see what happened there (kubeos logs ${layout.node.name}), then remove /persist/kubeos/journal`,
    );
  }
  const assignment = assignmentOf(journal);
  // A slot that was booted by hand is proven without ever having been armed.
  const adopt = journal.armedBootId === '';
  if (isMine(journal, goal) || (journal.version === goal.version && !mustReinstall(layout))) {
    const notes = [adopt ? `slot ${active} was booted by hand` : `on trial in slot ${active}`];
    return { kind: 'way', firstStep: 'prove', assignment, adopt, notes };
  }
  return afterSettling(layout, assignment, adopt);
}

/** It runs the slot that it was armed in: either the reboot is still to come, or the trial ended here. */
function judgeArmed(layout: Layout, journal: NodeJournal): Standing {
  const { active, seen, goal } = layout;
  const mine = isMine(journal, goal);
  if (seen.bootId !== journal.armedBootId || journal.phase === 'proven') {
    if (mine) return fellBack(journal, false, `its trial of slot ${journal.target} ended in slot ${active}`);
    return withPreliminary(judge(withoutJournal(layout)), { kind: 'close-fell-back' }, layout);
  }
  if (!mine) return withPreliminary(judge(withoutJournal(layout)), { kind: 'disarm' }, layout);
  const armed = seen.bootEnv?.next === journal.target && layout.permanent === active;
  return {
    kind: 'way',
    firstStep: armed ? 'reboot' : 'drain',
    assignment: assignmentOf(journal),
    adopt: false,
    notes: [`slot ${journal.target} was written and verified in an earlier run`],
  };
}

/** A fall-back that was written down, but whose run did not live to uncordon or to tell. */
function judgeFellBack(layout: Layout): Standing | undefined {
  const { journal } = layout.seen;
  const { goal } = layout;
  if (journal?.phase !== 'fell-back' || !isMine(journal, goal) || journal.from !== layout.active) return undefined;
  if (layout.node.record === undefined || goal.retryFailedImage) return undefined;
  return fellBack(journal, true, journal.reason);
}

const fellBack = (journal: NodeJournal, closed: boolean, reason: string): Standing => ({
  kind: 'fell-back',
  assignment: assignmentOf(journal),
  reason,
  closed,
});

function withoutJournal(layout: Layout): Layout {
  const bare = { ...layout, seen: { ...layout.seen } };
  delete bare.open;
  delete bare.seen.journal;
  return bare;
}

/** What another goal left behind is put in order first, even on a node that needs nothing else. */
function withPreliminary(standing: Standing, preliminary: Preliminary, layout: Layout): Standing {
  if (standing.kind === 'done') return { ...tidyUp(layout, here(layout), standing.notes), preliminary };
  if (standing.kind === 'way') return { ...standing, preliminary: standing.preliminary ?? preliminary };
  // What must be put in order is left as it is then: armed, on trial, or never proven in its old slot.
  if (standing.kind === 'blocked') return { ...standing, unclear: true };
  return standing;
}

// --------------------------------------------------------------------------------------------- at the version

function judgeDone(layout: Layout): Standing {
  const { node, seen, goal } = layout;
  const notes = notesOnDone(layout);
  if (node.record === undefined) return { kind: 'done', notes };
  const { journal } = seen;
  if (journal !== undefined && isMine(journal, goal)) return tidyUp(layout, assignmentOf(journal), notes);
  const way = tidyUp(layout, here(layout), notes);
  return layout.open === undefined ? way : { ...way, preliminary: { kind: 'disarm' } };
}

function notesOnDone({ node, seen, goal, slots, active }: Layout): readonly string[] {
  const notes: string[] = [];
  const { record } = slots[active];
  if (goal.sha256 !== '' && record !== undefined && record.sha256 !== goal.sha256) {
    const from = record.tag ?? `sha256 ${shorten(record.sha256)}, the spec says ${shorten(goal.sha256)}`;
    notes.push(`slot ${active} was written from another image (${from}); --reinstall writes it again`);
  }
  if (!node.ready) notes.push(['not Ready', node.notReadyBecause].filter(Boolean).join(': '));
  const next = seen.bootEnv?.next;
  if (next !== undefined && next !== active) notes.push(`its next boot goes to slot ${next} once (next_entry)`);
  return notes;
}

/** A node that needs nothing, but carries what an earlier run left. */
const tidyUp = (layout: Layout, assignment: Assignment, notes: readonly string[]): Way => ({
  kind: 'way',
  firstStep: 'uncordon',
  assignment,
  adopt: false,
  notes: [...notes, `what an earlier run left on ${layout.node.name} is tidied up`],
});

function adoptHere(layout: Layout): Standing {
  return {
    kind: 'way',
    firstStep: 'prove',
    assignment: here(layout),
    adopt: true,
    notes: [
      `runs slot ${layout.active}, but slot ${layout.permanent} is the permanent one: it was booted by hand, and is ` +
        'proven and committed where it runs',
    ],
  };
}

/** The way of a node that stays in the slot it runs. */
function here(layout: Layout): Assignment {
  const from = otherSlot(layout.active);
  return {
    operation: layout.goal.operation,
    version: layout.goal.version,
    replaced: layout.slots[from].version ?? UNKNOWN_VERSION,
    from,
    target: layout.active,
    sha256: layout.goal.sha256,
  };
}

/** What a journal says of a version that nothing tells. */
export const UNKNOWN_VERSION = 'unknown';

/** A node at the version is written again only until its running slot came from this very image: so it ends. */
function mustReinstall(layout: Layout): boolean {
  const { goal, slots, active } = layout;
  return goal.reinstall && goal.operation === 'upgrade' && slots[active].record?.sha256 !== goal.sha256;
}

// ---------------------------------------------------------------------------------------------- to be changed

/** The running slot is not the permanent one, and the node must leave it: it is made permanent first. */
function afterSettling(layout: Layout, assignment: Assignment, adopt: boolean): Standing {
  const { active } = layout;
  const way = fresh(withoutJournal({ ...layout, permanent: active }), [
    adopt
      ? `slot ${active} was booted by hand: it is proven healthy and made permanent before slot ${otherSlot(active)} changes`
      : `slot ${active} is on trial for ${assignment.version}: it is proven and made permanent before slot ` +
        `${otherSlot(active)} changes`,
  ]);
  return withPreliminary(way, { kind: 'settle', assignment, adopt }, layout);
}

/** A slot that someone chose in the boot menu is, for the journal, a rollback to what it holds. */
function handBooted(layout: Layout): Assignment {
  return { ...here(layout), operation: 'rollback', version: layout.seen.osVersion, sha256: '' };
}

function resume(layout: Layout, journal: NodeJournal): Standing {
  const target = layout.slots[journal.target];
  const assignment = assignmentOf(journal);
  const way = (firstStep: Step, note: string): Standing => ({
    kind: 'way',
    firstStep,
    assignment,
    adopt: false,
    notes: [note],
  });
  const holds = target.record !== undefined && target.recordHolds && target.version === journal.version;
  if (journal.phase === 'verified' && target.content === 'bootable' && (journal.operation === 'rollback' || holds)) {
    return way('drain', `slot ${journal.target} was verified in an earlier run`);
  }
  const again = fresh(layout, [
    journal.phase === 'verified' ? 'its other slot changed after it was verified' : 'an earlier run began here',
  ]);
  return again.kind === 'way' ? { ...again, assignment } : again;
}

/** The whole way, from the first step that is not done for certain. */
function fresh(layout: Layout, notes: readonly string[]): Standing {
  const { active, seen, goal } = layout;
  const target = otherSlot(active);
  const findings = refuseTarget(layout, target);
  if (findings.length > 0) return { kind: 'blocked', findings, unclear: false };
  const isWritten = goal.operation === 'rollback' || hasWhole(layout, target);
  const firstStep = isWritten ? 'verify' : hasArtifact(layout) ? 'write' : 'stage';
  const assignment = {
    operation: goal.operation,
    version: goal.version,
    replaced: seen.osVersion,
    from: active,
    target,
    sha256: goal.sha256,
  };
  const told = hasVerified(layout, target)
    ? [...notes, `slot ${target} was written and verified in an earlier run`]
    : notes;
  return { kind: 'way', firstStep, assignment, adopt: false, notes: told };
}

// ------------------------------------------------------------------------------------------------------ helpers

const assignmentOf = ({ operation, version, replaced, from, target, sha256 }: NodeJournal): Assignment => ({
  operation,
  version,
  replaced,
  from,
  target,
  sha256,
});

const givenUp = (journal: NodeJournal): string =>
  `an unfinished ${journal.operation} to ${journal.version} (run ${journal.run}) is given up`;

const unclear = (what: string, next: string): Standing => ({
  kind: 'blocked',
  findings: [{ what, next }],
  unclear: true,
});

const shorten = (sha256: string): string => (sha256.length > 12 ? `${sha256.slice(0, 4)}…${sha256.slice(-4)}` : sha256);
