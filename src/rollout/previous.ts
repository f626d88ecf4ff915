import { otherSlot, type ClusterNode, type NodeJournal, type NodeObservation } from './facts.ts';
import type { Finding } from './plan-types.ts';
import { UNKNOWN_VERSION } from './standing.ts';
import { compareNatural, relationOf } from './versions.ts';

/** A node of the run that could be observed. */
export interface ObservedNode {
  node: ClusterNode;
  seen: NodeObservation;
}

/** The one version that a rollback without a spec leads to, or why there is none. */
export type Previous = { version: string } | { refusals: readonly Finding[] };

/**
 * What `rollback --to-previous` means for these nodes: the version that the latest rollout in their journals replaced;
 * where that was a rollback, the version it led to, so that a completed one given again changes nothing, and one that
 * died goes on to the same end. Without any journal: what the other slots hold, where it is older.
 */
export function previousVersion(nodes: readonly ObservedNode[]): Previous {
  const latest = latestRollout(nodes);
  if (latest?.operation === 'rollback') return { version: latest.version };
  if (latest === undefined) return fromOtherSlots(nodes);
  const replaced = tally(
    nodes.filter(({ seen }) => seen.journal?.operation === 'upgrade' && seen.journal.version === latest.version),
    ({ seen }) => seen.journal?.replaced ?? UNKNOWN_VERSION,
  );
  const [version, ...others] = replaced.keys();
  if (others.length > 0) {
    return disagree(`the journals disagree about what the upgrade to ${latest.version} replaced`, replaced);
  }
  return version === undefined || version === UNKNOWN_VERSION || version === '' ? fromOtherSlots(nodes) : { version };
}

/**
 * What `rollback --to-other-slot` means: whatever the other slots hold, one version for all; a run that died goes on
 * to the version that it had set out for, as long as a node is left that could go there. Once all have, the rollback is
 * complete, and the same command flips them back.
 */
export function otherSlotVersion(nodes: readonly ObservedNode[]): Previous {
  const unfinished = newest(rollbackRecords(nodes)) ?? unfinishedJournal(nodes);
  if (unfinished !== undefined) return { version: unfinished.version };
  const held = tally(nodes.filter(hasOther), (node) => otherVersion(node) ?? UNKNOWN_VERSION);
  return oneOf(nodes, held);
}

/** A run that was stopped took its annotations off again: then only the journals of the nodes that it reached tell. */
function unfinishedJournal(nodes: readonly ObservedNode[]): Mark | undefined {
  const latest = latestRollout(nodes);
  if (latest?.operation !== 'rollback') return undefined;
  const left = nodes.some(
    (node) => node.seen.osVersion !== latest.version && hasOther(node) && otherVersion(node) === latest.version,
  );
  return left ? latest : undefined;
}

interface Mark {
  token: number;
  operation: NodeJournal['operation'];
  version: string;
}

/** The rollout with the highest token, of the journals and of the rollbacks that the cluster's annotations tell of. */
function latestRollout(nodes: readonly ObservedNode[]): Mark | undefined {
  const journals = nodes.flatMap(({ seen }) => (seen.journal === undefined ? [] : [seen.journal]));
  return newest([...journals, ...rollbackRecords(nodes)]);
}

const rollbackRecords = (nodes: readonly ObservedNode[]): readonly Mark[] =>
  nodes.flatMap(({ node }) => (node.record?.operation === 'rollback' ? [node.record] : []));

const newest = (marks: readonly Mark[]): Mark | undefined =>
  marks.reduce<Mark | undefined>(
    (best, mark) => (best === undefined || mark.token > best.token ? mark : best),
    undefined,
  );

function fromOtherSlots(nodes: readonly ObservedNode[]): Previous {
  const candidates = nodes.filter(hasOther);
  const unclear = candidates.filter(
    (node) => relationOf(node.seen.osVersion, otherVersion(node) ?? '') !== 'downgrade',
  );
  if (unclear.length > 0) {
    return {
      refusals: [
        {
          what: 'no journal says what the previous version was, and the other slot does not hold an older one',
          reason: list(
            tally(unclear, (node) => `${node.seen.osVersion}, other slot ${otherVersion(node) ?? 'unknown'}`),
          ),
          next: 'to go there nevertheless: kubeos rollback --to-other-slot (narrowed by --nodes, if need be)',
        },
      ],
    };
  }
  return oneOf(
    nodes,
    tally(candidates, (node) => otherVersion(node) ?? UNKNOWN_VERSION),
  );
}

function oneOf(nodes: readonly ObservedNode[], held: ReadonlyMap<string, readonly string[]>): Previous {
  const [version, ...others] = held.keys();
  if (others.length > 0) return disagree('the other slots hold different versions', held);
  if (version !== undefined && version !== UNKNOWN_VERSION) return { version };
  return {
    refusals: [
      {
        what: 'there is no previous system to go back to',
        reason: list(tally(nodes, whyNothing)),
        next: 'bring the nodes to the version by its image: kubeos upgrade -f SPEC',
      },
    ],
  };
}

function disagree(what: string, found: ReadonlyMap<string, readonly string[]>): Previous {
  const next = 'roll back one group at a time: narrow the run with --nodes or --selector';
  return { refusals: [{ what, reason: list(found), next }] };
}

/** The other slot holds something that can boot. */
const hasOther = ({ seen }: ObservedNode): boolean =>
  seen.active !== undefined && seen.slots?.[otherSlot(seen.active)].content === 'bootable';

const otherVersion = ({ seen }: ObservedNode): string | undefined =>
  seen.active === undefined ? undefined : seen.slots?.[otherSlot(seen.active)].version;

function whyNothing({ seen }: ObservedNode): string {
  if (seen.active === undefined || seen.slots === undefined) return seen.unsupported?.message ?? 'slots unknown';
  const slot = otherSlot(seen.active);
  const { content, problem } = seen.slots[slot];
  return `slot ${slot} is ${content}${problem === undefined ? '' : `: ${problem}`}`;
}

/** Node names by what was found on them. */
function tally(
  nodes: readonly ObservedNode[],
  found: (node: ObservedNode) => string,
): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const entry of [...nodes].sort((a, b) => compareNatural(a.node.name, b.node.name))) {
    const key = found(entry);
    groups.set(key, [...(groups.get(key) ?? []), entry.node.name]);
  }
  return groups;
}

const list = (found: ReadonlyMap<string, readonly string[]>): string =>
  [...found].map(([what, names]) => `${names.join(', ')}: ${what}`).join('\n');
