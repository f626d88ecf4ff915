import { UsageError } from '../errors.ts';
import { JUMP_FORM, parseJump, type JumpHost } from '../remote/jump-hosts.ts';

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

/**
 * `90s`, `10m`, `1h30m` or `0` as milliseconds; 0 means for ever. A bare number other than 0 is refused, since people
 * and tools disagree whether it means seconds or milliseconds.
 * @throws UsageError
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  if (!/^(?:\d+h)?(?:\d+m)?(?:\d+s)?$/.test(text) || text === '') {
    throw new UsageError(`${quoted(text)} is not a duration`, {
      next: 'write it like 90s, 10m or 1h30m; 0 waits for ever',
    });
  }
  return [...text.matchAll(/(\d+)([hms])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0),
    0,
  );
}

/** A whole number of at least `least`. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^-?\d{1,9}$/.test(text) || value < least) {
      throw new UsageError(`${quoted(text)} is not a whole number of at least ${least}`);
    }
    return value;
  };
}

/** A TCP port. */
export function parsePort(text: string): number {
  const port = wholeNumber(1)(text);
  if (port > 65_535) throw new UsageError(`${quoted(text)} is not a port: 65535 is the highest`);
  return port;
}

/** The jump hosts on the way to every node, as `ssh -J` takes them. */
export function parseJumpHosts(text: string): readonly JumpHost[] {
  const hops = parseJump(text);
  if (hops === undefined) throw new UsageError(`${quoted(text)} names no jump hosts`, { next: `write ${JUMP_FORM}` });
  return hops;
}

/** `a,b` as a list; the flag may also be given several times. */
export function parseNames(text: string, before: readonly string[] = []): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes(''))
    throw new UsageError(`${quoted(text)} holds an empty name`, { next: 'separate names by one comma: a,b' });
  return [...before, ...names];
}

/** One more value of a flag that may be given several times. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));
