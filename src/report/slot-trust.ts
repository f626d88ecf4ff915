import type { PlanEntry, SlotTrust } from '../rollout/plan-types.ts';
import { groupBy, someNames } from './groups.ts';
import type { Pen } from './pen.ts';

/** What vouches for the slots that a rollback leads to; nodes are named where it is not the same for all. */
export function slotTrust(entries: readonly PlanEntry[], pen: Pen): string[] {
  const told = entries.flatMap(({ node, assignment: { target }, trust }) =>
    trust === undefined ? [] : [{ node, what: `${target} ${inWords(trust)}` }],
  );
  const groups = groupBy(told, ({ what }) => what);
  return groups.map((same) => {
    const names = same.map(({ node }) => node);
    const where = groups.length === 1 ? '' : `${someNames(names, pen)}: `;
    return `${where}${same[0].what}`;
  });
}

function inWords({ basis, verifiedAt, changed }: SlotTrust): string {
  const when = verifiedAt === undefined ? '' : ` on ${verifiedAt.slice(0, 10)}`;
  if (basis === 'recorded digest') {
    return changed === true
      ? `was verified${when}, but was written to since: the recorded digest decides`
      : `was verified${when}, its digest is recorded`;
  }
  return when === ''
    ? 'was never verified by kubeos: its content decides (kernel, initramfs, tools, OS version)'
    : `was judged by its content${when}${changed === true ? ', but was written to since' : ''}: no digest is recorded`;
}
