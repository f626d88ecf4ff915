import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parseJump } from '../../src/remote/jump-hosts.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import type { HostEntry, RemoteSettings } from '../../src/remote/settings.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { failure } from './remote-kit.ts';
import { freezableProxy, LOGIN_USER, makeFolder, makeKey, Sshd, tcpServer, until } from './remote-sshd.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);

// The ways to a node: over real OpenSSH servers as bastions, real nc and ssh as ProxyCommand.

const folder = makeFolder();
const dir = folder.dir;
const key = join(dir, 'key');
const knownHosts = join(dir, 'known_hosts');
const MANY = ['worker-1', 'worker-2', 'worker-3', 'worker-4', 'worker-5', 'worker-6', 'worker-7', 'worker-8'];
const READY_MS = 8000;
let publicKey: string;
let target: Sshd;
let bastion: Sshd;
let second: Sshd;
const pools: ConnectionPool[] = [];
const cleanUps: (() => unknown)[] = [];

const clock = {
  now: () => Date.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, Math.min(ms, 20))),
};

beforeAll(async () => {
  publicKey = makeKey(key);
  mkdirSync(join(dir, 'home'));
  [target, bastion, second] = await Promise.all([
    Sshd.start({ dir: join(dir, 'target'), authorizedKeys: [publicKey] }),
    // Sessions are not what a way through takes.
    Sshd.start({ dir: join(dir, 'bastion'), authorizedKeys: [publicKey], config: ['MaxSessions 0'] }),
    Sshd.start({ dir: join(dir, 'second'), authorizedKeys: [publicKey] }),
  ]);
  trust(target, bastion, second);
});

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

afterAll(async () => {
  await Promise.all([target, bastion, second].map((sshd) => sshd.close()));
  folder.remove();
});

function trust(...servers: Sshd[]): void {
  writeFileSync(knownHosts, servers.map((one) => one.knownHost()).join(''), { flag: 'a' });
}

async function startSshd(name: string, config: readonly string[], authorizedKeys = [publicKey]): Promise<Sshd> {
  const sshd = await Sshd.start({ dir: join(dir, name), authorizedKeys, config });
  cleanUps.push(() => sshd.close());
  trust(sshd);
  return sshd;
}

/** `user@127.0.0.1:port`. */
const at = ({ port }: { port: number }) => `${LOGIN_USER}@127.0.0.1:${String(port)}`;

function makePool(change: Partial<RemoteSettings> & { through?: string; config?: string } = {}): ConnectionPool {
  const { through, config, ...settings } = change;
  const file = join(dir, `config-${String(pools.length)}`);
  if (config !== undefined) writeFileSync(file, config);
  const pool = new ConnectionPool(
    {
      sshUser: LOGIN_USER,
      sshPort: target.port,
      identities: [key],
      sshConfig: config === undefined ? 'none' : file,
      knownHosts: [knownHosts],
      acceptNewHostKeys: false,
      readyTimeoutMs: READY_MS,
      environment: { HOME: join(dir, 'home'), PATH: process.env['PATH'], LANG: 'C' },
      ...(through === undefined ? {} : { jump: parseJump(through)! }),
      ...settings,
    },
    clock,
    () => undefined,
  );
  pools.push(pool);
  return pool;
}

const node = (name = 'worker-1', address = '127.0.0.1') =>
  ({ name, addresses: [{ type: 'InternalIP', address }] }) as unknown as ClusterNode;

async function say(pool: ConnectionPool, name = 'worker-1', input = 'echo hello\n'): Promise<string> {
  const connection = await pool.get(node(name));
  return (await connection.run('exec /bin/sh -s', input, { timeoutMs: 20_000 })).stdout;
}

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** A port on which nothing listens. */
async function closedPort(): Promise<{ port: number }> {
  const gone = await tcpServer(() => undefined);
  await gone.close();
  return gone;
}

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

/** Field 6 of /proc/PID/stat (proc(5)). */
const sessionOf = (pid: number): string | undefined =>
  readFileSync(`/proc/${String(pid)}/stat`, 'utf8')
    .split(') ')[1]
    ?.split(' ')[3];

/** A file into which a command writes its process id. */
async function pidIn(file: string): Promise<number> {
  await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'));
  return Number(readFileSync(file, 'utf8'));
}

describe('--jump', () => {
  it('is one connection to each jump host, whatever it allows of sessions, for all nodes behind it', async () => {
    const before = [bastion.logins, second.logins];
    const pool = makePool({ through: `${at(bastion)},${at(second)}` });
    const said = await Promise.all(MANY.map((name) => say(pool, name, 'echo $SSH_CONNECTION\n')));
    expect(said.every((line) => line.endsWith(` 127.0.0.1 ${String(target.port)}\n`))).toBe(true);
    expect([bastion.logins - before[0]!, second.logins - before[1]!]).toEqual([1, 1]);
  });

  /** A machine without IPv6 counts this test as skipped in the run's last line. */
  it.runIf(hasIpv6)('takes an IPv6 address in brackets, as ProxyJump does, and in the form of a URL', async () => {
    const six = await Sshd.start({ dir: join(dir, 'six'), authorizedKeys: [publicKey], address: '::1' });
    cleanUps.push(() => six.close());
    trust(six);
    const place = `${LOGIN_USER}@[::1]:${String(six.port)}`;
    expect(await say(makePool({ through: place }))).toBe('hello\n');
    expect(await say(makePool({ through: `ssh://${place}` }))).toBe('hello\n');
    expect(await say(makePool({ config: `Host worker-1\n  ProxyJump ${place}\n` }))).toBe('hello\n');
    expect(six.logins).toBe(3);
    // OpenSSH 9.2 reads no such URL here: what it says is told.
    const refused = await failure(makePool({ config: `Host *\n  ProxyJump ssh://${place}\n` }).get(node()));
    expect(refused.reason).toContain('Invalid ProxyJump');
    const closed = await Sshd.start({ dir: join(dir, 'six-closed'), authorizedKeys: [], address: '::1' });
    cleanUps.push(() => closed.close());
    trust(closed);
    const wrong = `${LOGIN_USER}@[::1]:${String(closed.port)}`;
    expect((await failure(makePool({ through: wrong }).get(node()))).message).toContain(`the jump host ${wrong} `);
  });

  it('of the hosts file counts for its node alone, and less than the flag', async () => {
    const hosts: HostEntry[] = [
      { name: 'worker-1', jump: parseJump(at(bastion))! },
      { name: 'worker-3', jump: [] },
    ];
    const config = `Host worker-3\n  ProxyJump nowhere.invalid\nHost worker-4\n  ProxyJump ${at(second)}\n`;
    const before = [bastion.logins, second.logins];
    const pool = makePool({ hosts, config });
    expect(await Promise.all(MANY.slice(0, 4).map((name) => say(pool, name)))).toEqual(Array(4).fill('hello\n'));
    expect([bastion.logins - before[0]!, second.logins - before[1]!]).toEqual([1, 1]);
    const direct = makePool({ hosts, config, through: 'none' });
    await Promise.all(MANY.slice(0, 4).map((name) => say(direct, name)));
    expect([bastion.logins - before[0]!, second.logins - before[1]!]).toEqual([1, 1]);
  });

  it('leaves no channel behind where a node’s connection ends', async () => {
    const pool = makePool({ through: at(bastion) });
    await say(pool);
    const ended = () => target.log.split(/Connection closed|Connection reset|Disconnected from/).length;
    const before = ended();
    await pool.drop('worker-1');
    await until(() => ended() > before);
    expect(await say(pool)).toBe('hello\n');
  });
});

describe('a node behind a jump host', () => {
  it.each([
    ['a jump host', () => makePool({ through: at(bastion) })],
    ['a ProxyCommand', () => makePool({ config: 'Host *\n  ProxyCommand nc %h %p\n' })],
  ])('that dies alone is noticed at once behind %s, in the middle of a command too', async (_what, open) => {
    const pool = open();
    const connection = await pool.get(node());
    const sessions = () => target.log.split('Starting session').length;
    const before = sessions();
    const running = failure(connection.run('exec /bin/sh -s', 'sleep 600\n', { timeoutMs: 20_000 }));
    await until(() => sessions() > before);
    target.cut();
    expect(await running).toMatchObject({ failure: 'lost' });
    expect(connection.alive).toBe(false);
    expect(await say(pool)).toBe('hello\n');
  });
});

describe('a jump host', () => {
  it.each([
    ['AllowTcpForwarding no', ['AllowTcpForwarding no'], ''],
    ['DisableForwarding', ['DisableForwarding yes'], ''],
    ['PermitOpen', ['PermitOpen 10.0.0.1:22'], ''],
    ['a restricted key', [], 'restrict '],
  ])('that lets nobody through, by %s, says so, with what to change', async (what, config, options) => {
    const closed = await startSshd(`closed-${what.replaceAll(/\W/g, '')}`, config, [options + publicKey]);
    const error = await failure(makePool({ through: at(closed) }).get(node()));
    expect(error).toMatchObject({
      failure: 'protocol',
      message: `the jump host ${at(closed)} lets nobody through to 127.0.0.1:${String(target.port)}`,
      next: containing('AllowTcpForwarding'),
    });
    expect(closed.logins).toBe(1);
  });

  it('that does not reach the node says which of the two is meant', async () => {
    const gone = await closedPort();
    expect(await failure(makePool({ through: at(bastion), sshPort: gone.port }).get(node()))).toMatchObject({
      failure: 'unreachable',
      message: `the jump host ${at(bastion)} does not reach 127.0.0.1:${String(gone.port)}`,
      reason: 'Connection refused',
    });
    const error = await failure(makePool({ through: at(bastion) }).get(node('worker-1', 'no-such-host.invalid')));
    expect(error).toMatchObject({ failure: 'unreachable', message: containing('does not reach no-such-host.invalid') });
  });

  it('from which packets to the node vanish is given up in time', async () => {
    const full = await fullListener();
    const pool = makePool({ through: at(bastion), sshPort: full.port, readyTimeoutMs: 1500 });
    expect(await failure(pool.get(node()))).toMatchObject({
      failure: 'timeout',
      message: containing('does not reach'),
      reason: 'no answer after 1.5s',
    });
  });

  it('that refuses the login is told by its own name, once for all nodes behind it', async () => {
    const strange = await startSshd('strange', [], []);
    let connections = 0;
    const counter = await frontOf(strange, () => (connections += 1));
    const pool = makePool({ through: at(counter) });
    const errors = await Promise.all(MANY.map((name) => failure(pool.get(node(name)))));
    expect(new Set(errors.map(({ message }) => message))).toEqual(
      new Set([`the jump host ${at(counter)} refuses the login`]),
    );
    expect(connections).toBe(1);
  });

  it('of each place in the chain must show its known key, and is offered nothing before', async () => {
    for (const [index, unknown] of [bastion, second].entries()) {
      const known = join(dir, `known-${String(index)}`);
      const others = [target, bastion, second].filter((one) => one !== unknown);
      writeFileSync(known, others.map((one) => one.knownHost()).join(''));
      const before = unknown.log.length;
      const pool = makePool({ through: `${at(bastion)},${at(second)}`, knownHosts: [known] });
      const error = await failure(pool.get(node()));
      expect(error).toMatchObject({
        failure: 'host-key-unknown',
        message: containing(`[127.0.0.1]:${String(unknown.port)}`),
      });
      // Only the first can be asked from here.
      expect(error.next?.includes('ssh-keyscan')).toBe(index === 0);
      expect(unknown.log.slice(before)).not.toContain('publickey');
    }
  });

  it('that dies takes its nodes along, and all come back over one new connection', async () => {
    const pool = makePool({ through: at(bastion) });
    const connections = await Promise.all(MANY.map((name) => pool.get(node(name))));
    const before = bastion.logins;
    bastion.cut();
    await until(() => connections.every(({ alive }) => !alive));
    expect(await Promise.all(MANY.map((name) => say(pool, name)))).toEqual(MANY.map(() => 'hello\n'));
    expect(bastion.logins - before).toBe(1);
  });

  it('that vanishes is noticed, though a node asks for a new way before', async () => {
    const front = await freezableProxy(bastion.port);
    cleanUps.push(() => front.close());
    writeFileSync(knownHosts, bastion.knownHost().replace(String(bastion.port), String(front.port)), { flag: 'a' });
    const pool = makePool({
      through: at(front),
      keepalive: { intervalMs: 300, countMax: 2 },
      readyTimeoutMs: 2500,
    });
    const connections = await Promise.all(MANY.map((name) => pool.get(node(name))));
    front.freeze();
    // Its own connection ends first; the jump host's is not known to be dead yet.
    await pool.drop('worker-1');
    const error = failure(pool.get(node('worker-1')));
    await until(() => connections.every(({ alive }) => !alive));
    expect(await error).toMatchObject({
      failure: 'timeout',
      message: `no SSH connection to the jump host ${at(front)}`,
      reason: 'stuck in: handshake after 2.5s',
    });
  });

  it.each([
    ['does not answer', async () => (await closedPort()).port, 'check that the jump host is up'],
    ['refuses the login', async () => (await startSshd('no-keys', [], [])).port, 'authorized_keys on the jump host'],
    [
      'speaks another language',
      async () => (await startSshd('odd-kex', ['KexAlgorithms diffie-hellman-group14-sha1'])).port,
      'sshd_config of the jump host',
    ],
  ])('that %s is named in what to do next, not the node behind it', async (_what, start, next) => {
    const port = await start();
    const error = await failure(makePool({ through: at({ port }) }).get(node()));
    expect(error.message).toContain(`the jump host ${at({ port })}`);
    expect(error.next).toContain(next);
    expect(error.next).toMatch(/--jump, KUBEOS_SSH_JUMP, ProxyJump/);
    expect(error.next).not.toMatch(/the node\b|--address-type|--ssh-user/);
  });

  it('that is busy is tried again (MaxStartups)', async () => {
    let refusals = 2;
    const busy = await frontOf(bastion, (socket) => refusals-- > 0 && socket.end());
    expect(await say(makePool({ through: at(busy) }))).toBe('hello\n');
  });

  it('follows its own lines of ssh_config: name, user, port, key, alias, and its own way', async () => {
    makeKey(join(dir, 'bastion_key'));
    const own = await startSshd('own', [], [readFileSync(join(dir, 'bastion_key.pub'), 'utf8')]);
    const known = join(dir, 'known-own');
    writeFileSync(known, target.knownHost() + second.knownHost() + own.knownHost().replace(/^\S+/, 'fleet-door'));
    const config = (way: string) => `
Host door
  HostName 127.0.0.1
  Port ${String(own.port)}
  User ${LOGIN_USER}
  IdentityFile ${join(dir, 'bastion_key')}
  IdentitiesOnly yes
  HostKeyAlias fleet-door
  ${way}
Host outer
  HostName 127.0.0.1
  Port ${String(second.port)}
  User ${LOGIN_USER}
Host worker-*
  ProxyJump door
`;
    for (const way of ['ProxyJump outer', 'ProxyCommand nc %h %p', 'ConnectTimeout 7']) {
      const before = [second.logins, own.logins];
      const pool = makePool({ config: config(way), knownHosts: [known] });
      expect(await Promise.all([say(pool, 'worker-1'), say(pool, 'worker-2')])).toEqual(['hello\n', 'hello\n']);
      expect([second.logins - before[0]!, own.logins - before[1]!]).toEqual([way.includes('outer') ? 1 : 0, 1]);
    }
  });

  it('that is reached through itself, by whatever way round, is an error and not an endless run', async () => {
    const config = [
      'Host b1\n  ProxyJump b2',
      'Host b2\n  ProxyJump b3',
      'Host b3\n  ProxyJump b1',
      'Host b4\n  ProxyJump b4',
      'Host worker-1\n  ProxyJump b1',
      'Host worker-2\n  ProxyJump b4',
      'Host worker-3\n  ProxyJump b5,b5',
      'Host worker-4\n  ProxyJump worker-4\n',
    ].join('\n');
    const pool = makePool({ config });
    const told = await Promise.all(MANY.slice(0, 4).map((name) => failure(pool.get(node(name)))));
    expect(told.map(({ message }) => message)).toEqual(
      ['b1', 'b4', 'b5', 'worker-4'].map((name) => `ssh_config reaches ${name} through itself`),
    );
    expect(told[0]?.reason).toMatch(/^the jump hosts are: \S+@b1:22, \S+@b2:22, \S+@b3:22, \S+@b1:22$/);
  });
});

describe('a ProxyCommand', () => {
  const proxied = (command: string, change: Partial<RemoteSettings> = {}) =>
    makePool({ config: `Host worker-*\n  ProxyCommand ${command}\n`, ...change });

  it('carries a connection: nc', async () => {
    const pool = proxied('nc %h %p');
    expect(await say(pool)).toBe('hello\n');
    const connection = await pool.get(node());
    const much = `${'#'.repeat(200)}\n`.repeat(20_000);
    const { stdout } = await connection.run('cat', much, { timeoutMs: 20_000 });
    expect(stdout.length).toBe(much.length);
  });

  it('carries a connection: ssh -W, with a configuration of its own', async () => {
    const own = join(dir, 'config-of-ssh');
    const files = `  UserKnownHostsFile ${knownHosts}\n  IdentityFile ${key}\n  IdentitiesOnly yes\n  BatchMode yes\n`;
    writeFileSync(own, `Host door\n  HostName 127.0.0.1\n  Port ${String(bastion.port)}\n${files}`);
    const before = bastion.logins;
    const pool = proxied(`ssh -F ${own} -l ${LOGIN_USER} -W [%h]:%p door`);
    expect(await Promise.all(MANY.slice(0, 3).map((name) => say(pool, name)))).toEqual(Array(3).fill('hello\n'));
    expect(bastion.logins - before).toBe(3);
  });

  it('of a jump host, and `none` for a node below it', async () => {
    const config = `Host worker-1\n  ProxyCommand none\nHost *\n  ProxyCommand exit 3\n`;
    const pool = makePool({ config });
    expect(await say(pool, 'worker-1')).toBe('hello\n');
    expect((await failure(pool.get(node('worker-2')))).reason).toContain('ended with exit code');
  });

  it.each([
    ['ends', 'sh -c "echo no way >&2; exit 7"', 'unreachable', /^its ProxyCommand sh ended with exit code 7\nno way$/],
    [
      'is not there',
      'no-such-program %h',
      'unreachable',
      /ProxyCommand no-such-program ended with exit code 127\n.*not found/,
    ],
    ['is killed', 'sh -c "kill -KILL $$"', 'unreachable', /^its ProxyCommand sh was ended by SIGKILL$/],
    [
      'says nothing',
      'sh -c "echo waiting >&2; exec sleep 600"',
      'timeout',
      /sleep|ProxyCommand sh still ran\nwaiting$/,
    ],
    ['says what is no SSH', 'sh -c "echo Welcome; echo out of tune >&2"', 'unreachable', /exit code 0\nout of tune$/],
    ['closes its output', 'sh -c "exec >&-; echo shut >&2; exec sleep 600"', 'unreachable', /still ran\nshut$/],
    [
      'has a secret in it',
      'env PASSWORD=hush sh -c "exit 7"',
      'unreachable',
      /^its ProxyCommand env ended with exit code 7$/,
    ],
  ])('that %s is told with its own words', async (_what, command, kind, reason) => {
    const error = await failure(proxied(command, { readyTimeoutMs: 1500 }).get(node()));
    expect(error).toMatchObject({ failure: kind, node: 'worker-1', reason: matching(reason) });
    expect(error.next).toMatch(
      kind === 'timeout' || !String(reason).includes('127') ? /with ssh itself/ : /mend ProxyCommand/,
    );
  });

  it('that breaks later is what the lost connection tells of', async () => {
    const file = join(dir, 'pid-later');
    const pool = proxied(`sh -c "echo \\$\\$ > ${file}; exec nc %h %p"`);
    const connection = await pool.get(node());
    const running = failure(connection.run('exec /bin/sh -s', 'sleep 600\n', { timeoutMs: 20_000 }));
    process.kill(await pidIn(file), 'SIGTERM');
    expect(await running).toMatchObject({
      failure: 'lost',
      reason: containing('its ProxyCommand sh was ended by SIGTERM'),
    });
    expect(await say(pool)).toBe('hello\n');
  });

  it('gets no secret of kubeos, and the user’s own shell', async () => {
    const out = join(dir, 'seen-environment');
    const shell = join(dir, 'own-shell');
    writeFileSync(shell, `#!/bin/sh\n{ echo "$2"; env; } > ${out}\nexec /bin/sh "$@"\n`, { mode: 0o755 });
    const environment = {
      HOME: join(dir, 'home'),
      PATH: process.env['PATH'],
      SHELL: shell,
      KUBEOS_SSH_PASSPHRASE: 'hush',
      KUBEOS_SSH_PASSWORD: 'hush',
      KUBEOS_SUDO_PASSWORD: 'hush',
    };
    expect(await say(proxied('nc %h %p', { environment }))).toBe('hello\n');
    const seen = readFileSync(out, 'utf8');
    expect(seen).toContain(`exec nc 127.0.0.1 ${String(target.port)}\n`);
    expect(seen).not.toContain('hush');
  });

  it.each([
    ['the connection is dropped', (pool: ConnectionPool) => pool.drop('worker-1')],
    ['all connections are closed', (pool: ConnectionPool) => pool.close()],
  ])('ends with all that it started once %s, though it ignores hints', async (what, end) => {
    const file = join(dir, `pid-${what.replaceAll(' ', '-')}`);
    const stubborn = `trap '' HUP TERM; sleep 600 & echo $! > ${file}; nc %h %p; wait`;
    const pool = proxied(`sh -c "${stubborn.replaceAll('$', String.raw`\$`)}"`);
    expect(await say(pool)).toBe('hello\n');
    const pid = await pidIn(file);
    expect(isRunning(pid)).toBe(true);
    // Ctrl-C on the terminal is not for it.
    expect(sessionOf(pid)).not.toBe(sessionOf(process.pid));
    await end(pool);
    await until(() => !isRunning(pid));
  });
});

/** Another port of a server; `meet` sees each connection, and may end it. */
async function frontOf(sshd: Sshd, meet: (socket: Socket) => unknown): Promise<{ port: number }> {
  const front = await tcpServer((socket) => {
    meet(socket);
    if (socket.writableEnded) return;
    const far = connect(sshd.port, '127.0.0.1');
    socket.pipe(far).pipe(socket);
    far.on('error', () => socket.destroy());
  });
  cleanUps.push(() => front.close());
  writeFileSync(knownHosts, sshd.knownHost().replace(String(sshd.port), String(front.port)), { flag: 'a' });
  return front;
}

/** A listener that accepts nobody and whose queue is full: what is sent to it vanishes. */
async function fullListener(): Promise<{ port: number }> {
  const script =
    'const s = require("net").createServer().listen(0, "127.0.0.1", 1, () => console.log(s.address().port))';
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanUps.push(() => child.kill('SIGKILL'));
  const port = Number(await new Promise((resolve) => child.stdout.once('data', resolve)));
  child.kill('SIGSTOP');
  const sockets: Socket[] = [];
  cleanUps.push(() => sockets.forEach((socket) => socket.destroy()));
  const answers = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => undefined);
      sockets.push(socket);
      setTimeout(() => resolve(false), 400);
    });
  await until(async () => !(await answers()));
  return { port };
}
