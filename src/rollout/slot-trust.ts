import type { NodeObservation, SlotFacts } from './facts.ts';
import type { SlotTrust } from './plan-types.ts';
import { recordedTime } from './recorded-time.ts';
import { rebootAhead, type Standing } from './standing.ts';

/**
 * What vouches for the slot that a rollback leads to, as far as the node's record tells before verify reads the slot.
 * Missing for an upgrade, which verifies what it writes, and for a node that is armed or on trial.
 */
export function trustPart(standing: Standing, { slots }: NodeObservation): { trust?: SlotTrust } {
  if (standing.kind !== 'way' || !rebootAhead(standing.firstStep) || standing.firstStep === 'reboot') return {};
  const { operation, target } = standing.assignment;
  const slot = slots?.[target];
  return operation !== 'rollback' || slot === undefined ? {} : { trust: trustIn(slot) };
}

function trustIn({ record, contentJudgedAt, recordHolds }: SlotFacts): SlotTrust {
  const basis = record === undefined ? 'content only' : 'recorded digest';
  const at = record?.verifiedAt ?? contentJudgedAt;
  if (at === undefined) return { basis };
  const verifiedAt = recordedTime(at);
  return { basis, ...(verifiedAt === undefined ? {} : { verifiedAt }), ...(recordHolds ? {} : { changed: true }) };
}
