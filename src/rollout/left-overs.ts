import { isMine } from './blockers.ts';
import { otherSlot, type ClusterNode, type NodeJournal, type NodeObservation } from './facts.ts';
import type { NodeGoal } from './goal.ts';
import type { Way } from './standing.ts';

/**
 * What an earlier run left on a node whose way is planned now, in its journal, its slots and its cordon: what of it
 * carries over, and what is done anew, each in words. Preflight tells of half a slot, half an image and a step that
 * still runs.
 */
export function leftOvers(node: ClusterNode, seen: NodeObservation, goal: NodeGoal, way: Way): readonly string[] {
  const journal = openJournal(seen);
  return [
    ...aboutJournal(journal, goal, way),
    ...aboutSlot(seen, journal, way),
    ...aboutArtifact(seen, goal, way),
    ...aboutCordon(node),
  ];
}

function openJournal({ journal }: NodeObservation): NodeJournal | undefined {
  return journal !== undefined && ['started', 'verified', 'armed', 'proven'].includes(journal.phase)
    ? journal
    : undefined;
}

/** Another goal's arming or trial; a given-up beginning is told by the way itself. */
function aboutJournal(journal: NodeJournal | undefined, goal: NodeGoal, { preliminary }: Way): readonly string[] {
  if (journal === undefined || isMine(journal, goal)) return [];
  const whose = `${journal.operation} to ${journal.version} (run ${journal.run})`;
  if (preliminary?.kind === 'disarm') {
    return [`slot ${journal.target} is armed by an unfinished ${whose}: it is disarmed first, and never booted`];
  }
  if (preliminary?.kind === 'close-fell-back') {
    return [
      `the trial of slot ${journal.target} by an unfinished ${whose} ended in slot ${journal.from}: that is recorded first`,
    ];
  }
  return [];
}

function aboutSlot(
  { active, slots }: NodeObservation,
  journal: NodeJournal | undefined,
  { assignment, firstStep }: Way,
): readonly string[] {
  const writes = assignment.operation === 'upgrade' && (firstStep === 'stage' || firstStep === 'write');
  if (!writes || active === undefined || slots === undefined) return [];
  const target = otherSlot(active);
  const { record } = slots[target];
  if (journal?.phase !== 'verified' || record === undefined || record.sha256 === assignment.sha256) return [];
  return [`slot ${target} holds ${record.version}, verified by that run and never booted: it is written over`];
}

function aboutArtifact({ artifact }: NodeObservation, goal: NodeGoal, { firstStep }: Way): readonly string[] {
  const isThere = goal.operation === 'upgrade' && artifact?.sha256 === goal.sha256 && firstStep === 'write';
  return isThere ? ['its image is on the node already: it is not fetched again'] : [];
}

function aboutCordon({ cordoned, record }: ClusterNode): readonly string[] {
  if (record?.cordon !== 'ours') return [];
  return cordoned
    ? [`run ${record.run} left it cordoned: that cordon is taken off at the end of its way`]
    : [`run ${record.run} had cordoned it, and somebody uncordoned it since`];
}
