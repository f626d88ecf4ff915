import { execFile } from 'node:child_process';
import { rm, writeFile } from 'node:fs/promises';
import { userInfo, tmpdir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { ConnectError } from '../errors.ts';
import { makeTemporaryFolder } from '../temporary-folder.ts';
import { cleanText } from './clean-text.ts';
import { readSignInRules, type SignInRules } from './sign-in-rules.ts';

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
  /** `[user@]host[:port]`, in the order they are gone through. */
  proxyJump: readonly string[];
  proxyCommand?: string;
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
  /** Told once where there is no OpenSSH client to ask. */
  note: (message: string) => void;
}

/** What is asked about: `user` and `port` where something stronger than ssh_config has settled them already. */
export interface HostQuestion {
  name: string;
  user?: string;
  port?: number;
}

const SYSTEM_FILE = '/etc/ssh/ssh_config';
const TIMEOUT_MS = 20_000;

/**
 * Reads ssh_config by asking OpenSSH's own client, `ssh -G`, which alone is exact about Include, Match and patterns.
 * Nodes are asked with `User root` as the last word, jump hosts with OpenSSH's own default, the local user.
 */
export class SshConfig {
  readonly #options: SshConfigOptions;
  #folder: Promise<string> | undefined;
  #working: Promise<boolean> | undefined;
  readonly #closing = new AbortController();

  constructor(options: SshConfigOptions) {
    this.#options = options;
  }

  /** Resolves to undefined where no working `ssh` is installed. Rejects with ConnectError where ssh refuses its files. */
  async ask(kind: 'node' | 'jump host', question: HostQuestion): Promise<HostConfig | undefined> {
    this.#working ??= this.#findSsh();
    const working = await this.#working;
    if (this.#closing.signal.aborted) throw new ConnectError('ssh_config is not read any more', 'lost');
    if (!working) return undefined;
    this.#folder ??= this.#writeFiles();
    const file = join(await this.#folder, kind === 'node' ? 'node' : 'jump');
    const args = [
      '-G',
      ...['-F', file],
      ...(question.user === undefined ? [] : ['-l', question.user]),
      ...(question.port === undefined ? [] : ['-p', String(question.port)]),
      ...['--', question.name],
    ];
    const answer = await this.#run(args);
    if (answer.code === 0) return parseSshConfig(answer.stdout, question.name, this.#options.environment);
    throw new ConnectError(`ssh_config cannot be read for ${question.name}`, 'protocol', {
      reason: cleanText(answer.stderr.replaceAll(`${file} `, '')).trim() || `ssh -G ended with ${String(answer.code)}`,
      next: 'mend the file, or leave it out: --ssh-config none',
    });
  }

  /** Ends what is being asked, and removes the temporary files. */
  async close(): Promise<void> {
    this.#closing.abort();
    const folder = await this.#folder?.catch(() => undefined);
    this.#folder = undefined;
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }

  async #findSsh(): Promise<boolean> {
    const answer = await this.#run(['-V']);
    if (answer.code === 0 || this.#closing.signal.aborted) return true;
    this.#options.note('no working ssh on this machine: ssh_config is not read, only flags and the hosts file count');
    return false;
  }

  async #writeFiles(): Promise<string> {
    const folder = await makeTemporaryFolder(tmpdir(), 'ssh');
    const includes = this.#includedFiles().map((file) => `Include "${file}"\n`);
    await writeFile(join(folder, 'jump'), includes.join(''), { mode: 0o600 });
    await writeFile(join(folder, 'node'), `${includes.join('')}Host *\n  User root\n`, { mode: 0o600 });
    return folder;
  }

  #includedFiles(): string[] {
    const { file, environment } = this.#options;
    if (file === 'none') return [];
    if (file !== undefined) return [isAbsolute(file) ? file : resolve(file)];
    const home = environment['HOME'];
    return [...(home === undefined ? [] : [join(home, '.ssh', 'config')]), SYSTEM_FILE];
  }

  #run(args: readonly string[]): Promise<{ code: number | undefined; stdout: string; stderr: string }> {
    // ssh_config may run commands of its own (Match exec): secrets are not for them.
    const env = { ...withoutSecrets(this.#options.environment), LC_ALL: 'C' };
    const { signal } = this.#closing;
    return new Promise((done) => {
      const child = execFile(
        'ssh',
        args,
        { env, timeout: TIMEOUT_MS, signal, encoding: 'utf8' },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : undefined;
          done({ code, stdout, stderr });
        },
      );
      // Nothing may ask on the terminal here.
      child.stdin?.end();
    });
  }
}

/** An environment for other programs: what opens doors stays out of it. */
export function withoutSecrets(
  environment: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const secrets = ['KUBEOS_SSH_PASSPHRASE', 'KUBEOS_SSH_PASSWORD', 'KUBEOS_SUDO_PASSWORD'];
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !secrets.includes(name)));
}

/** Reads what `ssh -G NAME` prints: `key value`, one a line, keys in lower case (ssh(1), -G). */
export function parseSshConfig(
  text: string,
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
): HostConfig {
  const values = keyValues(text);
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
  const knownHosts = ['userknownhostsfile', 'globalknownhostsfile'].flatMap((key) => first(key)?.split(/\s+/) ?? []);
  return {
    // Where no HostName line applies, ssh prints the name itself.
    ...optional('hostName', hostName?.toLowerCase() === name.toLowerCase() ? undefined : hostName),
    ...(port > 0 && { port }),
    ...optional('user', first('user')),
    identityFiles: (values.get('identityfile') ?? []).filter((file) => file !== 'none').map(path),
    identitiesOnly: first('identitiesonly') === 'yes',
    ...optional('identityAgent', agent === undefined ? undefined : path(agent)),
    proxyJump: first('proxyjump')?.split(',') ?? [],
    ...optional('proxyCommand', first('proxycommand')),
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

function keyValues(text: string): Map<string, string[]> {
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
  const { homedir, username } = userInfo();
  const home = environment['HOME'] ?? homedir;
  const values = new Map([
    ['%', '%'],
    ['d', home],
    ['h', of.host],
    ['n', of.name],
    ['p', of.port],
    ['r', of.user],
    ['u', username],
  ]);
  return (raw) => {
    const path = raw.replaceAll(/%([%dhnpru])/g, (whole, token: string) => values.get(token) ?? whole);
    if (path === '~' || path.startsWith('~/')) return join(home, path.slice(2));
    return path.startsWith(`${homedir}/.ssh/`) ? join(home, path.slice(homedir.length + 1)) : path;
  };
}
