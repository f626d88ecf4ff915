import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountFiles, etcFiles, insideNamespace, type Bind } from './private-etc.ts';

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

/** `root` and `ops` as only one server sees them. */
export class Accounts {
  readonly home: string;
  readonly #binds: readonly Bind[];

  constructor({ dir, identity, shell, homeFiles = {} }: AccountsOptions) {
    this.home = join(dir, 'home');
    mkdirSync(this.home, { recursive: true });
    for (const [name, text] of Object.entries(homeFiles)) {
      mkdirSync(join(this.home, name, '..'), { recursive: true });
      writeFileSync(join(this.home, name), text);
    }
    const accounts = ['root', 'ops'].map((name) => ({ name, ...identity, home: this.home, shell }));
    this.#binds = etcFiles(dir, { ...accountFiles(accounts), shells: [shell] });
  }

  /** The command that runs `command` where these accounts are seen, with further folders bound over others. */
  around(command: readonly string[], furtherBinds: readonly Bind[] = []): string[] {
    return insideNamespace(command, [...this.#binds, ...furtherBinds]);
  }
}
