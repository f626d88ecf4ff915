import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConnectError } from '../../src/errors.ts';
import type { Connection } from '../../src/remote/connection.ts';
import type { Running } from '../../src/remote/exec.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import type { RemoteSettings } from '../../src/remote/settings.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { LOGIN_USER, makeKey, Sshd, tcpServer } from './remote-sshd.ts';

// Run in a network namespace of its own: there, packets can be dropped without harm to anybody. Prints what became of
// each connection, and how many milliseconds after the drop.

const dir = process.argv[2] ?? '';
const key = join(dir, 'key');
const authorizedKeys = [makeKey(key)];
const FAST = { intervalMs: 200, countMax: 3 };
const node = { name: 'worker-1', addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] } as unknown as ClusterNode;
const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };

function poolFor(port: number, knownHosts: string, keepalive?: RemoteSettings['keepalive']): ConnectionPool {
  const settings: RemoteSettings = {
    sshUser: LOGIN_USER,
    sshPort: port,
    identities: [key],
    sshConfig: 'none',
    knownHosts: [knownHosts],
    acceptNewHostKeys: false,
    readyTimeoutMs: 1000,
    environment: { HOME: dir, PATH: process.env['PATH'] },
    ...(keepalive !== undefined && { keepalive }),
  };
  return new ConnectionPool(settings, clock, () => undefined);
}

const drop = (port: number): void => {
  const rules = ['sport', 'dport'].map(
    (side) => `add rule inet drop${String(port)} in tcp ${side} ${String(port)} drop`,
  );
  const chain = 'in { type filter hook input priority 0; policy accept; }';
  const table = `drop${String(port)}`;
  execFileSync('nft', ['-f', '-'], {
    input: [`add table inet ${table}`, `add chain inet ${table} ${chain}`, ...rules].join('\n'),
  });
};

/** From now on each packet is answered as by a machine that knows nothing of the connection: by a reset. */
const forget = (port: number): void => {
  const table = `drop${String(port)}`;
  const rule = `add rule inet ${table} in tcp dport ${String(port)} reject with tcp reset`;
  execFileSync('nft', ['-f', '-'], {
    // What the kernel itself still says for the server that has ended stays unheard.
    input: [
      `flush chain inet ${table} in`,
      rule,
      `add rule inet ${table} in tcp sport ${String(port)} tcp flags fin drop`,
    ].join('\n'),
  });
};

async function outcomeOf(work: Promise<unknown>, since: () => number) {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) return { failure: `none: ${String(error)}`, ms: 0 };
  return { failure: error.failure, reason: error.reason, ms: Date.now() - since() };
}

const loss = (connection: Connection): Promise<never> =>
  new Promise((_resolve, reject) => {
    connection.onLost((reason) => reject(new ConnectError('lost', 'lost', { reason })));
  });

async function start(name: string): Promise<{ sshd: Sshd; known: string }> {
  const sshd = await Sshd.start({ dir: join(dir, name), authorizedKeys });
  const known = join(dir, `known-${name}`);
  writeFileSync(known, sshd.knownHost());
  return { sshd, known };
}

/** Sends for as long as it is taken. */
async function feed({ channel, ended, drained }: Running, begun: () => void): Promise<void> {
  while (!ended.aborted) {
    await new Promise((resolve) => channel.write(Buffer.alloc(128 * 1024), resolve));
    await drained();
    begun();
  }
}

execFileSync('ip', ['link', 'set', 'lo', 'up']);
const [one, other] = await Promise.all([start('one'), start('other')]);
const connectTo = ({ sshd, known }: typeof one, keepalive?: RemoteSettings['keepalive']) =>
  poolFor(sshd.port, known, keepalive).get(node);
const [byDefault, idle, busy, sending, patient] = await Promise.all([
  connectTo(one),
  connectTo(one, FAST),
  connectTo(one, FAST),
  connectTo(one, FAST),
  connectTo(other, { intervalMs: 200, countMax: 1_000_000 }),
]);
let droppedAt = 0;
const since = (): number => droppedAt;
const running = outcomeOf(busy.run('echo begun; exec sleep 100', '', { timeoutMs: 100_000 }), since);
let sent: ReturnType<typeof outcomeOf> | undefined;
await new Promise<void>((begun) => {
  const cat = sending.run('cat >/dev/null', (command) => void feed(command, begun), { timeoutMs: 100_000 });
  sent = outcomeOf(cat, since);
});
const silent = await tcpServer((socket) => {
  socket.write('SSH-2.0-OpenSSH_9.2\r\n');
  socket.once('data', () => drop(silent.port));
});
droppedAt = Date.now();
drop(one.sshd.port);
drop(other.sshd.port);
const outcomes = {
  byDefault: outcomeOf(loss(byDefault), since),
  idle: outcomeOf(loss(idle), since),
  command: running,
  sending: sent,
  handshake: outcomeOf(poolFor(silent.port, one.known, FAST).get(node), since),
  connect: outcomeOf(poolFor(one.sshd.port, one.known, FAST).get(node), since),
};
// The other server forgets its connection while nothing gets through, as a node does that loses its power.
await other.sshd.close();
forget(other.sshd.port);
const halfOpen = await outcomeOf(loss(patient), since);
const entries = await Promise.all(
  Object.entries(outcomes).map(async ([name, outcome]) => [name, await outcome] as const),
);
await one.sshd.close();
process.stdout.write(JSON.stringify({ ...Object.fromEntries(entries), halfOpen }), () => process.exit(0));
