import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../../src/remote/quote.ts';

/** Accounts of a server's own need a mount namespace, which only root may make without further ado. */
export const canHaveAccounts = process.getuid?.() === 0;

export interface AccountsOptions {
  /** A folder of its own; made where it is missing. */
  dir: string;
  /** Whom `root` and `ops` both run as here: never as the real root. */
  identity: { uid: number; gid: number };
  /** Their login shell. */
  shell: string;
  /** File name below their home -> its text. */
  homeFiles?: Readonly<Record<string, string>>;
}

/**
 * Accounts that only one server sees: files of their own lie over /etc/passwd, /etc/group, /etc/shadow and /etc/shells
 * in a mount namespace. This machine's accounts are not touched.
 */
export class Accounts {
  readonly home: string;
  readonly #binds: (readonly [string, string])[];

  constructor({ dir, identity, shell, homeFiles = {} }: AccountsOptions) {
    this.home = join(dir, 'home');
    mkdirSync(this.home, { recursive: true });
    for (const [name, text] of Object.entries(homeFiles)) {
      mkdirSync(join(this.home, name, '..'), { recursive: true });
      writeFileSync(join(this.home, name), text);
    }
    const own = ['root', 'ops'];
    const others = linesWithout('/etc/passwd', own);
    const ids = `${String(identity.uid)}:${String(identity.gid)}`;
    const files = {
      passwd: [...own.map((name) => `${name}:x:${ids}::${this.home}:${shell}`), ...others],
      group: [`ops:x:${String(identity.gid)}:`, ...linesWithout('/etc/group', ['ops'])],
      shadow: [...own, ...others.map((line) => line.split(':')[0] ?? '')].map((name) => `${name}:*:19000:0:99999:7:::`),
      shells: [shell],
    };
    this.#binds = Object.entries(files).map(([name, lines]) => {
      writeFileSync(join(dir, name), `${lines.join('\n')}\n`);
      return [join(dir, name), `/etc/${name}`] as const;
    });
  }

  /** The command that runs `command` where these accounts are seen, with further folders bound over others. */
  around(command: readonly string[], furtherBinds: readonly (readonly [string, string])[] = []): string[] {
    const mounts = [...this.#binds, ...furtherBinds].map(([from, to]) => `mount --rbind ${quote(from)} ${quote(to)}`);
    const script = [...mounts, `exec ${command.map(quote).join(' ')}`].join(' && ');
    return ['unshare', '--mount', '--propagation', 'private', '--', '/bin/sh', '-c', script];
  }
}

function linesWithout(file: string, names: readonly string[]): string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !names.some((name) => line.startsWith(`${name}:`)));
}
