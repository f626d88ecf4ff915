/** Every field of a spec that KubeOS knows, from its first version to 1.0.8 (its CRD, upgrade.openeuler.org_os.yaml). */
export const SPEC_FIELDS = [
  'imagetype',
  'opstype',
  'osversion',
  'maxunavailable',
  'dockerimage',
  'containerimage',
  'imageurl',
  'checksum',
  'flagSafe',
  'mtls',
  'cacert',
  'clientcert',
  'clientkey',
  'evictpodforce',
  'nodeselector',
  'timewindow',
  'timeinterval',
  'executionmode',
  'sysconfigs',
  'upgradeconfigs',
] as const;
export type SpecField = (typeof SPEC_FIELDS)[number];

export const isSpecField = (name: string): name is SpecField => (SPEC_FIELDS as readonly string[]).includes(name);

/** Other tools' words for the same thing. */
const ALSO_CALLED: ReadonlyMap<string, string> = new Map([
  ['version', 'osversion'],
  ['url', 'imageurl'],
  ['sha256', 'checksum'],
  ['digest', 'checksum'],
  ['insecure', 'flagSafe'],
  ['operation', 'opstype'],
  ['concurrency', 'maxunavailable'],
  ['cafile', 'cacert'],
]);

/** The one of `names` that was likely meant: the same but for case and separators, a typo away, or the only one in it. */
export function likelyMeant<T extends string>(word: string, names: readonly T[]): T | undefined {
  const plain = plainForm(word);
  if (plain.length < 2 || plain.length > LONGEST_WORD) return undefined;
  const same = names.find((name) => plainForm(name) === plain);
  if (same !== undefined) return same;
  const other = ALSO_CALLED.get(plain);
  return names.find((name) => name === other) ?? nearest(plain, names) ?? onlyContaining(plain, names);
}

const LONGEST_WORD = 40;

const plainForm = (word: string): string => word.toLowerCase().replace(/[-_. ]/g, '');

function nearest<T extends string>(plain: string, names: readonly T[]): T | undefined {
  const allowed = plain.length <= 4 ? 1 : 2;
  const near = names
    .map((name) => ({ name, distance: editDistance(plain, plainForm(name)) }))
    .filter(({ distance }) => distance <= allowed)
    .sort((one, other) => one.distance - other.distance);
  return near[0]?.distance === near[1]?.distance && near.length > 1 ? undefined : near[0]?.name;
}

function onlyContaining<T extends string>(plain: string, names: readonly T[]): T | undefined {
  if (plain.length < 4) return undefined;
  const containing = names.filter((name) => plainForm(name).includes(plain) || plain.includes(plainForm(name)));
  return containing.length === 1 ? containing[0] : undefined;
}

/** How many letters must be added, dropped, changed or swapped with their neighbour to make one word the other. */
function editDistance(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const changed = one[row - 1] === other[column - 1] ? 0 : 1;
      const swapped = row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      const candidates = [at(last, column) + 1, at(current, column - 1) + 1, at(last, column - 1) + changed];
      if (swapped) candidates.push(at(beforeLast, column - 2) + 1);
      current.push(Math.min(...candidates));
    }
    beforeLast = last;
    last = current;
  }
  return at(last, other.length);
}

const at = (row: readonly number[], column: number): number => row[column] ?? 0;
