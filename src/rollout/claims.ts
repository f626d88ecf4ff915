import pLimit from 'p-limit';
import { ConnectError, KubeosError, LockLostError } from '../errors.ts';
import type { RolloutContext } from './context.ts';
import { despiteItsReboot, observeAll } from './gather.ts';
import type { Plan } from './plan-types.ts';

const CLAIMED_AT_ONCE = 64;
const MOST_ROUNDS = 3;

/**
 * Leaves the run's token on every selected node that can be reached, so that what a dead run left there is refused.
 * Where a node has seen a higher token than the lock's, the lock's is raised above it first.
 * @returns by node, why its token could not be left
 * @throws LockLostError where the lock is gone
 */
export async function claimNodes(context: RolloutContext): Promise<ReadonlyMap<string, KubeosError>> {
  const { plan, lock } = context;
  if ((plan.highestToken ?? 0) > lock.token) await lock.raiseAbove(plan.highestToken ?? 0);
  const failures = new Map<string, KubeosError>();
  let names = reachable(plan);
  for (let round = 1; names.length > 0 && round <= MOST_ROUNDS; round++) {
    const refused = await claimEach(context, names, failures);
    if (refused.length > 0 && round < MOST_ROUNDS) await raiseAboveWhatTheySaw(context, refused);
    names = refused;
  }
  if (names.length > 0) {
    throw new LockLostError('nodes keep seeing a newer lock than ours: another run is at work', {
      reason: names.join(', '),
      next: 'see which one: kubeos status',
    });
  }
  return failures;
}

/** All nodes that the plan could ask; a node that nobody could ask cannot be claimed either. */
const reachable = (plan: Plan): readonly string[] => [
  ...plan.entries.map(({ node }) => node),
  ...plan.already.map(({ node }) => node),
  ...plan.notStarted.filter(({ unreachable }) => !unreachable).map(({ node }) => node),
];

/** Resolves to the nodes that refused the token as too old. */
async function claimEach(
  context: RolloutContext,
  names: readonly string[],
  failures: Map<string, KubeosError>,
): Promise<readonly string[]> {
  const { ports, lock, options, view, early } = context;
  const limit = pLimit(CLAIMED_AT_ONCE);
  const refused: string[] = [];
  const claimOne = async (name: string): Promise<void> => {
    if (early.aborted) return;
    try {
      const node = view.get(name);
      const claim = (): Promise<void> => ports.remote.claim(node, { run: options.run, token: lock.token });
      await despiteItsReboot(ports.remote, node, early, claim);
    } catch (error) {
      if (error instanceof LockLostError) refused.push(name);
      else if (error instanceof KubeosError) failures.set(name, error);
      else throw error;
    }
  };
  const outcomes = await Promise.allSettled(names.map((name) => limit(() => claimOne(name))));
  early.throwIfAborted();
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  return refused;
}

async function raiseAboveWhatTheySaw(context: RolloutContext, names: readonly string[]): Promise<void> {
  const { ports, view, early, lock } = context;
  const seen = await observeAll(
    ports.remote,
    names.map((name) => view.get(name)),
    early,
  );
  const tokens = [...seen.values()].map((facts) => (facts instanceof Error ? 0 : facts.token));
  const highest = Math.max(0, ...tokens);
  if (highest > lock.token) await lock.raiseAbove(highest);
}

/** The node could not be reached or signed in to. */
export const isUnreachable = (error: unknown): boolean => error instanceof ConnectError;
