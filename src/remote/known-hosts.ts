import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** One line of a known_hosts file (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export interface KnownHost {
  marker: 'none' | 'revoked' | 'cert-authority';
  /** Comma-separated patterns, or one hashed name `|1|salt|hash`. */
  names: string;
  type: string;
  key: Buffer;
  file: string;
  line: number;
}

export const DEFAULT_SSH_PORT = 22;

/** Reads a known_hosts file. Lines that say nothing (comments, mangled ones) are passed over, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): KnownHost[] {
  const entries: KnownHost[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const fields = raw.trim().split(/[ \t]+/);
    if (raw.trim() === '' || raw.trimStart().startsWith('#')) continue;
    const marker = markerOf(fields[0] ?? '');
    if (marker === undefined) continue;
    const [names, type, encoded] = marker === 'none' ? fields : fields.slice(1);
    if (names === undefined || type === undefined || encoded === undefined) continue;
    const key = Buffer.from(encoded, 'base64');
    // A key says its own type in its first field; where the two differ the line is mangled.
    if (keyTypeOf(key) !== type) continue;
    entries.push({ marker, names, type, key, file, line: index + 1 });
  }
  return entries;
}

/**
 * Finds the lines that speak of a host. Nearly all name hosts plainly: those are looked up, not searched, since a fleet
 * asks for each of its hosts.
 */
export class KnownHosts {
  readonly #plain = new Map<string, KnownHost[]>();
  /** Hashed names, and patterns. */
  readonly #others: KnownHost[] = [];

  constructor(entries: readonly KnownHost[]) {
    for (const entry of entries) {
      if (/[|*?!]/.test(entry.names)) this.#others.push(entry);
      else for (const name of new Set(entry.names.toLowerCase().split(','))) this.#add(name, entry);
    }
  }

  /** In the order of the file; `name` is as `hostKeyName` gives it. */
  about(name: string): KnownHost[] {
    const found = [...(this.#plain.get(name) ?? []), ...this.#others.filter((entry) => speaksOf(entry, name))];
    return found.sort((one, other) => one.line - other.line);
  }

  #add(name: string, entry: KnownHost): void {
    const before = this.#plain.get(name);
    if (before === undefined) this.#plain.set(name, [entry]);
    else before.push(entry);
  }
}

/** Does this line speak of the host? `name` is as `hostKeyName` gives it. */
export function speaksOf(entry: KnownHost, name: string): boolean {
  if (entry.names.startsWith('|')) return matchesHash(entry.names, name);
  let matched = false;
  for (const pattern of entry.names.toLowerCase().split(',')) {
    if (pattern.startsWith('!')) {
      if (matchesPattern(pattern.slice(1), name)) return false;
    } else if (matchesPattern(pattern, name)) {
      matched = true;
    }
  }
  return matched;
}

/** How known_hosts names a host: `name`, or `[name]:port` off the standard port; lower case. */
export function hostKeyName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === DEFAULT_SSH_PORT ? name : `[${name}]:${String(port)}`;
}

/** The line that remembers a key. `hashed` hides the name, as HashKnownHosts does. */
export function knownHostLine(name: string, key: Buffer, hashed: boolean): string {
  return `${hashed ? hashName(name, randomBytes(20)) : name} ${keyTypeOf(key) ?? 'unknown'} ${key.toString('base64')}`;
}

/** `SHA256:…`, as ssh and ssh-keygen print it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type that a public key states of itself (RFC 4253, 6.6); undefined where it is none. */
export function keyTypeOf(key: Buffer): string | undefined {
  if (key.length < 4) return undefined;
  const length = key.readUInt32BE(0);
  return length > 0 && length <= 64 && key.length >= 4 + length ? key.toString('latin1', 4, 4 + length) : undefined;
}

function markerOf(field: string): KnownHost['marker'] | undefined {
  if (!field.startsWith('@')) return 'none';
  if (field === '@revoked') return 'revoked';
  return field === '@cert-authority' ? 'cert-authority' : undefined;
}

function hashName(name: string, salt: Buffer): string {
  const hash = createHmac('sha1', salt).update(name).digest('base64');
  return `|1|${salt.toString('base64')}|${hash}`;
}

function matchesHash(names: string, name: string): boolean {
  const [, version, salt, hash] = names.split('|');
  if (version !== '1' || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** Whether a list of patterns speaks of a text: one that is denied and met outweighs every other (ssh_config(5), PATTERNS). */
export function matchesAny(patterns: readonly string[], text: string): boolean {
  const denied = patterns.some((pattern) => pattern.startsWith('!') && matchesPattern(pattern.slice(1), text));
  return !denied && patterns.some((pattern) => !pattern.startsWith('!') && matchesPattern(pattern, text));
}

/** `*` and `?` are the only wildcards; brackets are ordinary characters here (ssh_config(5), PATTERNS). */
export function matchesPattern(pattern: string, name: string): boolean {
  if (!/[*?]/.test(pattern)) return pattern === name;
  let p = 0;
  let n = 0;
  let star = -1;
  let resume = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
