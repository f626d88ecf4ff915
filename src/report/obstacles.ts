import type { PlanEntry } from '../rollout/plan-types.ts';
import type { DrainObstacle } from '../rollout/ports.ts';
import { groupBy, someNames } from './groups.ts';
import { field, fields, hanging } from './layout.ts';
import type { Pen } from './pen.ts';
import { plural } from './text.ts';

/** What drains will wait for, as one footnote of the plan: the same budget with the same numbers, or the same hindrance. */
export interface Footnote {
  number: number;
  /** In the order of the plan. */
  nodes: readonly string[];
  obstacles: readonly DrainObstacle[];
}

/** All that the drains of a plan will wait for: one footnote for what is the same, whatever the number of pods and nodes. */
export function footnotes(entries: readonly PlanEntry[]): readonly Footnote[] {
  const met = entries.flatMap(({ node, drain }) => drain.obstacles.map((obstacle) => ({ node, obstacle })));
  return groupBy(met, ({ obstacle }) => JSON.stringify([obstacle.kind, obstacle.budget, obstacle.message])).map(
    (group, index) => ({
      number: index + 1,
      nodes: [...new Set(group.map(({ node }) => node))],
      obstacles: group.map(({ obstacle }) => obstacle),
    }),
  );
}

/** The mark in the plan's table: `4 pods`, or `8 pods, waits (1)(2)`. */
export function drainText({ node, drain }: PlanEntry, notes: readonly Footnote[]): string {
  const own = notes.filter(({ nodes }) => nodes.includes(node)).map(({ number }) => `(${number})`);
  return `${plural(drain.pods, 'pod')}${own.length > 0 ? `, waits ${own.join('')}` : ''}`;
}

const MOST_PODS = 3;
const MOST_REMEDIES = 3;

export function footnoteLines({ number, nodes, obstacles }: Footnote, pen: Pen): string[] {
  const [first] = obstacles;
  const remedies = [...new Set(obstacles.map(({ remedy }) => remedy))].slice(0, MOST_REMEDIES);
  const mark = `(${number}) `;
  return [
    ...hanging(mark, `${someNames(nodes, pen)}: ${podsText(obstacles, pen)}`, pen),
    ...fields([field('cause', first?.message), field('next', remedies)], mark.length + 2, pen),
  ];
}

/** `pod shop/db-1 of StatefulSet shop/db`, `3 pods of ReplicaSet shop/web-5d4f: shop/web-5d4f-a, …`. */
function podsText(obstacles: readonly DrainObstacle[], pen: Pen): string {
  const pods = [...new Set(obstacles.map(({ pod }) => pod))];
  const owners = [...new Set(obstacles.map(({ owner }) => owner))].filter((owner) => owner !== undefined);
  const of = owners.length === 0 ? '' : ` of ${someNames(owners, pen, MOST_PODS)}`;
  if (pods.length === 1) return `pod ${pods[0] ?? ''}${of}`;
  return `${pods.length} pods${of}: ${someNames(pods, pen, MOST_PODS)}`;
}
