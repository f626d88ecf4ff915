import { readFile, readdir } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Line } from 'ssh-config';
import { ConnectError } from '../errors.ts';
import { matchesPattern } from './known-hosts.ts';

/** One line of ssh_config that says something, or a block of them under its conditions. */
export type Item =
  | { kind: 'set'; key: string; value: string }
  | { kind: 'block'; criteria: readonly Criterion[]; items: readonly Item[] };

/** One condition of Host (`patterns`) or Match. */
export interface Criterion {
  keyword: string;
  argument: readonly string[];
  negated: boolean;
  /** As it is written, with its file. */
  shown: string;
}

/** As deep as OpenSSH follows (READCONF_MAX_DEPTH). */
const MAX_DEPTH = 16;
const WITHOUT_ARGUMENT = new Set(['all', 'final', 'canonical']);

/** Reads an ssh_config file and all that it includes. The `ssh-config` package takes the lines apart. */
export class ConfigTree {
  readonly #home: string;
  readonly #includesFrom: string;
  readonly #isUsers: boolean;
  /** Something in the files may mean another thing to OpenSSH than to this reader. */
  isDoubtful = false;

  constructor(home: string, isUsers: boolean) {
    this.#home = home;
    this.#isUsers = isUsers;
    this.#includesFrom = isUsers ? join(home, '.ssh') : '/etc/ssh';
  }

  /** Rejects with ConnectError where a file is mangled, or includes itself. */
  async load(file: string, depth = 0): Promise<readonly Item[]> {
    if (depth > MAX_DEPTH) throw mangled(file, 'it is included too deeply; does it include itself?');
    const { parse } = await import('ssh-config');
    const text = await readFile(file, 'utf8');
    if (text.split('\n').some((line) => isDoubtful(line, this.#isUsers))) this.isDoubtful = true;
    const bare = text.split('\n').findIndex((line) => /^[ \t]*[a-z]\w*[ \t\r=]*$/i.test(line));
    // The package would take the next line for its value.
    if (bare >= 0) throw mangled(file, `line ${String(bare + 1)} has no value`);
    const commands: string[] = [];
    // The rest of such a line is the command as it stands, with its quotes and what looks like a comment.
    const parsable = text.replaceAll(
      /^([ \t]*ProxyCommand)(?:[ \t]*=[ \t]*|[ \t]+)(\S.*?)[ \t\r]*$/gim,
      (_all, key: string, command: string) => `${key} ${String(commands.push(command) - 1)}`,
    );
    let lines: readonly Line[];
    try {
      lines = parse(parsable);
    } catch (error) {
      throw mangled(file, error instanceof Error ? error.message : String(error));
    }
    return this.#itemsOf(lines, { file, depth, commands });
  }

  async #itemsOf(lines: readonly Line[], from: Source): Promise<Item[]> {
    const items: Item[] = [];
    for (const line of lines) {
      if (!('param' in line)) continue;
      const key = line.param.toLowerCase();
      const words = wordsOf(line.value);
      if ('config' in line) {
        items.push({
          kind: 'block',
          criteria: key === 'host' ? [hostCriterion(words, from.file)] : matchCriteria(words, from.file),
          items: await this.#itemsOf(line.config, from),
        });
      } else if (key === 'include') {
        for (const name of words) items.push(await this.#includedBlock(name, from));
      } else {
        const value = valueOf(key, line.value, line.quoted === true, from);
        if (value !== '') items.push({ kind: 'set', key, value });
      }
    }
    return items;
  }

  async #includedBlock(name: string, from: Source): Promise<Item> {
    // Tokens, variables and brackets are for OpenSSH alone to expand (ssh_config(5), Include).
    if (/[[\]{}%$]/.test(name)) {
      const shown = `Include ${name} in ${from.file}`;
      return { kind: 'block', criteria: [{ keyword: 'include', argument: [name], negated: false, shown }], items: [] };
    }
    return { kind: 'block', criteria: [], items: await this.#included(name, from) };
  }

  async #included(name: string, { depth }: Source): Promise<Item[]> {
    const path = name.startsWith('~/') ? join(this.#home, name.slice(2)) : name;
    const files = await expandPattern(isAbsolute(path) ? path : join(this.#includesFrom, path));
    const all: Item[] = [];
    for (const file of files) all.push(...(await this.load(file, depth + 1)));
    return all;
  }
}

// Quotes, escapes and odd blanks around hosts and file names; `~user`; and relative names in the system's file, which
// `ssh -F` looks for elsewhere (ssh_config(5), Include).
function isDoubtful(line: string, isUsers: boolean): boolean {
  const [, keyword = '', rest = ''] = /^[ \t]*([^ \t=]*)[ \t]*=?(.*)$/.exec(line.replace(/\r$/, '')) ?? [];
  if (keyword.startsWith('#')) return false;
  if (ODD.test(keyword)) return true;
  if (!/^(host|match|include)$/i.test(keyword)) return false;
  if (ODD.test(rest)) return true;
  const isInclude = keyword.toLowerCase() === 'include';
  const names = rest.split(/[ \t]+/).filter((name) => name !== '');
  return isInclude && names.some((name) => /^~(?!\/)/.test(name) || (!isUsers && !/^[~/]/.test(name)));
}

const ODD = /['"\\\v\f]/;

interface Source {
  file: string;
  depth: number;
  commands: readonly string[];
}

type Value = string | readonly { val: string; separator: string; quoted?: boolean }[];

function wordsOf(value: Value): string[] {
  return typeof value === 'string' ? value.split(/[ \t]+/) : value.map(({ val }) => val);
}

// Most keys take one word.
function valueOf(key: string, value: Value, quoted: boolean, { file, commands }: Source): string {
  if (key === 'proxycommand') return commands[Number(value)] ?? '';
  if (typeof value !== 'string') return wordsOf(value).join(' ');
  const said = quoted ? value : (value.split(/[ \t]/)[0] ?? '');
  if (key === 'port' && !(/^\d{1,5}$/.test(said) && Number(said) > 0 && Number(said) < 65_536)) {
    throw mangled(file, `Port ${said} is no port`);
  }
  return said;
}

function hostCriterion(patterns: readonly string[], file: string): Criterion {
  return { keyword: 'patterns', argument: patterns, negated: false, shown: `Host ${patterns.join(' ')} in ${file}` };
}

function matchCriteria(words: readonly string[], file: string): Criterion[] {
  const criteria: Criterion[] = [];
  const shown = `Match ${words.join(' ')} in ${file}`;
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? '';
    const negated = word.startsWith('!');
    const keyword = word.slice(negated ? 1 : 0).toLowerCase();
    const argument = WITHOUT_ARGUMENT.has(keyword) ? [] : (words[++index] ?? '').split(',');
    criteria.push({ keyword, argument, negated, shown });
  }
  return criteria;
}

// glob(3), as far as file names need it: `*` and `?`, none of which matches a leading dot; no match is no file.
async function expandPattern(path: string): Promise<string[]> {
  let found = ['/'];
  for (const part of path.split('/').filter((one) => one !== '')) {
    const next = await Promise.all(
      found.map(async (folder) => {
        if (!/[*?]/.test(part)) return [join(folder, part)];
        const names = await readdir(folder).catch(() => []);
        const visible = names.filter((name) => !name.startsWith('.') || part.startsWith('.'));
        return visible.filter((name) => matchesPattern(part, name)).map((name) => join(folder, name));
      }),
    );
    found = next.flat().sort();
  }
  const readable = await Promise.all(
    found.map((file) =>
      readFile(file).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.filter((_file, index) => readable[index]);
}

function mangled(file: string, reason: string): ConnectError {
  return new ConnectError(`${file} cannot be read`, 'protocol', {
    reason,
    next: 'mend the file, or leave it out: --ssh-config none',
  });
}
