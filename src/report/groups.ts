import type { Pen } from './pen.ts';

const MOST_NAMES = 20;

/** `a, b, c`; of many names only the first, and how many more there are. */
export function someNames(names: readonly string[], pen: Pen, most = MOST_NAMES): string {
  if (names.length <= most) return names.join(', ');
  const shown = names.slice(0, most - 1);
  return `${shown.join(', ')} ${pen.symbols.ellipsis} and ${names.length - shown.length} more`;
}

/** Items with the same key together, in the order of the first of each: what many nodes share is said once. */
export function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): readonly (readonly [T, ...T[]])[] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return [...groups.values()];
}
