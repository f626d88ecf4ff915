import type { PlanEntry } from './plan-types.ts';
import { isAhead } from './steps.ts';

/**
 * Only the end of its way is left, and a run that died left it so: on trial, where its dead man's clock runs, or still
 * cordoned after its commit or its fall-back. It is out of service until it is finished.
 */
export const isFinishing = ({ firstStep, adopt }: PlanEntry): boolean => !isAhead(firstStep) && !adopt;

/**
 * The entries in the order in which they go: those that give service back first. What is left to be finished; nodes that
 * are down already, whose way takes no service from anyone, and of them first those with nothing left to evict, since the
 * drains of the others may wait for them; then the rest. The first that are not finished only are the canaries, less as
 * many as are on trial already.
 */
export function inTurn(entries: readonly PlanEntry[], canary: number): readonly PlanEntry[] {
  const sorted = [...entries].sort((one, other) => rank(one) - rank(other));
  const finishing = sorted.filter(isFinishing);
  const alone = finishing.length + Math.max(0, canary - finishing.filter(isOnTrial).length);
  return sorted.map((entry, index) => ({ ...entry, canary: index >= finishing.length && index < alone }));
}

/** Its trial is still to be judged. */
export const isOnTrial = (entry: PlanEntry): boolean => isFinishing(entry) && entry.firstStep !== 'uncordon';

function rank(entry: PlanEntry): number {
  if (isFinishing(entry)) return 0;
  if (!entry.alreadyDown) return 3;
  return entry.drain.pods === 0 ? 1 : 2;
}
