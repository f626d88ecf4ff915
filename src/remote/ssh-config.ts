import { accessSync, constants } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { hostname, userInfo, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { ConnectError } from '../errors.ts';
import { makeTemporaryFolder } from '../temporary-folder.ts';
import { cleanText } from './clean-text.ts';
import { readSignInRules, type SignInRules } from './sign-in-rules.ts';
import { runSsh, type SshAnswer } from './ssh-client.ts';
import { kinOf } from './ssh-config-kin.ts';
import type { ConfigValues, HostKind, HostQuestion } from './ssh-config-question.ts';
import { ConfigTree, type Item } from './ssh-config-tree.ts';

/** What ssh_config says of one host, as far as kubeos follows it; what it leaves to OpenSSH's defaults is missing. */
export interface HostConfig {
  /** Missing where no HostName line applies. */
  hostName?: string;
  port?: number;
  user?: string;
  identityFiles: readonly string[];
  identitiesOnly: boolean;
  /** `none`, `SSH_AUTH_SOCK`, `$VARIABLE` or a socket's path. */
  identityAgent?: string;
  /** `[user@]host[:port],…` in the order they are gone through, with its tokens. */
  proxyJump?: string;
  /** As it is written, with its tokens. */
  proxyCommand?: string;
  proxyUseFdpass: boolean;
  addressFamily?: 'inet' | 'inet6';
  bindAddress?: string;
  bindInterface?: string;
  connectTimeoutMs?: number;
  knownHostsFiles: readonly string[];
  hostKeyAlias?: string;
  hashKnownHosts: boolean;
  /** StrictHostKeyChecking: `yes` and `ask` refuse unknown keys; `no` is treated as `accept-new`, with a warning. */
  strictHostKeys: 'yes' | 'accept-new' | 'no';
  signIn: SignInRules;
}

export interface SshConfigOptions {
  /** `--ssh-config`; missing: the user's file, then the system's. */
  file?: string;
  environment: Readonly<Record<string, string | undefined>>;
  /** Told where ssh_config is not read by OpenSSH itself, and what then does not count. */
  note: (message: string) => void;
  /** Milliseconds that one question may take; 20 000 if missing. */
  timeoutMs?: number;
}

type Reader = (kind: HostKind, question: HostQuestion) => Promise<ConfigValues>;

const SYSTEM_FILE = '/etc/ssh/ssh_config';
const TIMEOUT_MS = 20_000;
// It keeps ProxyJump out too, the first of both counts; `ProxyJump=none` would leave a ProxyCommand its word.
const WITHOUT_WAY = ['-o', 'ProxyCommand=none'];

/**
 * Reads ssh_config by asking OpenSSH's own client, `ssh -G`, which alone is exact about Include, Match and patterns;
 * where there is none, by itself (ssh-config-files.ts). Nodes are asked with `User root` as the last word, jump hosts
 * with OpenSSH's own default, the local user.
 */
export class SshConfig {
  readonly #options: SshConfigOptions;
  #folder: Promise<string> | undefined;
  #reader: Promise<Reader> | undefined;
  #trees: Promise<readonly (readonly Item[])[] | undefined> | undefined;
  readonly #answers = new Map<string, Promise<ConfigValues>>();
  readonly #closing = new AbortController();

  constructor(options: SshConfigOptions) {
    this.#options = options;
  }

  /** Rejects with ConnectError where the files are refused. */
  async ask(kind: HostKind, question: HostQuestion): Promise<HostConfig> {
    this.#reader ??= this.#chooseReader();
    const read = await this.#reader;
    if (this.#closing.signal.aborted) throw new ConnectError('ssh_config is not read any more', 'lost');
    return readHostConfig(await read(kind, question), question.name, this.#options.environment);
  }

  /** Ends what is being asked, and removes the temporary files. */
  async close(): Promise<void> {
    this.#closing.abort();
    const folder = await this.#folder?.catch(() => undefined);
    this.#folder = undefined;
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }

  // Without a file there is nothing that ssh could add to its defaults.
  async #chooseReader(): Promise<Reader> {
    const files = this.#files().filter(isReadable);
    const { environment, note } = this.#options;
    const working = files.length === 0 ? undefined : await this.#run(['-G', '-F', 'none', '--', 'localhost']);
    if (working?.code === 0) return (kind, question) => this.#askOncePerKin(kind, question);
    const { SshConfigFiles } = await import('./ssh-config-files.ts');
    const own = new SshConfigFiles(files, { environment, note, isUsers: (file) => file !== SYSTEM_FILE });
    if (working !== undefined) own.tellLimits(cleanText(working.stderr).trim());
    return (kind, question) => own.ask(kind, question);
  }

  async #askOncePerKin(kind: HostKind, question: HostQuestion): Promise<ConfigValues> {
    const { name, user = '', port = '', wayIsSettled = false } = question;
    this.#trees ??= this.#readTrees();
    const trees = await this.#trees;
    const kin = trees === undefined ? undefined : kinOf(name, trees);
    if (kin === undefined) return this.#askSsh(kind, question);
    const key = `${kind} ${user} ${String(port)} ${String(wayIsSettled)} ${kin}`;
    const known = this.#answers.get(key);
    if (known === undefined) {
      const asking = this.#askSsh(kind, question);
      this.#answers.set(key, asking);
      return asking;
    }
    // What went wrong is told of the host itself.
    const values = await known.catch(() => undefined);
    if (values === undefined) return this.#askSsh(kind, question);
    // No HostName line applies, so that ssh would print the name itself.
    return new Map([...values, ['hostname', [name]]]);
  }

  // Files that cannot be read here are for ssh to judge, host by host.
  #readTrees(): Promise<readonly (readonly Item[])[] | undefined> {
    const home = this.#options.environment['HOME'] ?? userInfo().homedir;
    const files = this.#files().filter(isReadable);
    const trees = files.map((file) => ({ file, tree: new ConfigTree(home, file !== SYSTEM_FILE) }));
    const reading = Promise.all(trees.map(({ file, tree }) => tree.load(file)));
    return reading.then(
      (items) => (trees.some(({ tree }) => tree.isDoubtful) ? undefined : items),
      () => undefined,
    );
  }

  async #askSsh(kind: HostKind, question: HostQuestion): Promise<ConfigValues> {
    this.#folder ??= this.#writeFiles();
    const file = join(await this.#folder, kind === 'node' ? 'node' : 'jump');
    const ask = (more: readonly string[]) =>
      this.#run([
        '-G',
        ...['-F', file],
        ...(question.user === undefined ? [] : ['-l', question.user]),
        ...(question.port === undefined ? [] : ['-p', String(question.port)]),
        ...more,
        ...['--', question.name],
      ]);
    const answer = await ask(question.wayIsSettled === true ? WITHOUT_WAY : []);
    if (answer.code === 0) return keyValues(answer.stdout);
    const reason =
      cleanText(answer.stderr.replaceAll(`${file} `, '')).trim() || `ssh -G ended with ${String(answer.code)}`;
    // Where it answers without the way there, that is what it cannot follow: a host that is its own jump host.
    const loops = question.wayIsSettled !== true && (await ask(WITHOUT_WAY)).code === 0;
    if (loops) throw jumpLoop(question.name, reason);
    throw new ConnectError(`ssh_config cannot be read for ${question.name}`, 'protocol', {
      reason,
      next: 'mend the file, or leave it out: --ssh-config none',
    });
  }

  async #writeFiles(): Promise<string> {
    const folder = await makeTemporaryFolder(tmpdir(), 'ssh');
    const includes = this.#files().map((file) => `Include "${file}"\n`);
    await writeFile(join(folder, 'jump'), includes.join(''), { mode: 0o600 });
    await writeFile(join(folder, 'node'), `${includes.join('')}Host *\n  User root\n`, { mode: 0o600 });
    return folder;
  }

  #files(): string[] {
    const { file, environment } = this.#options;
    if (file === 'none') return [];
    if (file !== undefined) return [isAbsolute(file) ? file : resolve(file)];
    const home = environment['HOME'];
    return [...(home === undefined ? [] : [join(home, '.ssh', 'config')]), SYSTEM_FILE];
  }

  #run(args: readonly string[]): Promise<SshAnswer> {
    const { environment, timeoutMs = TIMEOUT_MS } = this.#options;
    return runSsh(args, { environment, timeoutMs, closing: this.#closing.signal });
  }
}

/** A host that is to be reached through itself. */
export function jumpLoop(name: string, reason: string): ConnectError {
  return new ConnectError(`ssh_config reaches ${name} through itself`, 'protocol', {
    reason,
    next: `end its way there, above the lines that it meets too:\n  Host ${name}\n    ProxyJump none`,
  });
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Reads what `ssh -G NAME` prints: `key value`, one a line, keys in lower case (ssh(1), -G). */
export function parseSshConfig(
  text: string,
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): HostConfig {
  return readHostConfig(keyValues(text), name, environment);
}

function readHostConfig(
  values: ConfigValues,
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): HostConfig {
  const first = (key: string): string | undefined => {
    const value = values.get(key)?.[0];
    return value === undefined || value === '' || value === 'none' ? undefined : value;
  };
  const hostName = first('hostname');
  const port = Number(first('port') ?? 0);
  const path = pathExpander(
    { host: hostName ?? name, name, user: first('user') ?? '', port: String(port) },
    environment,
  );
  // Here `none` has a meaning of its own.
  const agent = values.get('identityagent')?.[0];
  // Where no file of the user's may be used, a new key is not kept, and above all not added to the system's.
  const users = values.get('userknownhostsfile')?.[0] === 'none' ? '/dev/null' : first('userknownhostsfile');
  const knownHosts = [users, first('globalknownhostsfile')].flatMap((files) => files?.split(/\s+/) ?? []);
  return {
    // Where no HostName line applies, ssh prints the name itself.
    ...optional('hostName', hostName?.toLowerCase() === name.toLowerCase() ? undefined : hostName),
    ...(port > 0 && { port }),
    ...optional('user', first('user')),
    identityFiles: (values.get('identityfile') ?? []).filter((file) => file !== 'none').map(path),
    identitiesOnly: first('identitiesonly') === 'yes',
    ...optional('identityAgent', agent === undefined ? undefined : path(agent)),
    ...optional('proxyJump', first('proxyjump')),
    ...optional('proxyCommand', first('proxycommand')),
    proxyUseFdpass: first('proxyusefdpass') === 'yes',
    ...socketLines(first),
    knownHostsFiles: knownHosts.map(path),
    ...optional('hostKeyAlias', first('hostkeyalias')),
    hashKnownHosts: first('hashknownhosts') === 'yes',
    strictHostKeys: strictness(first('stricthostkeychecking')),
    signIn: readSignInRules(values, path),
  };
}

// `ssh -G` prints `true` for yes and `false` for no and off.
function strictness(said: string | undefined): HostConfig['strictHostKeys'] {
  if (said === 'accept-new') return said;
  return said === 'false' || said === 'no' || said === 'off' ? 'no' : 'yes';
}

type SocketLines = Pick<HostConfig, 'addressFamily' | 'bindAddress' | 'bindInterface' | 'connectTimeoutMs'>;

function socketLines(first: (key: string) => string | undefined): SocketLines {
  const family = first('addressfamily');
  const seconds = Number(first('connecttimeout') ?? 0);
  return {
    ...((family === 'inet' || family === 'inet6') && { addressFamily: family }),
    ...optional('bindAddress', first('bindaddress')),
    ...optional('bindInterface', first('bindinterface')),
    ...(seconds > 0 && { connectTimeoutMs: seconds * 1000 }),
  };
}

function keyValues(text: string): ConfigValues {
  const values = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ');
    if (space <= 0) continue;
    const key = line.slice(0, space);
    values.set(key, [...(values.get(key) ?? []), line.slice(space + 1).trim()]);
  }
  return values;
}

function optional<K extends string>(key: K, value: string | undefined): Partial<Record<K, string>> {
  return value === undefined ? {} : ({ [key]: value } as Record<K, string>);
}

interface Tokens {
  host: string;
  name: string;
  user: string;
  port: string;
}

// ssh_config(5), TOKENS, as far as they make sense in a path. OpenSSH takes the home from the password database,
// everything else here from HOME; where both differ HOME counts.
function pathExpander(of: Tokens, environment: Readonly<Record<string, string | undefined>>): (path: string) => string {
  const { homedir, username, uid } = userInfo();
  const home = environment['HOME'] ?? homedir;
  const values = new Map([
    ['%', '%'],
    ['d', home],
    ['h', of.host],
    ['i', String(uid)],
    ['L', hostname().split('.')[0] ?? ''],
    ['l', hostname()],
    ['n', of.name],
    ['p', of.port],
    ['r', of.user],
    ['u', username],
  ]);
  return (raw) => {
    const filled = raw.replaceAll(/%([%dhiLlnpru])/g, (whole, token: string) => values.get(token) ?? whole);
    const path = filled.replaceAll(/\$\{(\w+)\}/g, (whole, variable: string) => environment[variable] ?? whole);
    if (path === '~' || path.startsWith('~/')) return join(home, path.slice(2));
    return path.startsWith(`${homedir}/.ssh/`) ? join(home, path.slice(homedir.length + 1)) : path;
  };
}
