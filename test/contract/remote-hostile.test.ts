import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import ssh2, { type Connection as ServerConnection, type ServerChannel } from 'ssh2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConnectError } from '../../src/errors.ts';
import { makeKeyPair } from '../../src/lab/ssh-server.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import { clusterNode, failure } from './remote-kit.ts';
import { knownHostLine, LOGIN_USER, makeFolder, makeKey, Sshd, tcpServer } from './remote-sshd.ts';

// Servers that break the protocol. Whatever they send, the process lives on (vitest fails on an uncaught error), the
// failure is a ConnectError, and nothing stays open.

const folder = makeFolder();
const key = join(folder.dir, 'key');
const publicLine = makeKey(key);
const cleanUps: (() => unknown)[] = [];
const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

afterAll(() => folder.remove());

const node = clusterNode('worker-1');

function poolFor(port: number, knownHosts = join(folder.dir, `known-${String(port)}`)): ConnectionPool {
  const pool = new ConnectionPool(
    {
      sshUser: LOGIN_USER,
      sshPort: port,
      identities: [key],
      sshConfig: 'none',
      knownHosts: [knownHosts],
      acceptNewHostKeys: true,
      readyTimeoutMs: 1500,
      environment: { HOME: folder.dir, PATH: process.env['PATH'] },
    },
    clock,
    () => undefined,
  );
  cleanUps.push(() => pool.close());
  return pool;
}

const VERSION = 'SSH-2.0-OpenSSH_9.2\r\n';

/** One packet in clear: length, padding length, payload, padding (RFC 4253, 6). */
function packet(payload: Buffer | readonly number[], change: { length?: number; padding?: number } = {}): Buffer {
  const body = Buffer.from(payload);
  const padding = 8 - ((body.length + 5) % 8) + 8;
  const bytes = Buffer.alloc(5 + body.length + padding);
  bytes.writeUInt32BE(change.length ?? bytes.length - 4, 0);
  bytes[4] = change.padding ?? padding;
  body.copy(bytes, 5);
  return bytes;
}

/** Writes the same for as long as the other side takes it. */
function forEver(bytes: Buffer | string): (socket: Socket) => void {
  return (socket) => {
    const more = (): void => {
      while (!socket.destroyed && socket.write(bytes));
    };
    socket.on('drain', more);
    more();
  };
}

const say =
  (...pieces: (string | Buffer)[]) =>
  (socket: Socket): void => {
    for (const piece of pieces) socket.write(piece);
  };

const [DISCONNECT, IGNORE, SERVICE_ACCEPT, EXT_INFO, KEXINIT, NEWKEYS, KEX_REPLY, AUTH_SUCCESS, CHANNEL_DATA] = [
  1, 2, 6, 7, 20, 21, 31, 52, 94,
];
const NAMES = ['curve25519-sha256', 'ssh-ed25519', 'aes128-ctr', 'aes128-ctr', 'hmac-sha2-256', 'hmac-sha2-256'];
const lists = [...NAMES, 'none', 'none', '', ''].map((names) => {
  const bytes = Buffer.alloc(4 + names.length);
  bytes.writeUInt32BE(names.length, 0);
  bytes.write(names, 4);
  return bytes;
});
const kexInit = Buffer.concat([Buffer.from([KEXINIT]), Buffer.alloc(16), ...lists, Buffer.alloc(5)]);
const noise = Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 167 + 13) & 255));

describe('a server that is none', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['says noise', say(noise)],
    ['greets without end', forEver('welcome\r\n'.repeat(1000))],
    ['says one line without end', forEver('x'.repeat(65_536))],
    ['says zeros without end', forEver(Buffer.alloc(65_536))],
    ['speaks another version', say('SSH-1.5-OpenSSH_2.1\r\n')],
    ['says noise after its version', say(VERSION, noise)],
    ['announces a packet of 4 GiB', say(VERSION, packet([KEXINIT], { length: 0xffff_ffff }))],
    ['announces a packet of nothing', say(VERSION, packet([KEXINIT], { length: 0 }))],
    ['pads more than its packet', say(VERSION, packet([KEXINIT], { padding: 255 }))],
    ['breaks its offer off', say(VERSION, packet(kexInit.subarray(0, 40)))],
    ['offers nothing', say(VERSION, packet(Buffer.concat([Buffer.from([KEXINIT]), Buffer.alloc(16 + 45)])))],
    ['offers lists longer than the packet', say(VERSION, packet([KEXINIT, ...Buffer.alloc(16), 255, 255, 255, 255]))],
    ['offers twice', say(VERSION, packet(kexInit), packet(kexInit))],
    ['skips the key exchange', say(VERSION, packet([NEWKEYS]))],
    [
      'replies noise in the key exchange',
      say(VERSION, packet(kexInit), packet([KEX_REPLY, ...noise.subarray(0, 500)])),
    ],
    ['replies nothing in the key exchange', say(VERSION, packet(kexInit), packet([KEX_REPLY]))],
    ['takes the keys at once', say(VERSION, packet(kexInit), packet([NEWKEYS]), noise)],
    ['lets in before anything', say(VERSION, packet([SERVICE_ACCEPT, 0, 0, 0, 0]), packet([AUTH_SUCCESS]))],
    ['lets in after its offer', say(VERSION, packet(kexInit), packet([AUTH_SUCCESS]))],
    [
      'answers a command before anything',
      say(VERSION, packet(kexInit), packet([CHANNEL_DATA, 0, 0, 0, 0, 0, 0, 0, 1, 65])),
    ],
    ['says farewell in noise', say(VERSION, packet([DISCONNECT, ...noise.subarray(0, 60)]))],
    ['tells extensions in noise', say(VERSION, packet(kexInit), packet([EXT_INFO, ...noise.subarray(0, 60)]))],
    ['sends unknown messages', say(VERSION, ...[0, 3, 4, 5, 99, 128, 192, 255].map((type) => packet([type, 0, 0, 0])))],
    [
      'sends ignored messages without end',
      (socket) => {
        socket.write(VERSION);
        forEver(packet([IGNORE, 0, 0, 0, 0]))(socket);
      },
    ],
  ])('%s', async (_what, serve) => {
    const server = await tcpServer(serve);
    cleanUps.push(() => server.close());
    const error = await failure(poolFor(server.port).get(node));
    expect(error.node).toBe('worker-1');
    expect(['unreachable', 'timeout', 'protocol']).toContain(error.failure);
    expect(error.reason).toBeTruthy();
    expect(error.next).toBeTruthy();
  });
});

describe('a real server whose words are damaged on the way', () => {
  let sshd: Sshd;

  beforeAll(async () => {
    sshd = await Sshd.start({
      dir: join(folder.dir, 'sshd'),
      authorizedKeys: [publicLine],
      config: ['MaxStartups 200'],
    });
  });

  afterAll(() => sshd.close());

  /** One byte of what the server says is another. */
  async function damaged(at: number): Promise<number> {
    const proxy = await tcpServer((near) => {
      const far = connect(sshd.port, '127.0.0.1');
      let seen = 0;
      far.on('error', () => near.destroy());
      far.on('close', () => near.destroy());
      far.on('data', (data) => {
        if (at >= seen && at < seen + data.length) data[at - seen] = (data[at - seen] ?? 0) ^ 0x55;
        seen += data.length;
        near.write(data);
      });
      near.on('close', () => far.destroy());
      near.on('data', (data) => far.write(data));
    });
    cleanUps.push(() => proxy.close());
    const known = join(folder.dir, `damaged-${String(proxy.port)}`);
    writeFileSync(known, sshd.knownHost().replace(String(sshd.port), String(proxy.port)));
    return proxy.port;
  }

  it('and which goes away as soon as it has shown its key is a failure, whatever is thought of the key', async () => {
    const proxy = await tcpServer((near) => {
      const far = connect(sshd.port, '127.0.0.1');
      let heard = Buffer.alloc(0);
      far.on('error', () => near.destroy());
      far.on('data', (data) => {
        heard = Buffer.concat([heard, data]);
        const offer = heard.indexOf('\n') + 1;
        if (heard.length > offer + 4 && heard.length > offer + 4 + heard.readUInt32BE(offer)) near.end(data);
        else near.write(data);
      });
      near.on('close', () => far.destroy());
      near.on('data', (data) => far.write(data));
    });
    cleanUps.push(() => proxy.close());
    const strange = join(folder.dir, 'strange');
    makeKey(strange);
    writeFileSync(strange, knownHostLine('127.0.0.1', proxy.port, `${strange}.pub`));
    for (const known of [strange, join(folder.dir, 'known-shown')]) {
      const errors = await Promise.all(Array.from({ length: 10 }, () => failure(poolFor(proxy.port, known).get(node))));
      for (const { failure: kind } of errors) expect(['unreachable', 'host-key-changed']).toContain(kind);
    }
  });

  it('is a failure wherever the damage is, or does no harm', async () => {
    // The version, every part of the offer, the key exchange's reply, then what is encrypted.
    const places = [0, 3, 4, 8, 20, 39, 41, 42, 43, 44, 45, 46, 60, 62, 63, 64, 65, 90, 300, 600, 900, 1000].concat(
      Array.from({ length: 42 }, (_, index) => 1050 + index * 23),
    );
    const outcomes = await Promise.all(
      places.map(async (at) => {
        const port = await damaged(at);
        const pool = poolFor(port, join(folder.dir, `damaged-${String(port)}`));
        try {
          const connection = await pool.get(node);
          const { stdout } = await connection.run('echo fine', '', { timeoutMs: 1500 });
          return stdout;
        } catch (error) {
          expect(error, `at ${String(at)}`).toBeInstanceOf(ConnectError);
          return (error as ConnectError).failure;
        }
      }),
    );
    expect(new Set(outcomes).size).toBeGreaterThan(1);
    for (const outcome of outcomes) {
      expect(['fine\n', 'unreachable', 'timeout', 'protocol', 'lost', 'host-key-changed', 'login-refused']).toContain(
        outcome,
      );
    }
  });
});

// What ssh2's server can say on its own, whether it fits or not.
type Say = Record<string, (...args: unknown[]) => void>;

describe('a server that breaks the protocol once it has let kubeos in', () => {
  async function hostile(
    onExec: (say: Say, channel: ServerChannel, client: ServerConnection) => void,
  ): Promise<number> {
    const pair = makeKeyPair('host');
    const server = new ssh2.Server({ hostKeys: [pair.privateKey] }, (client) => {
      client.on('error', () => undefined);
      client.on('authentication', (context) => context.accept());
      client.on('ready', () => {
        client.on('session', (accept) => {
          accept().on('exec', (acceptExec) => {
            const channel = acceptExec();
            channel.on('error', () => undefined);
            onExec((client as unknown as { _protocol: Say })._protocol, channel, client);
          });
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanUps.push(() => new Promise((resolve) => server.close(resolve)));
    return (server.address() as { port: number }).port;
  }

  it.each<[string, (say: Say, channel: ServerChannel, client: ServerConnection) => void]>([
    [
      'speaks of channels that nobody opened',
      (say, channel) => {
        for (const id of [7, 4_294_967_295]) {
          say['channelData']!(id, Buffer.from('x'));
          say['channelExtData']!(id, Buffer.from('x'), 1);
          say['channelEOF']!(id);
          say['channelClose']!(id);
          say['channelWindowAdjust']!(id, 10);
          say['channelSuccess']!(id);
          say['channelFailure']!(id);
          say['exitStatus']!(id, 1);
          say['exitSignal']!(id, 'KILL', false, '');
          say['channelOpenConfirm']!(id, 1, 1, 1);
          say['channelOpenFail']!(id, 2, 'no');
        }
        channel.exit(0);
        channel.end();
      },
    ],
    [
      'says everything twice, and goes on after the end',
      (say, channel, client) => {
        channel.exit(3);
        channel.exit(4);
        const { outgoing } = channel as unknown as { outgoing: { id: number } };
        for (let turn = 0; turn < 2; turn++) {
          say['channelEOF']!(outgoing.id);
          say['channelData']!(outgoing.id, Buffer.from('more'));
          say['channelClose']!(outgoing.id);
          say['channelOpenConfirm']!(outgoing.id, 0, 10, 10);
          say['channelOpenFail']!(outgoing.id, 1, 'no');
          say['channelSuccess']!(outgoing.id);
        }
        client.end();
      },
    ],
    [
      'answers what was never asked, and asks what it may not',
      (say, channel) => {
        for (let turn = 0; turn < 5; turn++) {
          say['requestSuccess']!(Buffer.from('x'));
          say['requestFailure']!();
        }
        say['openssh_authAgent']!(5, 1024, 1024);
        say['forwardedTcpip']!(6, 1024, 1024, { bindAddr: 'a', bindPort: 1, remoteAddr: 'b', remotePort: 2 });
        say['x11']!(7, 1024, 1024, { originAddr: 'a', originPort: 1 });
        say['ping']!();
        channel.exit(0);
        channel.end();
      },
    ],
    [
      'ends the command by a signal that has no name',
      (say, channel) => {
        say['exitSignal']!((channel as unknown as { outgoing: { id: number } }).outgoing.id, '', true, '\u0000');
        channel.end();
      },
    ],
    ['closes without a word on how it ended', (_say, channel) => channel.close()],
    ['goes away at once', (_say, _channel, client) => client.end()],
    [
      'says noise under the encryption',
      (_say, _channel, client) => (client as unknown as { _sock: Socket })._sock.write(randomBytes(2000)),
    ],
  ])('%s', async (_what, onExec) => {
    const pool = poolFor(await hostile(onExec));
    const connection = await pool.get(node);
    const outcome: unknown = await connection.run('x', 'input', { timeoutMs: 1500 }).catch((error: unknown) => error);
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(ConnectError);
    else expect(outcome).toHaveProperty('stdout');
  });
});
