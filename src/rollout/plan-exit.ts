import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Plan } from './plan-types.ts';

/**
 * The exit code of `kubeos plan`, and of a run that this plan keeps from starting anything.
 * @param detailedExitcode changes to make are told by an exit code of their own
 */
export function exitForPlan(plan: Plan, detailedExitcode: boolean): ExitCode {
  if (plan.refusals.length > 0) return EXIT.refused;
  if (plan.entries.length > 0) {
    if (detailedExitcode) return EXIT.changesFound;
    return plan.notStarted.length > 0 ? EXIT.incomplete : EXIT.done;
  }
  if (plan.notStarted.length === 0) return EXIT.done;
  const nobodyAnswered = plan.already.length === 0 && plan.notStarted.every(({ unreachable }) => unreachable);
  return nobodyAnswered ? EXIT.unreachable : EXIT.refused;
}
