import pLimit from 'p-limit';
import { ConnectError, KubeosError, LockLostError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { RolloutContext } from './context.ts';
import { despiteItsReboot, observeAll } from './gather.ts';
import type { Plan } from './plan-types.ts';
import { isBelievable } from './tokens.ts';

const CLAIMED_AT_ONCE = 64;
const MOST_ROUNDS = 3;

/**
 * Leaves the run's token on every selected node that can be reached, so that what a dead run left there is refused.
 * Where a node has seen a higher token than the lock's, the lock's is raised above it first.
 * @returns by node, why its token could not be left
 * @throws LockLostError where the lock is gone
 */
export async function claimNodes(context: RolloutContext): Promise<ReadonlyMap<string, KubeosError>> {
  const { plan, lock, view } = context;
  const base = lock.token;
  const failures = new Map<string, KubeosError>();
  const marked = reachable(plan).map((name) => ({ name, token: view.find(name)?.record?.token ?? 0 }));
  const believed = believe(marked, base, failures, BY_ANNOTATION);
  const planned = plan.highestToken ?? 0;
  const highest = Math.max(isBelievable(planned, base) ? planned : 0, ...believed.map(({ token }) => token));
  if (highest > lock.token) await lock.raiseAbove(highest);
  let names: readonly string[] = believed.map(({ name }) => name);
  for (let round = 1; names.length > 0 && round <= MOST_ROUNDS; round++) {
    const refused = await claimEach(context, names, failures);
    const last = round === MOST_ROUNDS;
    names = refused.length === 0 || last ? refused : await raiseAboveWhatTheySaw(context, refused, base, failures);
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

/** Resolves to the nodes that can be claimed now. */
async function raiseAboveWhatTheySaw(
  context: RolloutContext,
  names: readonly string[],
  base: number,
  failures: Map<string, KubeosError>,
): Promise<readonly string[]> {
  const { ports, view, early, lock } = context;
  const seen = await observeAll(
    ports.remote,
    names.map((name) => view.get(name)),
    early,
  );
  const tokens = [...seen].map(([name, facts]) => ({ name, token: facts instanceof Error ? 0 : facts.token }));
  const believed = believe(tokens, base, failures, BY_NODE);
  const highest = Math.max(0, ...believed.map(({ token }) => token));
  if (highest > lock.token) await lock.raiseAbove(highest);
  return believed.map(({ name }) => name);
}

interface Seen {
  name: string;
  token: number;
}

/** @returns those whose token a run can have left there; what is wrong with the others is added to the failures */
function believe(
  seen: readonly Seen[],
  held: number,
  failures: Map<string, KubeosError>,
  errorOf: (seen: Seen, held: number) => KubeosError,
): readonly Seen[] {
  for (const one of seen) if (!isBelievable(one.token, held)) failures.set(one.name, errorOf(one, held));
  return seen.filter(({ name }) => !failures.has(name));
}

const BY_NODE = ({ name, token }: Seen, held: number): KubeosError =>
  new KubeosError(`it says that it has seen the lock token ${token}, which no run can have had`, EXIT.incomplete, {
    node: name,
    reason: `the lock's is ${held}; the node's stands in ${TOKEN_FILE}`,
    next: `find out who wrote that, then remove ${TOKEN_FILE} on the node and give the same command again`,
  });

const BY_ANNOTATION = ({ name, token }: Seen, held: number): KubeosError =>
  new KubeosError(`its annotation has the lock token ${token}, which no run can have had`, EXIT.incomplete, {
    node: name,
    reason: `the lock's is ${held}`,
    next: `find out who wrote that, then remove it: kubectl annotate node ${name} ${RECORD_ANNOTATION}-`,
  });

const TOKEN_FILE = '/persist/kubeos/token';
const RECORD_ANNOTATION = 'kubeos.openeuler.org/rollout';

/** The node could not be reached or signed in to. */
export const isUnreachable = (error: unknown): boolean => error instanceof ConnectError;
