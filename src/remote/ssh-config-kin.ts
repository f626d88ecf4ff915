import { matchesAny } from './known-hosts.ts';
import type { Criterion, Item } from './ssh-config-tree.ts';

/**
 * Hosts of the same kin are told apart by nothing in these files: what `ssh -G` says of one, but for the name itself,
 * holds for all. So a fleet costs one process of about 10 ms, not one for each node.
 * @returns a name for the kin; undefined where only OpenSSH can tell, or what applies depends on the host's own name
 */
export function kinOf(name: string, trees: readonly (readonly Item[])[]): string | undefined {
  const kin: string[] = [];
  return trees.every((items) => follow(name, items, kin)) ? kin.join('') : undefined;
}

function follow(name: string, items: readonly Item[], kin: string[]): boolean {
  return items.every((item) => {
    if (item.kind === 'set') return !dependsOn(name, item);
    if (!item.criteria.every(isPlain)) return false;
    const applies = item.criteria.every(({ keyword, argument }) => keyword === 'all' || matchesAny(argument, name));
    kin.push(applies ? '1' : '0');
    return !applies || follow(name, item.items, kin);
  });
}

const isPlain = ({ keyword, negated }: Criterion): boolean => !negated && (keyword === 'all' || keyword === 'patterns');

// Tokens (`%h`) may stand for the name, a canonical name is looked for by asking DNS, and ssh refuses a host that is its
// own jump host.
function dependsOn(name: string, { key, value }: { key: string; value: string }): boolean {
  if (key === 'canonicalizehostname') return value.toLowerCase() !== 'no';
  return key === 'hostname' || value.includes('%') || (key === 'proxyjump' && value.includes(name));
}
