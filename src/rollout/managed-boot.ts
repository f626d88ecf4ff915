import type { NodeObservation } from './facts.ts';
import type { RolloutRequest } from './goal.ts';
import type { Finding } from './plan-types.ts';
import { rebootAhead, type Way } from './standing.ts';

/** The node's trial will go by the managed boot: one is asked for, or there already, and can be made. */
export function isManaged(
  way: Way,
  { managedBoot }: NodeObservation,
  request: Pick<RolloutRequest, 'managedBoot'>,
): boolean {
  if (!armsAhead(way) || managedBoot === undefined || managedBoot.problem !== undefined) return false;
  return request.managedBoot || managedBoot.state !== 'no';
}

/** Why a managed boot that is asked for cannot be made. */
export function managedBootErrors(
  way: Way,
  { managedBoot }: NodeObservation,
  request: Pick<RolloutRequest, 'managedBoot'>,
): readonly Finding[] {
  if (!request.managedBoot || !armsAhead(way) || managedBoot?.problem === undefined) return [];
  return [
    {
      what: 'no managed boot can be made on it',
      reason: managedBoot.problem,
      next: 'mend that, or upgrade it without --managed-boot',
    },
  ];
}

/** What is armed already stays as it was armed. */
const armsAhead = ({ firstStep }: Way): boolean => rebootAhead(firstStep) && firstStep !== 'reboot';
