/** How the way from one OS version to another is called. `unknown`: at least one of the two has no order we know. */
export type Relation = 'upgrade' | 'downgrade' | 'same' | 'unknown';

interface Version {
  /** What stands before the number: `KubeOS`; empty where there is nothing. */
  name: string;
  numbers: readonly bigint[];
  /** What follows the numbers, without its separator: `rc1` of `1.0.0-rc1`. */
  suffix: string;
}

/**
 * Orders two OS versions such as `KubeOS 1.10.2`, number by number.
 * @returns below 0, 0 or above 0, or undefined where they cannot be compared (another name, no number, a suffix whose
 *   order nobody has defined); never throws
 */
export function compareVersions(left: string, right: string): number | undefined {
  if (left === right) return 0;
  const a = parse(left);
  const b = parse(right);
  if (a === undefined || b === undefined) return undefined;
  // The prefix `KubeOS` is often left out by hand, so only two different names are two different things.
  if (a.name !== '' && b.name !== '' && a.name !== b.name) return undefined;
  return compareNumbers(a.numbers, b.numbers) || compareSuffixes(a.suffix, b.suffix);
}

/** The first number of an OS version, as text without leading zeros; undefined where there is none. */
export const majorOf = (version: string): string | undefined => parse(version)?.numbers[0]?.toString();

/** What going from one version to the other is. */
export function relationOf(from: string, to: string): Relation {
  const order = compareVersions(from, to);
  if (order === undefined) return 'unknown';
  if (order === 0) return 'same';
  return order < 0 ? 'upgrade' : 'downgrade';
}

// The length is bounded so that no text from a cluster can make a slow number.
const FORM = /^(?:(\S(?:.*\S)?)\s+)?[vV]?(\d+(?:\.\d+)*)(?:[-+~_.]?([A-Za-z0-9][A-Za-z0-9.+~_-]*))?$/;

function parse(text: string): Version | undefined {
  if (text.length > 200) return undefined;
  const match = FORM.exec(text.trim());
  if (match === null) return undefined;
  const [, name = '', numbers = '', suffix = ''] = match;
  return { name, numbers: numbers.split('.').map(BigInt), suffix };
}

function compareNumbers(a: readonly bigint[], b: readonly bigint[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const left = a[i] ?? 0n;
    const right = b[i] ?? 0n;
    if (left !== right) return left < right ? -1 : 1;
  }
  return 0;
}

const PRE_RELEASE = /^(?:alpha|beta|dev|pre|rc|snapshot)/i;

/** A pre-release comes before its release (semver's rule); other suffixes have an order only among themselves. */
function compareSuffixes(a: string, b: string): number | undefined {
  if (a === b) return 0;
  const aPre = PRE_RELEASE.test(a);
  const bPre = PRE_RELEASE.test(b);
  if (a === '') return bPre ? 1 : undefined;
  if (b === '') return aPre ? -1 : undefined;
  return aPre === bPre ? compareNatural(a, b) : undefined;
}

const collator = new Intl.Collator('en', { numeric: true });

/** Orders names as people do: `worker-2` before `worker-10`. */
export const compareNatural = (a: string, b: string): number => collator.compare(a, b) || (a < b ? -1 : a > b ? 1 : 0);
