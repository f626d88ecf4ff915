import { timingSafeEqual } from 'node:crypto';
import { type Server as TcpServer, type Socket, createServer } from 'node:net';
import ssh2 from 'ssh2';
import type { AuthContext, ParsedKey, PublicKeyAuthContext } from 'ssh2';
import type { NodeUser } from './machine.ts';
import { type NodeShell, serveSession } from './ssh-session.ts';

export interface NodeSshOptions {
  /** A loopback address of the node's own. */
  address: string;
  /** 0, or missing, takes any free port; it stays the same from then on. */
  port?: number;
  /** The node's host key, private, in OpenSSH's format. */
  hostKey: string;
  /** Public keys that may sign in, each a line as in authorized_keys. */
  authorizedKeys: readonly string[];
  shell: NodeShell;
}

/** The users that can sign in: root, and one that needs `sudo -n`. */
const USERS: readonly NodeUser[] = ['root', 'ops'];

/**
 * One node's SSH server. It runs what it is sent under the node's real /bin/sh, as sshd does: a process lives on when
 * its connection drops. Throws, or rejects with, the operating system's own errors.
 */
export class NodeSsh {
  readonly address: string;
  readonly #options: NodeSshOptions;
  readonly #keys: readonly ParsedKey[];
  readonly #sockets = new Set<Socket>();
  readonly #ssh: ssh2.Server;
  #listener: TcpServer | undefined;
  #port: number;

  constructor(options: NodeSshOptions) {
    this.#options = options;
    this.address = options.address;
    this.#port = options.port ?? 0;
    this.#keys = options.authorizedKeys.map(parseKey);
    this.#ssh = new ssh2.Server({ hostKeys: [options.hostKey], ident: 'OpenSSH_9.2 kubeos-lab' });
    this.#ssh.on('connection', (client) => this.#welcome(client));
  }

  /** The port it listens on; 0 before the first `open`. */
  get port(): number {
    return this.#port;
  }

  get isOpen(): boolean {
    return this.#listener !== undefined;
  }

  /** How many connections are there now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Begins to listen; does nothing where it does already. */
  async open(): Promise<void> {
    if (this.#listener !== undefined) return;
    const listener = createServer((socket) => this.#admit(socket));
    this.#listener = listener;
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(this.#port, this.address, resolve);
    });
    const bound = listener.address();
    if (typeof bound === 'object' && bound !== null) this.#port = bound.port;
  }

  /** Stops listening and cuts every connection without a word, as a machine that loses its power does. */
  async close(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    this.cut();
    if (listener === undefined) return;
    await new Promise<void>((resolve) => listener.close(() => resolve()));
  }

  /** Cuts every connection, and goes on listening. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #admit(socket: Socket): void {
    this.#sockets.add(socket);
    // A cut connection is this server's business, not an error of the lab.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.setNoDelay(true);
    this.#ssh.injectSocket(socket);
  }

  #welcome(client: ssh2.Connection): void {
    let user: NodeUser = 'root';
    client.on('error', () => undefined);
    client.on('authentication', (context) => {
      const known = USERS.find((name) => name === context.username);
      if (known === undefined || !this.#mayEnter(context)) {
        context.reject(['publickey']);
        return;
      }
      user = known;
      context.accept();
    });
    client.on('ready', () => {
      serveSession(client, user, this.#options.shell, () => this.cut());
    });
  }

  #mayEnter(context: AuthContext): boolean {
    if (context.method !== 'publickey') return false;
    const key = this.#keys.find((candidate) => isSameKey(candidate, context));
    if (key === undefined) return false;
    // Without a signature the client only asks whether this key would do (RFC 4252, section 7).
    if (context.signature === undefined || context.blob === undefined) return true;
    return key.verify(context.blob, context.signature, context.hashAlgo);
  }
}

/** Makes a key pair as ssh-keygen would, and the line that authorized_keys and known_hosts carry. */
export function makeKeyPair(comment: string): { privateKey: string; publicLine: string } {
  for (;;) {
    const pair = ssh2.utils.generateKeyPairSync('ed25519', { comment });
    // A few keys in a thousand that ssh2 1.17 makes it cannot read again itself.
    if (!(ssh2.utils.parseKey(pair.private) instanceof Error)) {
      return { privateKey: pair.private, publicLine: pair.public };
    }
  }
}

function parseKey(line: string): ParsedKey {
  const key = ssh2.utils.parseKey(line);
  if (key instanceof Error) throw key;
  return key;
}

function isSameKey(known: ParsedKey, offered: PublicKeyAuthContext): boolean {
  const expected = known.getPublicSSH();
  return expected.length === offered.key.data.length && timingSafeEqual(expected, offered.key.data);
}
