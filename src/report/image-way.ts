import type { PlanEntry } from '../rollout/plan-types.ts';
import { someNames } from './groups.ts';
import type { Pen } from './pen.ts';

const VIAS = {
  curl: 'curl on the node',
  wget: 'wget on the node',
  ssh: 'SSH from this machine, which fetches it once',
} as const;

/** How the image comes to the nodes that have not got it. */
export function ways(entries: readonly PlanEntry[], pen: Pen): string[] {
  const all = entries.filter(({ via }) => via !== undefined);
  return (['curl', 'wget', 'ssh'] as const).flatMap((via) => {
    const nodes = all.filter((entry) => entry.via === via).map(({ node }) => node);
    if (nodes.length === 0) return [];
    return [nodes.length === all.length ? VIAS[via] : `${VIAS[via]}: ${someNames(nodes, pen)}`];
  });
}

/** For whom this machine decompresses the image. */
export function decompressed(entries: readonly PlanEntry[], pen: Pen): string[] {
  const [by] = entries.flatMap(({ decompress }) => decompress ?? []);
  if (by === undefined) return [];
  const nodes = entries.filter(({ decompress }) => decompress !== undefined).map(({ node }) => node);
  return [`decompressed on this machine by ${by}: ${someNames(nodes, pen)} cannot`];
}

/** Whose slots are written while the image arrives. */
export function streams(entries: readonly PlanEntry[], pen: Pen): string | undefined {
  const nodes = entries.filter(({ stream }) => stream === true).map(({ node }) => node);
  if (nodes.length === 0) return undefined;
  const whose = nodes.length === 1 ? 'the slot is' : 'the slots are';
  return `${someNames(nodes, pen)}: ${whose} written while the image arrives; what is there is given up first, even if the image proves incomplete or wrong`;
}
