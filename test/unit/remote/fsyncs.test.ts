import { expect, it } from 'vitest';
import { MUTANTS, NOT_TOLD, SCRIPT_NAMES, textOf } from '../../vm/mutants.ts';

/** What forces something to the disk; not the names of tools that are asked for, nor ctr's own `--sync`. */
const FORCES = /\bfsync\b|(?<!-)\bsync(_path|_file_system)?\b/;

it('every fsync of the node scripts is one that the power cuts of the virtual machines must miss, or has a reason', () => {
  const known = [...MUTANTS, ...NOT_TOLD].map(({ take }) => take);
  const seen = new Set<string>();
  const strangers: string[] = [];
  for (const name of SCRIPT_NAMES) {
    let text = textOf(name);
    for (const take of known) {
      const pieces = text.split(take);
      if (pieces.length > 2 || (pieces.length === 2 && seen.has(take))) strangers.push(`more than once: ${take}`);
      if (pieces.length === 2) seen.add(take);
      text = pieces.join('');
    }
    for (const line of text.split('\n')) {
      if (
        /^\s*(#|need |NEEDED_TOOLS=|sync_\w+\(\))/.test(line) ||
        /^\tif sync_takes_paths; then sync( -f)? "\$1" 2>\/dev\/null; else sync; fi$/.test(line) ||
        line.includes('if sync -f "$KUBEOS_ROOT/run" ')
      )
        continue;
      if (FORCES.test(line)) strangers.push(`${name}.sh: ${line.trim()}`);
    }
  }
  expect(strangers).toEqual([]);
  expect(known.filter((take) => !seen.has(take))).toEqual([]);
});
