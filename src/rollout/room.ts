import type { NodeObservation } from './facts.ts';
import type { RolloutRequest } from './goal.ts';
import type { Look } from './look.ts';

/** As stage.sh: what must be left beside the image, and stream.sh: what must be there for the lists of a tar. */
export const MARGIN_BYTES = 10 * 1024 * 1024;

/** For the image in /persist: what an earlier run left there is gone on with, or makes room. */
export const roomOf = ({ freeBytes, preflight, artifact }: NodeObservation): number =>
  freeBytes + (preflight?.partBytes ?? 0) + (artifact?.bytes ?? 0);

/** The image does not fit into /persist; not where nobody told how big it is. */
export function isTooSmall(seen: NodeObservation, look: Look | undefined): boolean {
  const size = look?.seen?.sizeBytes;
  return size !== undefined && roomOf(seen) < size + MARGIN_BYTES;
}

/**
 * The node's slot is written while the image arrives, for whoever has not got it: what the slot held is given up before it
 * is known whether all of the image comes.
 */
export function isStreamed(
  seen: NodeObservation,
  { image, ways }: Pick<RolloutRequest, 'image' | 'ways'>,
  look?: Look,
): boolean {
  if (image?.type !== 'disk' || ways?.stream === undefined) return false;
  return ways.stream === 'always' || isTooSmall(seen, look);
}
