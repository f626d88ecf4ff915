import type { Finding, Plan } from './plan-types.ts';

/**
 * What is carried out once the lock is held: the cluster as it is now, within what was shown and agreed to. While
 * someone read the plan, or another run held the lock, nodes may have been changed.
 * @param shown the plan that was agreed to
 * @param fresh the same request, planned anew under the lock
 * @returns a plan that refuses where the goal has changed; a node that was not to be started is not in its entries
 */
export function withinAgreed(shown: Plan, fresh: Plan): Plan {
  if (fresh.refusals.length > 0) return fresh;
  // Without any node that answers, a rollback to what was before has no version.
  if (fresh.version !== '' && fresh.version !== shown.version)
    return { ...fresh, refusals: [otherVersion(shown, fresh)] };
  const agreed = new Set(shown.entries.map(({ node }) => node));
  const left = fresh.entries.filter(({ node }) => !agreed.has(node));
  const known = new Set([...fresh.entries, ...fresh.already, ...fresh.notStarted].map(({ node }) => node));
  const gone = shown.entries.filter(({ node }) => !known.has(node));
  return {
    ...fresh,
    version: shown.version,
    entries: fresh.entries.filter(({ node }) => agreed.has(node)),
    notStarted: [
      ...fresh.notStarted,
      ...left.map(({ node, now }) => ({ node, now, findings: findingsOn(shown, node), unreachable: false })),
      ...gone.map(({ node, now }) => ({ node, now, findings: [GONE], unreachable: false })),
    ],
  };
}

/** What changed on nodes while someone read the plan or another run held the lock, in words for the user. */
export function changesSince(shown: Plan, fresh: Plan): readonly { node: string; message: string }[] {
  const agreed = new Map(shown.entries.map((entry) => [entry.node, entry]));
  const known = new Set([...shown.entries, ...shown.notStarted].map(({ node }) => node));
  const changed: { node: string; message: string }[] = [];
  for (const { node, now } of fresh.already) {
    if (known.has(node)) changed.push({ node, message: `runs ${now} by now: nothing is left to do` });
  }
  for (const { node, firstStep } of fresh.entries) {
    const before = agreed.get(node);
    if (!known.has(node))
      changed.push({ node, message: 'needs the change only since the plan was shown: it is left as it is' });
    if (before !== undefined && before.firstStep !== firstStep) {
      changed.push({
        node,
        message: `goes on at ${firstStep}; when the plan was shown it stood at ${before.firstStep}`,
      });
    }
  }
  for (const { node, findings } of fresh.notStarted) {
    if (agreed.has(node))
      changed.push({ node, message: `cannot be started any more: ${findings[0]?.what ?? 'unknown'}` });
  }
  return changed;
}

/** A node that the plan showed as one that cannot be started stays so: its reason was what was agreed to. */
const findingsOn = (shown: Plan, node: string): readonly Finding[] =>
  shown.notStarted.find((other) => other.node === node)?.findings ?? [NEW];

const NEW: Finding = {
  what: 'it needs the change only since the plan was shown: nobody agreed to that',
  next: 'give the same command again: it plans anew',
};

const GONE: Finding = {
  what: 'the run no longer addresses it: the node or its labels changed since the plan was shown',
  next: 'if that is not meant, mend the labels, then give the same command again',
};

const otherVersion = (shown: Plan, fresh: Plan): Finding => ({
  what: `the nodes changed since the plan was shown: it would now lead to ${fresh.version}, not to ${shown.version}`,
  reason: 'another run, or a hand, was at work meanwhile',
  next: 'give the same command again, and look at its plan',
});
