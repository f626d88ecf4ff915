import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { quote } from '../../src/remote/quote.ts';
import { freePort } from './free-port.ts';
import type { Accounts } from './remote-accounts.ts';
import { endServer, endSessions } from './remote-processes.ts';
import { answers, until } from './remote-sshd.ts';

export interface DropbearOptions {
  dir: string;
  accounts: Accounts;
  identity: { uid: number; gid: number };
  /** What its sessions have in their environment. */
  variables: Readonly<Record<string, string>>;
  /** A line as in authorized_keys. */
  publicKey: string;
}

/** A dropbear on loopback. It sets no variables for its sessions, so that a forced command does. */
export class Dropbear {
  readonly address = '127.0.0.1';
  readonly port: number;
  readonly #dir: string;
  readonly #accounts: Accounts;
  #child: ChildProcess | undefined;

  private constructor(dir: string, accounts: Accounts, port: number) {
    this.#dir = dir;
    this.#accounts = accounts;
    this.port = port;
  }

  static async start({ dir, accounts, identity, variables, publicKey }: DropbearOptions): Promise<Dropbear> {
    const server = new Dropbear(dir, accounts, await freePort());
    execFileSync('dropbearkey', ['-t', 'ed25519', '-f', join(dir, 'host_ed25519')], { stdio: 'pipe' });
    const wrapper = join(dir, 'wrapper');
    const environment = Object.entries(variables).map(([key, value]) => `${key}=${quote(value)}`);
    writeFileSync(wrapper, `#!/bin/sh\nexport ${environment.join(' ')}\neval "$SSH_ORIGINAL_COMMAND"\n`);
    chmodSync(wrapper, 0o755);
    const folder = join(accounts.home, '.ssh');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'authorized_keys'), `command="${wrapper}" ${publicKey}\n`);
    // Dropbear trusts no file that another user could have changed.
    for (const path of [accounts.home, folder, join(folder, 'authorized_keys')])
      chownSync(path, identity.uid, identity.gid);
    await server.open();
    return server;
  }

  /** Its line for a known_hosts file. */
  get knownHost(): string {
    const shown = execFileSync('dropbearkey', ['-y', '-f', join(this.#dir, 'host_ed25519')], { encoding: 'utf8' });
    const key = /^(ssh-ed25519 \S+)/m.exec(shown)?.[1] ?? '';
    return `[${this.address}]:${String(this.port)} ${key}\n`;
  }

  /** Begins to listen again after `close`. */
  async open(): Promise<void> {
    const log = openSync(join(this.#dir, 'log'), 'a');
    const place = `${this.address}:${String(this.port)}`;
    const plain = [
      '/usr/sbin/dropbear',
      '-F',
      '-E',
      '-s',
      '-r',
      join(this.#dir, 'host_ed25519'),
      '-P',
      '',
      '-p',
      place,
    ];
    const [file = '', ...args] = this.#accounts.around(plain);
    this.#child = spawn(file, args, { stdio: ['ignore', 'ignore', log] });
    closeSync(log);
    await until(
      () => answers(this.port, this.address),
      () => readFileSync(join(this.#dir, 'log'), 'utf8'),
    );
  }

  /** Stops listening and cuts every connection. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child !== undefined) await endServer(child);
  }

  /** Cuts every connection without a word, and goes on listening. */
  cut(): void {
    endSessions(this.#child);
  }
}
