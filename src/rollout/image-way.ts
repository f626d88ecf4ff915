import type { ClusterNode, NodeObservation } from './facts.ts';
import type { RolloutRequest } from './goal.ts';
import type { Look } from './look.ts';
import type { PlanEntry } from './plan-types.ts';
import { decompressedHere } from './decompress.ts';
import { isStreamed } from './room.ts';
import type { Standing } from './standing.ts';
import { viaOf } from './via.ts';

/** How the image comes to a node that has not got it, as the plan says it; nothing for any other node. */
export function imageWay(
  standing: Standing,
  node: ClusterNode,
  seen: NodeObservation,
  { request, look }: { request: RolloutRequest; look?: Look },
): Pick<PlanEntry, 'via' | 'stream' | 'decompress'> {
  if (standing.kind !== 'way' || standing.firstStep !== 'stage' || request.image?.type !== 'disk') return {};
  const decompress = decompressedHere({ seen, request, look });
  const via = decompress === undefined ? viaOf(seen, request.ways, look?.noWay.has(node.name)) : 'ssh';
  if (via === undefined) return {};
  return {
    via,
    ...(decompress === undefined ? {} : { decompress }),
    ...(isStreamed(seen, request, look) ? { stream: true } : {}),
  };
}
