import { accessSync, constants, statSync } from 'node:fs';
import { UsageError } from '../errors.ts';
import { likelyMeant } from '../validate/names.ts';
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

const RATE_UNITS: Readonly<Record<string, number>> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** Slower than this an image of any size takes days. */
const SLOWEST_RATE = 32 * 1024;

/**
 * `500K`, `10M`, `1G` or a bare number as bytes a second.
 * @throws UsageError
 */
export function parseRate(text: string): number {
  const [, count = '', unit = ''] = /^(\d{1,9})([KMG]?)$/i.exec(text) ?? [];
  const rate = Number(count) * (RATE_UNITS[unit.toUpperCase()] ?? 0);
  if (count === '') throw new UsageError(`${quoted(text)} is no rate`, { next: 'write it like 500K, 10M or 1G' });
  if (rate < SLOWEST_RATE)
    throw new UsageError(`${quoted(text)} is too slow for an image`, { next: 'give 32K at least' });
  return rate;
}

/** The URL of an HTTP proxy; its text is never shown, since it may hold a password. */
export function parseProxy(text: string): string {
  const next = 'write it like http://proxy.example:3128';
  if (!URL.canParse(text)) throw new UsageError('the proxy is no URL', { next });
  const { protocol, pathname } = new URL(text);
  if (protocol !== 'http:' || pathname !== '/' || /[\s\p{Cc}]/u.test(text))
    throw new UsageError('the proxy is no plain http:// URL', { next });
  return text;
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

/**
 * The path of a file that can be read. It is not opened: a pipe, as `<(…)` makes one, can be read only once.
 * @throws UsageError
 */
export function parseReadableFile(text: string): string {
  const reason = whyUnreadable(underHome(text));
  if (reason !== undefined)
    throw new UsageError(`${text} cannot be read`, { reason, next: 'name one that can be, or leave it out' });
  return text;
}

/** One more private key. A public half alone is enough, where an agent has the private one. */
export function parseIdentity(text: string, before: readonly string[] = []): readonly string[] {
  const reason = whyUnreadable(underHome(text));
  if (reason !== undefined && whyUnreadable(`${underHome(text)}.pub`) !== undefined) {
    throw new UsageError(`${text} cannot be read`, {
      reason,
      next: 'name a private key, or leave it out: ssh_config and the agent are used then',
    });
  }
  return [...before, text];
}

function whyUnreadable(file: string): string | undefined {
  try {
    accessSync(file, constants.R_OK);
    return statSync(file).isDirectory() ? 'it is a folder' : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

// A variable is not expanded by a shell.
const underHome = (file: string): string => file.replace(/^~(?=\/)/, process.env['HOME'] ?? '');

/** `a,b` as a list; the flag may also be given several times. */
export function parseNames(text: string, before: readonly string[] = []): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.includes(''))
    throw new UsageError(`${quoted(text)} holds an empty name`, { next: 'separate names by one comma: a,b' });
  return [...before, ...names];
}

/** One of a few words. */
export const oneOf =
  (words: readonly string[]) =>
  (text: string): string => {
    if (words.includes(text)) return text;
    const meant = likelyMeant(text, words);
    throw new UsageError(`${quoted(text)} is none of these: ${words.join(', ')}`, {
      ...(meant === undefined ? {} : { next: `did you mean ${meant}?` }),
    });
  };

/** A spec's file. A command has one: of two, one would be left out, and nobody told. @throws UsageError */
export function parseSpecFile(text: string, before?: string): string {
  if (text === '') {
    throw new UsageError('"" is no file', { next: 'give the path of the spec, or - to read standard input' });
  }
  if (before !== undefined) {
    throw new UsageError(`${quoted(before)} and ${quoted(text)} are two specs`, {
      next: 'give one -f; to check or roll out several, one command for each',
    });
  }
  return text;
}

/** One more value of a flag that may be given several times. */
export const collect = (text: string, before: readonly string[] = []): readonly string[] => [...before, text];

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80));
