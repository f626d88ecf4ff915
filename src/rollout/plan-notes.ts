import { isDown, whyDown } from './budget.ts';
import type { ClusterNode } from './facts.ts';
import type { NodeGoal } from './goal.ts';
import type { Finding, LiveRun, PlanEntry } from './plan-types.ts';
import type { LockState } from './ports.ts';
import type { Selection } from './selection.ts';
import { relationOf } from './versions.ts';

/** The run that holds the lock, with the nodes that bear its mark. @param liveLock missing where none is alive */
export function liveRunOf(liveLock: LockState | undefined, nodes: readonly ClusterNode[]): { liveRun?: LiveRun } {
  if (liveLock === undefined) return {};
  const { run, what, holder } = liveLock;
  const marked = nodes.flatMap(({ name, record }) => (record?.run === run ? [{ node: name, step: record.step }] : []));
  return { liveRun: { run, what, holder, nodes: marked } };
}

/** What the reader should know of the run as a whole: nodes that use up the budget, and a way back in versions. */
export function notesOn(
  selection: Selection,
  entries: readonly PlanEntry[],
  maxUnavailable: number,
  goal: NodeGoal | undefined,
): readonly Finding[] {
  const notes: Finding[] = [];
  const down = selection.addressed.filter(isDown);
  const planned = new Set(entries.filter((entry) => entry.alreadyDown).map(({ node }) => node));
  const eaters = down.filter(({ name }) => !planned.has(name));
  if (eaters.length > 0 && entries.length > 0) {
    const left = Math.max(0, maxUnavailable - eaters.length);
    notes.push({
      what: `${left} of the budget of ${maxUnavailable} is left: nodes that are down already are counted`,
      reason: eaters.map((node) => `${node.name} (${whyDown(node)})`).join(', '),
      ...(left > 0
        ? {}
        : { next: 'bring them back, or raise maxunavailable: nothing starts until then (--budget-wait)' }),
    });
  }
  const back = entries.filter(({ now, assignment }) => {
    return assignment.operation === 'upgrade' && relationOf(now, goal?.version ?? '') === 'downgrade';
  });
  if (back.length > 0) {
    notes.push({
      what: `${goal?.version ?? ''} is older than what runs on ${back.map(({ node }) => node).join(', ')}`,
    });
  }
  return notes;
}
