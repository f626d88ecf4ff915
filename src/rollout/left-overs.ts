import { isMine } from './blockers.ts';
import { otherSlot, type ClusterNode, type NodeJournal, type NodeObservation, type NodeRecord } from './facts.ts';
import type { NodeGoal } from './goal.ts';
import { rebootAhead, type Standing, type Way } from './standing.ts';
import { formatBytes } from './units.ts';

/**
 * What an earlier run left on a node whose way is planned now, in its journal, its slots, /persist, its annotation and
 * its cordon: what of it carries over, and what is done anew, each in words.
 */
export function leftOvers(
  node: ClusterNode,
  seen: NodeObservation,
  goal: NodeGoal,
  standing: Standing,
): readonly string[] {
  if (standing.kind !== 'way') return [];
  const journal = openJournal(seen);
  // What is armed or on trial is brought to its end, whatever else lies there.
  const begins = rebootAhead(standing.firstStep) && standing.firstStep !== 'reboot';
  return [
    ...aboutJournal(journal, goal, standing),
    ...aboutSlot(seen, journal, standing),
    ...aboutArtifact(seen, goal, standing),
    ...aboutCordon(node),
    ...(begins ? [...aboutRecord(node.record, seen, goal), ...aboutDetached(seen)] : []),
    ...(begins ? [...aboutImages(seen, standing), ...aboutHalfSlot(seen, goal, standing)] : []),
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

/** The annotation of a run with another goal, where no journal tells of that run already. */
function aboutRecord(record: NodeRecord | undefined, { journal }: NodeObservation, goal: NodeGoal): readonly string[] {
  if (record === undefined || journal?.run === record.run) return [];
  if (record.operation === goal.operation && record.version === goal.version) return [];
  return [`run ${record.run} left it at ${record.step} (${record.operation} to ${record.version}): it is taken over`];
}

const aboutDetached = ({ detached }: NodeObservation): readonly string[] =>
  detached?.running === true
    ? [`a ${detached.step} of an earlier run still runs there, detached: it is gone on with, or ended`]
    : [];

function aboutImages({ artifact, preflight }: NodeObservation, { firstStep, assignment }: Way): readonly string[] {
  if (firstStep !== 'stage') return [];
  const part = preflight?.partBytes ?? 0;
  const lacked = artifact?.sha256 === assignment.sha256 ? artifact.lacks : undefined;
  return [
    ...(lacked === undefined ? [] : [`its image lies there compressed, and it has no ${lacked}: it comes anew`]),
    ...(artifact !== undefined && artifact.sha256 !== assignment.sha256
      ? [`another image lies in /persist/KubeOS-Update (${formatBytes(artifact.bytes)}): it is replaced`]
      : []),
    ...(part > 0
      ? [`${formatBytes(part)} of an unfinished download lie there: gone on with where they are of this image`]
      : []),
  ];
}

function aboutHalfSlot({ active, slots }: NodeObservation, { operation }: NodeGoal, way: Way): readonly string[] {
  if (active === undefined || operation !== 'upgrade') return [];
  const target = otherSlot(active);
  if (slots?.[target].content !== 'dirty') return [];
  return way.firstStep === 'verify'
    ? [`slot ${target} was given the whole image as it arrived: it is read back`]
    : [`slot ${target} was written to and never verified: it is written anew`];
}
