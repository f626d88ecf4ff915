import { mkdir, open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConnectError } from '../errors.ts';
import {
  DEFAULT_SSH_PORT,
  fingerprint,
  hostKeyName,
  keyTypeOf,
  knownHostLine,
  parseKnownHosts,
  speaksOf,
  type KnownHost,
} from './known-hosts.ts';
import { quote } from './quote.ts';

/** The host whose key is judged. */
export interface HostKeySubject {
  /** What is dialled. */
  address: string;
  port: number;
  /** Every name that known_hosts may have it under, as `hostKeyName` writes them; a new key is added under the first. */
  names: readonly string[];
  /** The same names without their port, where the port is not the standard one. */
  portlessNames: readonly string[];
  /** known_hosts files in order; a new key goes to the first. */
  files: readonly string[];
  acceptNew: boolean;
  /** Write the name hashed. */
  hashed: boolean;
  /** ssh-keyscan can ask for the key: not behind a jump host, not known under an alias. */
  scannable: boolean;
}

type Verdict =
  | { kind: 'known' }
  | { kind: 'unknown'; authority: KnownHost | undefined }
  | { kind: 'changed'; entries: readonly KnownHost[] }
  | { kind: 'revoked'; entry: KnownHost };

/** Judges host keys by known_hosts files, and adds to them where first keys are to be trusted. Safe in parallel. */
export class HostKeys {
  readonly #cache = new Map<string, { mark: string; entries: readonly KnownHost[] }>();
  readonly #notice: (message: string) => void;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(notice: (message: string) => void) {
    this.#notice = notice;
  }

  /** The key types that are known for this host: what it should be asked to show first. */
  async knownTypes(subject: HostKeySubject): Promise<ReadonlySet<string>> {
    const entries = await this.#entriesOf(subject);
    return new Set(entries.filter(({ marker }) => marker === 'none').map(({ type }) => type));
  }

  /** Resolves to why the key is refused; undefined where it may be trusted. */
  async refusal(subject: HostKeySubject, key: Buffer): Promise<ConnectError | undefined> {
    let verdict = judge(await this.#entriesOf(subject), key);
    if (verdict.kind === 'unknown' && subject.acceptNew) verdict = await this.#acceptNew(subject, key);
    switch (verdict.kind) {
      case 'known':
        return undefined;
      case 'unknown':
        return unknownKey(subject, key, verdict.authority);
      case 'changed':
        return changedKey(subject, key, verdict.entries);
      case 'revoked':
        return revokedKey(subject, key, verdict.entry);
    }
  }

  // Judged again once it is this one's turn: another connection, or another process, may have added the host meanwhile.
  #acceptNew(subject: HostKeySubject, key: Buffer): Promise<Verdict> {
    const turn = this.#writing.then(async (): Promise<Verdict> => {
      const verdict = judge(await this.#entriesOf(subject), key);
      const file = subject.files[0];
      if (verdict.kind !== 'unknown' || file === undefined) return verdict;
      await appendLine(file, knownHostLine(nameOf(subject), key, subject.hashed));
      this.#notice(`new host key of ${nameOf(subject)} trusted: ${describeKey(key)}, added to ${file}`);
      return { kind: 'known' };
    });
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  async #entriesOf(subject: HostKeySubject): Promise<KnownHost[]> {
    const all = (await Promise.all(subject.files.map((file) => this.#read(file)))).flat();
    // A key that is known for the name without its port is good for any port, but another one there proves nothing:
    // several servers may share an address (sshd(8) and ssh behave so).
    return all.flatMap((entry) => {
      if (subject.names.some((name) => speaksOf(entry, name))) return [entry];
      return subject.portlessNames.some((name) => speaksOf(entry, name)) ? [{ ...entry, portless: true }] : [];
    });
  }

  async #read(file: string): Promise<readonly KnownHost[]> {
    const info = await stat(file).catch(() => undefined);
    if (!info?.isFile()) return [];
    const mark = `${String(info.ino)} ${String(info.mtimeMs)} ${String(info.size)}`;
    const cached = this.#cache.get(file);
    if (cached?.mark === mark) return cached.entries;
    const entries = parseKnownHosts(await readFile(file, 'utf8'), file);
    this.#cache.set(file, { mark, entries });
    return entries;
  }
}

function judge(entries: readonly (KnownHost & { portless?: boolean })[], key: Buffer): Verdict {
  const same = entries.filter((entry) => entry.key.equals(key));
  const revoked = same.find(({ marker }) => marker === 'revoked');
  if (revoked !== undefined) return { kind: 'revoked', entry: revoked };
  if (same.some(({ marker }) => marker === 'none')) return { kind: 'known' };
  const others = entries.filter(({ marker, portless }) => marker === 'none' && portless !== true);
  if (others.length > 0) return { kind: 'changed', entries: others };
  return { kind: 'unknown', authority: entries.find(({ marker }) => marker === 'cert-authority') };
}

// One write of a whole line to a file opened for appending: two writers cannot mix their lines.
async function appendLine(file: string, line: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(file, 'a+', 0o600);
    try {
      const { size } = await handle.stat();
      const last = Buffer.alloc(1);
      if (size > 0) await handle.read(last, 0, 1, size - 1);
      const separator = size === 0 || last.toString() === '\n' ? '' : '\n';
      await handle.write(`${separator}${line}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new ConnectError(`the new host key cannot be written to ${file}`, 'host-key-unknown', {
      reason: error instanceof Error ? error.message : String(error),
      next: 'make the file writable, or name another one: --known-hosts FILE',
      cause: error,
    });
  }
}

function unknownKey(subject: HostKeySubject, key: Buffer, authority: KnownHost | undefined): ConnectError {
  const file = quote(subject.files[0] ?? '~/.ssh/known_hosts');
  const name = nameOf(subject);
  const port = subject.port === DEFAULT_SSH_PORT ? '' : `-p ${String(subject.port)} `;
  const command = subject.scannable
    ? `ssh-keyscan -t ${scanType(key)} ${port}${subject.address} >> ${file}`
    : `echo ${quote(knownHostLine(name, key, false))} >> ${file}`;
  const why =
    authority === undefined
      ? ''
      : `\n${place(authority)} trusts a certificate authority for it (@cert-authority); kubeos can use plain host keys only`;
  return new ConnectError(`the SSH host key of ${name} is not known`, 'host-key-unknown', {
    reason: `offered: ${describeKey(key)}${why}`,
    next: `compare it with the node's console, then:\n  ${command}\nor trust first contact: --accept-new-host-keys`,
  });
}

function changedKey(subject: HostKeySubject, key: Buffer, entries: readonly KnownHost[]): ConnectError {
  const known = entries.map((entry) => `known:   ${describeKey(entry.key)} (${place(entry)})`);
  const commands = new Set(
    entries.flatMap((entry) =>
      subject.names
        .filter((name) => speaksOf(entry, name))
        .map((name) => `ssh-keygen -R ${quote(name)} -f ${quote(entry.file)}`),
    ),
  );
  return new ConnectError(`the SSH host key of ${nameOf(subject)} has changed`, 'host-key-changed', {
    reason: [
      `offered: ${describeKey(key)}`,
      ...known,
      'either the node was set up anew, or someone is in between',
    ].join('\n'),
    next: `compare it with the node's console; only if it is right, forget the old key:\n${[...commands].map((c) => `  ${c}`).join('\n')}`,
  });
}

function revokedKey(subject: HostKeySubject, key: Buffer, entry: KnownHost): ConnectError {
  return new ConnectError(`the SSH host key of ${nameOf(subject)} is revoked`, 'host-key-changed', {
    reason: `offered: ${describeKey(key)}, marked @revoked in ${place(entry)}`,
    next: 'give the node a new host key, then add that one to known_hosts',
  });
}

function nameOf(subject: HostKeySubject): string {
  return subject.names[0] ?? hostKeyName(subject.address, subject.port);
}

function describeKey(key: Buffer): string {
  return `${keyTypeOf(key) ?? 'a key of no type'} ${fingerprint(key)}`;
}

function place(entry: KnownHost): string {
  return `${entry.file}:${String(entry.line)}`;
}

// ssh-keyscan -t takes families, not the names in the key itself.
function scanType(key: Buffer): string {
  const type = keyTypeOf(key) ?? '';
  if (type.startsWith('ecdsa-')) return 'ecdsa';
  return type === 'ssh-rsa' ? 'rsa' : 'ed25519';
}
