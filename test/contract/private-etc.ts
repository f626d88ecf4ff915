import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../../src/remote/quote.ts';

/** Why this machine cannot give a server accounts of its own; undefined where it can. */
export function whyNoPrivateEtc(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may make a mount namespace here';
  try {
    execFileSync('unshare', ['--mount', '--propagation', 'private', 'true'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `unshare --mount fails: ${String(error)}`;
  }
}

export const canHaveAccounts = whyNoPrivateEtc() === undefined;

/** An account that only one server sees. */
export interface Account {
  name: string;
  uid: number;
  gid?: number;
  /** Nobody can sign in by password where it is missing. */
  password?: string;
  /** The next sign-in must choose a new password. */
  expired?: boolean;
  home?: string;
  shell?: string;
}

/** Something of this machine that lies elsewhere -> what it lies over, as one server sees it. */
export type Bind = readonly [from: string, to: string];

/**
 * Writes files below `dir` that are to lie over those of the same name in /etc.
 * @param files name below /etc -> its lines
 */
export function etcFiles(dir: string, files: Readonly<Record<string, readonly string[]>>): Bind[] {
  mkdirSync(dir, { recursive: true });
  return Object.entries(files).map(([name, lines]) => {
    const file = join(dir, name.replace('/', '-'));
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: MODES[name] ?? 0o644 });
    return [file, `/etc/${name}`];
  });
}

const MODES: Readonly<Record<string, number>> = { sudoers: 0o440, shadow: 0o600 };

/** The files that name these accounts beside this machine's own. */
export function accountFiles(accounts: readonly Account[]): Record<'passwd' | 'group' | 'shadow', string[]> {
  const names = accounts.map(({ name }) => name);
  const ids = accounts.map(({ uid, gid = uid }) => `${String(uid)}:${String(gid)}`);
  return {
    passwd: [
      ...accounts.map(
        ({ name, home = '/', shell = '/bin/sh' }, index) => `${name}:x:${ids[index] ?? ''}::${home}:${shell}`,
      ),
      ...linesWithout('/etc/passwd', names),
    ],
    group: [
      ...accounts.filter(({ name }) => name !== 'root').map(({ name, uid, gid = uid }) => `${name}:x:${String(gid)}:`),
      ...linesWithout(
        '/etc/group',
        names.filter((name) => name !== 'root'),
      ),
    ],
    shadow: [
      ...accounts.map(
        ({ name, password, expired }) =>
          `${name}:${password === undefined ? '*' : hash(password)}:${expired === true ? '0' : '20000'}:0:99999:7:::`,
      ),
      ...linesWithout('/etc/shadow', names),
    ],
  };
}

/** The command that runs `command` in a mount namespace of its own, after these binds and further lines of shell. */
export function insideNamespace(
  command: readonly string[],
  binds: readonly Bind[],
  lines: readonly string[] = [],
): string[] {
  const mounts = binds.map(([from, to]) => `mount --rbind ${quote(from)} ${quote(to)}`);
  const script = ['set -e', ...mounts, ...lines, `exec ${command.map(quote).join(' ')}`].join('\n');
  return ['unshare', '--mount', '--propagation', 'private', '--', '/bin/sh', '-c', script];
}

function linesWithout(file: string, names: readonly string[]): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !names.includes(line.split(':')[0] ?? ''));
}

const hash = (password: string): string =>
  execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: password, encoding: 'utf8' }).trim();
