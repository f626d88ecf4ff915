import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { endServer, endSessions } from './remote-processes.ts';

/** Whom OpenSSH's server lets in here: it serves root only as root, anyone else only as themselves. */
export const LOGIN_USER = userInfo().username;

export interface SshdOptions {
  /** A folder of its own; made where it is missing. */
  dir: string;
  /** Lines as in authorized_keys. */
  authorizedKeys: readonly string[];
  /** Lines of sshd_config that go before the usual ones, and so beat them; ForceCommand, say. */
  config?: readonly string[];
  /** Types of its host keys. */
  hostKeys?: readonly HostKeyType[];
  /** Where it listens; 127.0.0.1 if missing. */
  address?: string;
  /** Makes the command that starts it from the plain one: in a namespace, say. */
  around?: (command: readonly string[]) => readonly string[];
}

type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa';

/** A real OpenSSH server on loopback, with a configuration and keys of its own. */
export class Sshd {
  readonly port: number;
  readonly dir: string;
  readonly address: string;
  readonly #command: readonly string[];
  #child: ChildProcess | undefined;

  private constructor({ dir, address = '127.0.0.1', around = (command) => command }: SshdOptions, port: number) {
    this.dir = dir;
    this.address = address;
    this.port = port;
    this.#command = around(['/usr/sbin/sshd', '-D', '-e', '-f', join(dir, 'sshd_config')]);
  }

  static async start(options: SshdOptions): Promise<Sshd> {
    mkdirSync(options.dir, { recursive: true });
    const { address = '127.0.0.1', hostKeys = ['ed25519', 'ecdsa'] } = options;
    const sshd = new Sshd(options, await freePort(address));
    for (const type of hostKeys) makeKey(join(options.dir, `host_${type}`), { type });
    writeFileSync(
      join(options.dir, 'authorized_keys'),
      options.authorizedKeys.map((line) => `${line.trim()}\n`).join(''),
    );
    writeFileSync(
      join(options.dir, 'sshd_config'),
      [
        ...(options.config ?? []),
        `Port ${String(sshd.port)}`,
        `ListenAddress ${address}`,
        ...hostKeys.map((type) => `HostKey ${join(options.dir, `host_${type}`)}`),
        `AuthorizedKeysFile ${join(options.dir, 'authorized_keys')}`,
        'PidFile none',
        'UsePAM no',
        'StrictModes no',
        'PermitRootLogin prohibit-password',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PrintMotd no',
        'LogLevel VERBOSE',
        // A login bash reads no .bashrc then: what a developer has there is slow, and none of our business.
        'SetEnv SHLVL=5',
        '',
      ].join('\n'),
    );
    await sshd.open();
    return sshd;
  }

  /** Begins to listen again after `close`. */
  async open(): Promise<void> {
    // Debian's service makes this folder when it starts; the server refuses to run as root without it.
    if (process.getuid?.() === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 });
    const log = openSync(this.#logFile, 'a');
    const [file = '', ...args] = this.#command;
    this.#child = spawn(file, args, { stdio: ['ignore', 'ignore', log] });
    closeSync(log);
    await until(
      () => answers(this.port, this.address),
      () => this.log,
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

  /** What it has logged so far. */
  get log(): string {
    return existsSync(this.#logFile) ? readFileSync(this.#logFile, 'utf8') : '';
  }

  /** How many times someone has signed in. */
  get logins(): number {
    return this.log.split('Accepted publickey').length - 1;
  }

  /** Its line for a known_hosts file. */
  knownHost(type: HostKeyType = 'ed25519', file = join(this.dir, `host_${type}.pub`)): string {
    return knownHostLine(this.address, this.port, file);
  }

  get #logFile(): string {
    return join(this.dir, 'log');
  }
}

/** A server's line for a known_hosts file, its public key in `file`. */
export function knownHostLine(address: string, port: number, file: string): string {
  const [type = '', key = ''] = readFileSync(file, 'utf8').trim().split(' ');
  return `[${address}]:${String(port)} ${type} ${key}\n`;
}

/** Makes a key pair with ssh-keygen; resolves to the public line. */
export function makeKey(file: string, options: { type?: string; passphrase?: string; bits?: number } = {}): string {
  const bits = options.bits === undefined ? [] : ['-b', String(options.bits)];
  // One round: opening the key is not what is tested.
  const rounds = options.passphrase === undefined ? [] : ['-a', '1'];
  const secret = ['-N', options.passphrase ?? ''];
  execFileSync('ssh-keygen', [
    '-q',
    '-t',
    options.type ?? 'ed25519',
    ...bits,
    ...rounds,
    ...secret,
    '-C',
    '',
    '-f',
    file,
  ]);
  return readFileSync(`${file}.pub`, 'utf8').trim();
}

/** A folder that every user of this machine can look into, and the way to remove it. */
export function makeFolder(): { dir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'kubeos-contract-'));
  chmodSync(dir, 0o755);
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** A TCP server that treats each connection as `serve` says. */
export async function tcpServer(
  serve: (socket: Socket) => void,
  address = '127.0.0.1',
): Promise<{ port: number; close: () => Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** A way to another port that can be frozen: packets vanish, nothing is refused. */
export async function freezableProxy(port: number) {
  let frozen = false;
  const server = await tcpServer((near) => {
    const far = connect(port, '127.0.0.1');
    far.on('error', () => near.destroy());
    near.on('data', (data) => !frozen && far.write(data));
    far.on('data', (data) => !frozen && near.write(data));
    near.on('close', () => far.destroy());
    far.on('close', () => !frozen && near.destroy());
  });
  return { ...server, freeze: () => (frozen = true) };
}

/** Waits for a condition, not for a time. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  explain: () => string = () => '',
): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`the condition did not come true\n${explain()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export function answers(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address, () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
