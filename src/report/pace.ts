import type { Plan } from '../rollout/plan-types.ts';
import { isOnTrial } from '../rollout/turns.ts';
import { plural } from './text.ts';
import { bytes } from './units.ts';

/** In which turns the nodes of a plan go, on one line. */
export function pace(plan: Plan): string {
  const canaries = plan.entries.filter((entry) => entry.canary).map((entry) => entry.node);
  const onTrial = plan.entries.filter(isOnTrial).length;
  return [
    `${plan.maxUnavailable} at a time`,
    ...(onTrial > 0 ? ['what is on trial for this version goes first, all at once'] : []),
    ...(canaries.length > 0 && plan.entries.length > 1
      ? [`${canaries.join(', ')} ${canaryTurn(canaries, onTrial)}`]
      : []),
    ...(plan.writeAfterDrain ? ['the slot is written after the drain'] : []),
    ...(plan.writeRate === undefined ? [] : [`slots are written with ${bytes(plan.writeRate)}/s at most`]),
    plan.maxFailures === 0 ? 'failures do not stop it' : `stop after ${plural(plan.maxFailures, 'failure')}`,
  ].join('; ');
}

function canaryTurn(canaries: readonly string[], onTrial: number): string {
  const when = onTrial > 0 ? 'then' : 'first';
  return canaries.length === 1 ? `goes ${when}, alone` : `go ${when}, one at a time`;
}
