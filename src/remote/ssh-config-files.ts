import { userInfo } from 'node:os';
import { matchesAny } from './known-hosts.ts';
import type { ConfigValues, HostKind, HostQuestion } from './ssh-config-question.ts';
import { ConfigTree, type Criterion, type Item } from './ssh-config-tree.ts';

export interface SshConfigFilesOptions {
  environment: Readonly<Record<string, string | undefined>>;
  note: (message: string) => void;
  /** Tells a user's file from the system's: relative names in Include mean ~/.ssh or /etc/ssh (ssh_config(5)). */
  isUsers: (file: string) => boolean;
}

/**
 * Reads ssh_config files where no OpenSSH client can be asked. It follows Host, Match (host, originalhost, user,
 * localuser, final, all) and Include; what it cannot follow is told by notes: what does not match for that reason is
 * passed over.
 */
export class SshConfigFiles {
  readonly #files: readonly string[];
  readonly #options: SshConfigFilesOptions;
  readonly #told = new Set<string>();
  #trees: Promise<readonly (readonly Item[])[]> | undefined;

  constructor(files: readonly string[], options: SshConfigFilesOptions) {
    this.#files = files;
    this.#options = options;
  }

  /** Tells once that kubeos reads the files by itself, and what that leaves out. */
  tellLimits(why: string): void {
    this.#options.note(
      `no ssh on this machine answers ssh -G (${why}): kubeos reads ${this.#files.join(' and ')} by itself, ` +
        'without Match exec and canonical, CanonicalizeHostname, and a look at what is misspelt there',
    );
  }

  /** What `ssh -G` would print of this host, as far as kubeos asks. Rejects with ConnectError for a mangled file. */
  async ask(kind: HostKind, question: HostQuestion): Promise<ConfigValues> {
    this.#trees ??= this.#load();
    const reading = new HostReading(question, (limit) => this.#tell(limit));
    const trees = await this.#trees;
    for (const items of trees) reading.follow(items);
    if (reading.wantsFinal) {
      reading.beginFinal();
      for (const items of trees) reading.follow(items);
    }
    return reading.result(kind === 'node' ? 'root' : userInfo().username);
  }

  #load(): Promise<readonly (readonly Item[])[]> {
    const { environment, isUsers } = this.#options;
    const home = environment['HOME'] ?? userInfo().homedir;
    return Promise.all(this.#files.map((file) => new ConfigTree(home, isUsers(file)).load(file)));
  }

  #tell(limit: string): void {
    if (this.#told.has(limit)) return;
    this.#told.add(limit);
    this.#options.note(`ssh_config: ${limit} is passed over, since there is no ssh on this machine to ask`);
  }
}

const FLAGS = new Set(['identitiesonly', 'hashknownhosts', 'proxyusefdpass', 'checkhostip']);
const REPEATED = 'identityfile';

/** What the files say of one host: the first value of each key counts. */
class HostReading {
  readonly #question: HostQuestion;
  readonly #limit: (what: string) => void;
  readonly #values = new Map<string, string[]>();
  #isFinal = false;
  #wantsFinal = false;

  constructor(question: HostQuestion, limit: (what: string) => void) {
    this.#question = question;
    this.#limit = limit;
    if (question.user !== undefined) this.#values.set('user', [question.user]);
    if (question.port !== undefined) this.#values.set('port', [String(question.port)]);
    if (question.wayIsSettled === true) this.#values.set('proxycommand', ['none']);
  }

  get wantsFinal(): boolean {
    return this.#wantsFinal;
  }

  follow(items: readonly Item[]): void {
    for (const item of items) {
      if (item.kind === 'set') this.#set(item.key, item.value);
      else if (item.criteria.every((criterion) => this.#meets(criterion))) this.follow(item.items);
    }
  }

  /** Begins the final pass: Host then speaks of the name that HostName gave, as OpenSSH has it. */
  beginFinal(): void {
    this.#values.set('hostname', [this.#hostName.replaceAll('%', '%%')]);
    this.#isFinal = true;
  }

  result(user: string): ConfigValues {
    const defaults: readonly (readonly [string, readonly string[]])[] = [
      ['user', [user]],
      ['port', ['22']],
      [REPEATED, ['~/.ssh/id_ed25519', '~/.ssh/id_ecdsa', '~/.ssh/id_rsa']],
      ['userknownhostsfile', ['~/.ssh/known_hosts ~/.ssh/known_hosts2']],
      ['globalknownhostsfile', ['/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2']],
    ];
    return new Map([...defaults, ...this.#values, ['hostname', [this.#hostName]]]);
  }

  get #hostName(): string {
    const { name } = this.#question;
    const said = this.#values.get('hostname')?.[0] ?? name;
    return said.replaceAll(/%([%h])/g, (_all, token: string) => (token === 'h' ? name : token)).toLowerCase();
  }

  #set(key: string, value: string): void {
    const known = this.#values.get(key);
    if (key === REPEATED) {
      if (known?.includes(value) !== true) this.#values.set(key, [...(known ?? []), value]);
    } else if (known === undefined && !this.#isSettledOtherwise(key)) {
      this.#values.set(key, [asPrinted(key, value)]);
    }
  }

  // Of ProxyJump and ProxyCommand the first one counts (ssh_config(5)), but for `ProxyJump none`.
  #isSettledOtherwise(key: string): boolean {
    if (key === 'proxyjump') return this.#values.has('proxycommand');
    return key === 'proxycommand' && (this.#values.get('proxyjump')?.[0] ?? 'none') !== 'none';
  }

  #meets({ keyword, argument, negated, shown }: Criterion): boolean {
    const met = this.#isMet(keyword, argument);
    if (met === undefined) {
      this.#limit(shown);
      return false;
    }
    return met !== negated;
  }

  // Undefined where only OpenSSH itself could tell.
  #isMet(keyword: string, argument: readonly string[]): boolean | undefined {
    const { name } = this.#question;
    switch (keyword) {
      case 'all':
        return true;
      case 'final':
        this.#wantsFinal = true;
        return this.#isFinal;
      case 'patterns':
        return matchesAny(argument, this.#isFinal ? this.#hostName : name);
      case 'originalhost':
        return matchesAny(lowerCase(argument), name.toLowerCase());
      case 'host':
        return matchesAny(lowerCase(argument), this.#hostName);
      case 'user':
        return matchesAny(argument, this.#values.get('user')?.[0] ?? userInfo().username);
      case 'localuser':
        return matchesAny(argument, userInfo().username);
      default:
        return undefined;
    }
  }
}

const lowerCase = (texts: readonly string[]): string[] => texts.map((text) => text.toLowerCase());

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

// As `ssh -G` prints a value, whatever its form in the file.
function asPrinted(key: string, value: string): string {
  const word = value.toLowerCase();
  if (key === 'stricthostkeychecking')
    return word === 'yes' ? 'true' : word === 'no' || word === 'off' ? 'false' : word;
  if (FLAGS.has(key)) return word === 'true' ? 'yes' : word === 'false' ? 'no' : word;
  if (key === 'addressfamily' || key === 'hostkeyalias' || word === 'none') return word;
  if (key !== 'connecttimeout') return value;
  const parts = [...word.matchAll(/(\d+)([smhdw]?)/g)];
  return String(parts.reduce((sum, [, count, unit]) => sum + Number(count) * (SECONDS[unit || 's'] ?? 1), 0));
}
