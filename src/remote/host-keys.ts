import { open, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConnectError } from '../errors.ts';
import { makeFolders } from '../make-folders.ts';
import {
  DEFAULT_SSH_PORT,
  fingerprint,
  keyTypeOf,
  KnownHosts,
  knownHostLine,
  parseKnownHosts,
  speaksOf,
  type KnownHost,
} from './known-hosts.ts';
import { quote } from './quote.ts';

/** The host whose key is judged. */
export interface HostKeySubject {
  /** What it is to its user, in words. */
  role: 'node' | 'jump host';
  /** What is dialled. */
  address: string;
  port: number;
  /** The names that known_hosts may have it under, as `hostKeyName` writes them: the first that it has decides. */
  names: readonly string[];
  /** The same names without their port, in the same order, where the port is not the standard one. */
  portlessNames: readonly string[];
  /** The name that it is shown by, and that a new key is added under. */
  addedAs: string;
  /** known_hosts files in order; a new key goes to the first. */
  files: readonly string[];
  acceptNew: boolean;
  /** ssh_config says StrictHostKeyChecking no: that is treated as accept-new, with a warning. */
  neverStrict?: boolean;
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

/** Lines that speak of one of a host's names; `portless`: of that name without its port. */
type Group = readonly (KnownHost & { portless: boolean })[];

/** What known_hosts says of a host as its connection begins. */
export interface KnownKeys {
  /** The types of its keys: what it should be asked to show first. */
  types: ReadonlySet<string>;
  groups: readonly Group[];
}

/** Judges host keys by known_hosts files, and adds to them where first keys are to be trusted. Safe in parallel. */
export class HostKeys {
  readonly #cache = new Map<string, { mark: string; hosts: KnownHosts }>();
  readonly #notice: (message: string) => void;
  /** The key by which each host was trusted last in this run. */
  readonly #trusted = new Map<string, Buffer>();
  /** Files that keep nothing, as /dev/null -> what would stand in them: it counts for this run. */
  readonly #unkept = new Map<string, string>();
  readonly #unread = new Set<string>();
  #warned = false;
  #writing: Promise<unknown> = Promise.resolve();

  constructor(notice: (message: string) => void) {
    this.#notice = notice;
  }

  /** Asked before the host shows its key. */
  async lookUp(subject: HostKeySubject): Promise<KnownKeys> {
    const groups = await this.#groupsOf(subject);
    const plain = groups.map((group) => group.filter(({ marker }) => marker === 'none'));
    return { groups, types: new Set(plain.find((group) => group.length > 0)?.map(({ type }) => type)) };
  }

  /**
   * Resolves to why the key is refused; undefined where it may be trusted.
   * @param known what was looked up a moment ago: a key that was not known then may have been added since
   */
  async refusal(subject: HostKeySubject, key: Buffer, known?: KnownKeys): Promise<ConnectError | undefined> {
    this.#warnOf(subject);
    let verdict = judge(known?.groups ?? [], key);
    if (verdict.kind !== 'known') verdict = judge(await this.#groupsOf(subject), key);
    if (verdict.kind === 'unknown' && subject.acceptNew) verdict = await this.#acceptNew(subject, key);
    const keeps = (file: string) => !this.#unkept.has(file);
    switch (verdict.kind) {
      case 'known':
        this.#trusted.set(subject.addedAs, key);
        return undefined;
      case 'unknown':
        return unknownKey(subject, key, verdict.authority, keeps);
      case 'changed':
        return changedKey(subject, key, verdict.entries, keeps, this.#trusted.get(subject.addedAs));
      case 'revoked':
        return revokedKey(subject, key, verdict.entry);
    }
  }

  #warnOf({ neverStrict }: HostKeySubject): void {
    if (neverStrict !== true || this.#warned) return;
    this.#warned = true;
    this.#notice(
      'StrictHostKeyChecking no is treated as accept-new: a first host key is trusted and remembered, a changed one is refused',
    );
  }

  // Judged again once it is this one's turn: another connection, or another process, may have added the host meanwhile.
  #acceptNew(subject: HostKeySubject, key: Buffer): Promise<Verdict> {
    const turn = this.#writing.then(async (): Promise<Verdict> => {
      const verdict = judge(await this.#groupsOf(subject), key);
      const file = subject.files[0];
      if (verdict.kind !== 'unknown' || file === undefined) return verdict;
      const line = knownHostLine(subject.addedAs, key, subject.hashed);
      const unkept = this.#unkept.get(file);
      if (unkept === undefined) {
        await appendLine(file, line);
        this.#notice(`new host key of ${subject.addedAs} trusted: ${describeKey(key)}, added to ${file}`);
      } else {
        this.#unkept.set(file, `${unkept}${line}\n`);
        this.#notice(`new host key of ${subject.addedAs} trusted for this run: ${describeKey(key)}`);
      }
      return { kind: 'known' };
    });
    this.#writing = turn.catch(() => undefined);
    return turn;
  }

  async #groupsOf(subject: HostKeySubject): Promise<Group[]> {
    const files = await Promise.all(subject.files.map((file) => this.#read(file)));
    // A key that is known for the name without its port is good for any port, but another one there proves nothing:
    // several servers may share an address (sshd(8) and ssh behave so).
    return subject.names.map((name, index) =>
      files.flatMap((file): Group => {
        const own = file.about(name);
        const portless = subject.portlessNames[index];
        const others = portless === undefined ? [] : file.about(portless).filter((entry) => !own.includes(entry));
        return [
          ...own.map((entry) => ({ ...entry, portless: false })),
          ...others.map((entry) => ({ ...entry, portless: true })),
        ];
      }),
    );
  }

  // One that cannot be read counts as empty, as with OpenSSH.
  async #read(file: string): Promise<KnownHosts> {
    try {
      const info = await stat(file);
      if (!info.isFile()) return this.#readUnkept(file, info.isDirectory());
      const mark = `${String(info.ino)} ${String(info.mtimeMs)} ${String(info.size)}`;
      const cached = this.#cache.get(file);
      if (cached?.mark === mark) return cached.hosts;
      const hosts = new KnownHosts(parseKnownHosts(await readFile(file, 'utf8'), file));
      this.#cache.set(file, { mark, hosts });
      return hosts;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const isMissing = code === 'ENOENT' || code === 'ENOTDIR';
      if (!isMissing && !this.#unread.has(file)) {
        this.#unread.add(file);
        this.#notice(`${file} is not read: ${message}`);
      }
      return new KnownHosts([]);
    }
  }

  #readUnkept(file: string, isDirectory: boolean): KnownHosts {
    const text = this.#unkept.get(file) ?? '';
    if (!isDirectory) this.#unkept.set(file, text);
    return new KnownHosts(parseKnownHosts(text, file));
  }
}

// A revoked key is refused under whatever name; for the rest the first name decides that is known.
function judge(groups: readonly Group[], key: Buffer): Verdict {
  const all = groups.flat();
  const revoked = all.find((entry) => entry.marker === 'revoked' && entry.key.equals(key));
  if (revoked !== undefined) return { kind: 'revoked', entry: revoked };
  for (const group of groups) {
    const plain = group.filter(({ marker }) => marker === 'none');
    if (plain.some((entry) => entry.key.equals(key))) return { kind: 'known' };
    const others = plain.filter(({ portless }) => !portless);
    if (others.length > 0) return { kind: 'changed', entries: others };
  }
  return { kind: 'unknown', authority: all.find(({ marker }) => marker === 'cert-authority') };
}

// One write of a whole line to a file opened for appending: two writers cannot mix their lines.
async function appendLine(file: string, line: string): Promise<void> {
  try {
    makeFolders(dirname(file), 0o700);
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
      next: 'make the file readable and writable, or name another one: --known-hosts FILE',
      cause: error,
    });
  }
}

type Keeps = (file: string) => boolean;

function unknownKey(
  subject: HostKeySubject,
  key: Buffer,
  authority: KnownHost | undefined,
  keeps: Keeps,
): ConnectError {
  const why =
    authority === undefined
      ? ''
      : `\n${place(authority)} trusts a certificate authority for it (@cert-authority); kubeos can use plain host keys only`;
  const file = fileOf(subject);
  const add = keeps(file)
    ? `compare it with ${consoleOf(subject)}, then:\n  ${addCommand(subject, key)}`
    : `name a file to add it to, since ${file} keeps no key: --known-hosts FILE`;
  return new ConnectError(`the SSH host key of ${subject.addedAs} is not known`, 'host-key-unknown', {
    reason: `offered: ${describeKey(key)}${why}`,
    next: `${add}\nor trust first contact: --accept-new-host-keys`,
  });
}

const consoleOf = ({ role }: HostKeySubject): string => `the ${role}'s console`;

/** The command that adds the key; ssh-keyscan cannot ask for it behind a jump host, or under an alias. */
function addCommand(subject: HostKeySubject, key: Buffer): string {
  const file = quote(fileOf(subject));
  if (!subject.scannable) return `echo ${quote(knownHostLine(subject.addedAs, key, false))} >> ${file}`;
  const port = subject.port === DEFAULT_SSH_PORT ? '' : `-p ${String(subject.port)} `;
  return `ssh-keyscan -t ${scanType(key)} ${port}${subject.address} >> ${file}`;
}

/** Where a new key goes. */
const fileOf = ({ files }: HostKeySubject): string => files[0] ?? '~/.ssh/known_hosts';

/** @param before the key by which this run has trusted the host already */
function changedKey(
  subject: HostKeySubject,
  key: Buffer,
  entries: readonly KnownHost[],
  keeps: Keeps,
  before: Buffer | undefined,
): ConnectError {
  const known = entries.map((entry) => `known:   ${describeKey(entry.key)} (${place(entry)})`);
  const commands = mendCommands(subject, key, entries, keeps);
  if (before === undefined) {
    return new ConnectError(`the SSH host key of ${subject.addedAs} has changed`, 'host-key-changed', {
      reason: [
        `offered: ${describeKey(key)}`,
        ...known,
        `the ${subject.role} was set up anew, or runs another image with host keys of its own, or someone is in between`,
      ].join('\n'),
      next: `compare it with ${consoleOf(subject)}; only if it is right, forget the old key and add the new one:\n${commands}`,
    });
  }
  const wayOn = entries.some(({ file }) => keeps(file))
    ? `:\n${commands}\na run that still waits for the ${subject.role} then goes on by itself; else give the same command again`
    : `, give the same command again: ${fileOf(subject)} keeps no key, so that each run trusts anew`;
  return new ConnectError(
    `the SSH host key of ${subject.addedAs} has changed since this run began`,
    'host-key-changed',
    {
      reason: [
        `offered: ${describeKey(key)}`,
        `before:  ${describeKey(before)}, which this run has trusted`,
        'the image may bring host keys of its own, as those with dm-verity do; or someone is in between',
      ].join('\n'),
      next: `compare it with ${consoleOf(subject)} (ssh-keygen -lf /etc/ssh/ssh_host_${scanType(key)}_key.pub); only if it is right${wayOn}`,
    },
  );
}

/** How the old key is forgotten and the new one added. */
function mendCommands(subject: HostKeySubject, key: Buffer, entries: readonly KnownHost[], keeps: Keeps): string {
  const forget = new Set(
    entries
      .filter(({ file }) => keeps(file))
      .flatMap((entry) =>
        subject.names
          .filter((name) => speaksOf(entry, name))
          .map((name) => `  ssh-keygen -R ${quote(name)} -f ${quote(entry.file)}`),
      ),
  );
  return [...forget, ...(keeps(fileOf(subject)) ? [`  ${addCommand(subject, key)}`] : [])].join('\n');
}

function revokedKey(subject: HostKeySubject, key: Buffer, entry: KnownHost): ConnectError {
  return new ConnectError(`the SSH host key of ${subject.addedAs} is revoked`, 'host-key-changed', {
    reason: `offered: ${describeKey(key)}, marked @revoked in ${place(entry)}`,
    next: `give the ${subject.role} a new host key, then add that one to known_hosts`,
  });
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
