import pLimit from 'p-limit';
import { ConnectError, type KubeosError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { RolloutPorts, RunSignals } from './context.ts';
import type { ClusterNode, NodeJournal, NodeObservation, Slot } from './facts.ts';
import { fenced } from './fenced.ts';
import { observeAll } from './gather.ts';
import { troubleOf } from './node-ends.ts';
import type { Finding } from './plan-types.ts';
import type { Cluster, HeldLock, LockRequest, Remote } from './ports.ts';
import { emptySelection, selectNodes, type SelectionOptions } from './selection.ts';
import { isBelievable } from './tokens.ts';
import { takeLock } from './use-cases.ts';

/** One node of a `kubeos node reset-boot`, before it is done. */
export interface BootResetEntry {
  node: string;
  /** The OS version that it runs. */
  now: string;
  /** `take out`; `none`: it has no managed boot; `blocked`: why stands in `finding`. */
  does: 'take out' | 'none' | 'blocked';
  finding?: Finding;
  unreachable: boolean;
}

/** Which nodes lose their managed boot. */
export interface BootResetPlan {
  entries: readonly BootResetEntry[];
  /** The highest lock token that one of them has seen. */
  highestToken: number;
  /** Why no node is meant. */
  nobody?: Finding;
}

/** How it ended on a node. */
export interface BootResetNode {
  node: string;
  now: string;
  outcome: 'taken out' | 'nothing to do' | 'not done';
  what?: string;
  reason?: string;
  next?: string;
  unreachable: boolean;
}

export interface BootResetResult {
  run: string;
  exitCode: ExitCode;
  nodes: readonly BootResetNode[];
}

/** Asks the nodes that are meant. Changes nothing. @throws UsageError for a selection that cannot be meant */
export async function planBootReset(
  { cluster, remote }: { cluster: Cluster; remote: Remote },
  selection: SelectionOptions,
  signal: AbortSignal,
): Promise<BootResetPlan> {
  const chosen = selectNodes(await cluster.nodes(signal), selection);
  const seen = await observeAll(remote, chosen.selected, signal);
  const nobody = emptySelection(chosen);
  const tokens = [...seen.values()].map((one) => (one instanceof Error ? 0 : one.token));
  return {
    entries: chosen.selected.map((node) => entryOf(node, seen.get(node.name))),
    highestToken: Math.max(0, ...tokens),
    ...(nobody === undefined ? {} : { nobody }),
  };
}

/** The plan changes at least one node. */
export const resetsAny = ({ entries }: BootResetPlan): boolean => entries.some(({ does }) => does === 'take out');

function entryOf(node: ClusterNode, seen: NodeObservation | KubeosError | undefined): BootResetEntry {
  const { name } = node;
  if (seen === undefined || seen instanceof Error) {
    const finding = seen === undefined ? { what: 'it was not asked' } : findingOf(seen);
    return { node: name, now: node.osImage, does: 'blocked', finding, unreachable: seen instanceof ConnectError };
  }
  const finding = whatForbids(seen);
  const base = { node: name, now: seen.osVersion, unreachable: false };
  if (finding !== undefined) return { ...base, does: 'blocked', finding };
  return { ...base, does: (seen.managedBoot?.state ?? 'no') === 'no' ? 'none' : 'take out' };
}

function whatForbids({ unsupported, bootEnv, journal, journalProblem }: NodeObservation): Finding | undefined {
  if (unsupported !== undefined) return { what: 'kubeos cannot work on it', reason: unsupported.message };
  if (journalProblem !== undefined) return { what: 'whether it is on trial cannot be told', reason: journalProblem };
  if (bootEnv?.problem !== undefined) {
    return { what: 'its boot environment cannot be trusted', reason: bootEnv.problem };
  }
  const target = triedSlot(journal) ?? bootEnv?.next;
  if (target === undefined) return undefined;
  return {
    what: `the trial of its slot ${target} has not ended`,
    next: 'bring it to its end first: give the command again that began it (kubeos status)',
  };
}

/** As reset-boot.sh. */
function triedSlot(journal: NodeJournal | undefined): Slot | undefined {
  if (journal === undefined) return undefined;
  const { phase, armedBootId, target } = journal;
  const isOpen = phase === 'verified' || phase === 'proven';
  return phase === 'armed' || (isOpen && armedBootId !== '') ? target : undefined;
}

/** Takes the managed boot out of the nodes, under the lock. Nothing that goes wrong on a node makes it reject. */
export async function carryOutBootReset(
  ports: RolloutPorts,
  plan: BootResetPlan,
  request: Pick<LockRequest, 'holder' | 'waitMs' | 'run'>,
  signals: RunSignals,
): Promise<BootResetResult> {
  const lock = await takeLock(ports, { ...request, what: 'managed boot taken out (node reset-boot)' }, signals);
  try {
    if (plan.highestToken > lock.token && isBelievable(plan.highestToken, lock.token)) {
      await lock.raiseAbove(plan.highestToken);
    }
    const all = await ports.cluster.nodes(signals.graceful);
    const limit = pLimit(CHANGED_AT_ONCE);
    const change = (entry: BootResetEntry): Promise<BootResetNode> =>
      limit(() => resetOne(fenced(ports, lock, signals.graceful), lock, request.run, all, entry, signals));
    const nodes = await Promise.all(plan.entries.map(change));
    return { run: request.run, exitCode: exitFor(nodes, signals.graceful.aborted), nodes };
  } finally {
    await lock.release();
  }
}

const CHANGED_AT_ONCE = 16;

/** The result of a plan that changes nothing, or was not agreed to. */
export function bootResetWithoutWork(run: string, { entries }: BootResetPlan, declined: boolean): BootResetResult {
  const nodes = entries.map((entry) =>
    entry.does === 'take out'
      ? notDone(entry, { what: 'the question was answered with no', next: 'give the same command again' })
      : settled(entry),
  );
  return { run, nodes, exitCode: declined ? EXIT.refused : exitFor(nodes, false) };
}

async function resetOne(
  { remote }: RolloutPorts,
  lock: HeldLock,
  run: string,
  all: readonly ClusterNode[],
  entry: BootResetEntry,
  { graceful }: RunSignals,
): Promise<BootResetNode> {
  if (entry.does !== 'take out') return settled(entry);
  const node = all.find(({ name }) => name === entry.node);
  if (node === undefined) return notDone(entry, { what: 'it was deleted from the cluster' });
  if (graceful.aborted) return notDone(entry, { what: 'interrupted', next: 'give the same command again' });
  try {
    const { removed } = await remote.resetBoot(node, { run, token: lock.token });
    return { ...baseOf(entry), outcome: removed ? 'taken out' : 'nothing to do' };
  } catch (error) {
    return { ...notDone(entry, findingOf(error)), unreachable: error instanceof ConnectError };
  }
}

function findingOf(error: unknown): Finding {
  const { what, reason, next } = troubleOf(error);
  return { what, ...(reason === undefined ? {} : { reason }), ...(next === undefined ? {} : { next }) };
}

const settled = (entry: BootResetEntry): BootResetNode =>
  entry.finding === undefined ? { ...baseOf(entry), outcome: 'nothing to do' } : notDone(entry, entry.finding);

const notDone = (entry: BootResetEntry, { what, reason, next }: Finding): BootResetNode => ({
  ...baseOf(entry),
  outcome: 'not done',
  what,
  ...(reason === undefined ? {} : { reason }),
  ...(next === undefined ? {} : { next }),
});

const baseOf = ({ node, now, unreachable }: BootResetEntry): Pick<BootResetNode, 'node' | 'now' | 'unreachable'> => ({
  node,
  now,
  unreachable,
});

function exitFor(nodes: readonly BootResetNode[], interrupted: boolean): ExitCode {
  if (interrupted) return EXIT.interrupted;
  const left = nodes.filter(({ outcome }) => outcome === 'not done');
  if (left.length === 0) return nodes.length === 0 ? EXIT.refused : EXIT.done;
  if (left.length < nodes.length) return EXIT.incomplete;
  return left.every(({ unreachable }) => unreachable) ? EXIT.unreachable : EXIT.refused;
}
