import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { NodeResult } from './events.ts';
import type { Finding, Plan } from './plan-types.ts';
import type { Outcome } from './steps.ts';

/** How a run ended, apart from its nodes. */
export interface RunEnd {
  interrupted: boolean;
  lockLost: boolean;
}

/** The ends that count as failures, for --max-failures and for people. */
export const FAILURES: ReadonlySet<Outcome> = new Set(['failed', 'fell back', 'needs hands']);

/** The ends that a run leads to. */
export const GOOD_ENDS: ReadonlySet<Outcome> = new Set(['upgraded', 'rolled back', 'already there']);

/** The exit code of a run; where several fit: 130, 6, 5, 3. */
export function exitForResults(results: readonly NodeResult[], end: RunEnd): ExitCode {
  const has = (outcome: NodeResult['outcome']): boolean => results.some((result) => result.outcome === outcome);
  if (end.interrupted) return EXIT.interrupted;
  if (has('needs hands')) return EXIT.needsHands;
  if (has('fell back')) return EXIT.fellBack;
  if (has('failed') || has('interrupted') || end.lockLost) return EXIT.incomplete;
  if (!has('not started')) return EXIT.done;
  if (has('upgraded') || has('rolled back')) return EXIT.incomplete;
  const notStarted = results.filter(({ outcome }) => outcome === 'not started');
  const nobodyAnswered = !has('already there') && notStarted.every(({ unreachable }) => unreachable);
  return nobodyAnswered ? EXIT.unreachable : EXIT.refused;
}

/** The results of the nodes that a plan leaves alone. */
export const resultsOfPlan = (plan: Plan): readonly NodeResult[] => [
  ...plan.already.map(({ node, now }): NodeResult => ({ ...untouched(node, now), outcome: 'already there' })),
  ...plan.notStarted.map(({ node, now, findings, unreachable }) => notStarted(node, now, findings, unreachable)),
];

/** The result of a node that was not started. */
export function notStarted(
  node: string,
  now: string,
  [first, ...more]: readonly Finding[],
  unreachable: boolean,
): NodeResult {
  const reason = [first?.reason, ...more.map(({ what }) => what)].filter((text) => text !== undefined).join('\n');
  return {
    ...untouched(node, now),
    outcome: 'not started',
    what: first?.what ?? 'it was not started',
    ...(reason === '' ? {} : { reason }),
    next: first?.next ?? 'give the same command again',
    unreachable,
  };
}

const untouched = (node: string, now: string): Omit<NodeResult, 'outcome'> => ({
  node,
  from: now,
  now,
  logTail: [],
  tookMs: 0,
  unreachable: false,
});
