import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeKeyPair, NodeSsh } from '../../src/lab/ssh-server.ts';
import { nodeIdentity } from '../../src/lab/identity.ts';
import { createRemote, type RemoteSettings } from '../../src/remote/index.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { failure } from './remote-kit.ts';
import { freezableProxy, LOGIN_USER, makeFolder, makeKey, Sshd, tcpServer, until } from './remote-sshd.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

// How connections are made, trusted, signed in to, lost and made again; against OpenSSH's own server, which runs
// nothing here but `sh` with harmless lines.

const folder = makeFolder();
const dir = folder.dir;
const knownHosts = join(dir, 'known_hosts');
const key = join(dir, 'key');
let sshd: Sshd;
const pools: ConnectionPool[] = [];
const notices: string[] = [];
const cleanUps: (() => unknown)[] = [];

const clock = {
  now: () => Date.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, Math.min(ms, 20))),
};

beforeAll(async () => {
  const keys = [
    makeKey(key),
    makeKey(join(dir, 'key_ecdsa'), { type: 'ecdsa' }),
    makeKey(join(dir, 'key_rsa'), { type: 'rsa', bits: 2048 }),
    makeKey(join(dir, 'key_locked'), { passphrase: 'open sesame' }),
  ];
  makeKey(join(dir, 'stranger'));
  mkdirSync(join(dir, 'home'));
  sshd = await Sshd.start({ dir: join(dir, 'sshd'), authorizedKeys: keys });
  writeFileSync(knownHosts, sshd.knownHost());
});

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  notices.length = 0;
});

afterAll(async () => {
  await sshd.close();
  folder.remove();
});

function settings(change: Partial<RemoteSettings> = {}): RemoteSettings {
  return {
    sshUser: LOGIN_USER,
    sshPort: sshd.port,
    identities: [key],
    sshConfig: 'none',
    knownHosts: [knownHosts],
    acceptNewHostKeys: false,
    environment: { HOME: join(dir, 'home'), PATH: process.env['PATH'] },
    ...change,
  };
}

function withoutIdentities(all: RemoteSettings): RemoteSettings {
  const rest = { ...all };
  delete rest.identities;
  return rest;
}

function makePool(change: Partial<RemoteSettings> = {}): ConnectionPool {
  const pool = new ConnectionPool(settings(change), clock, (message) => notices.push(message));
  pools.push(pool);
  return pool;
}

const node = (name = 'worker-1') =>
  ({ name, addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] }) as unknown as ClusterNode;

async function run(pool: ConnectionPool, input: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}) {
  const connection = await pool.get(node());
  return connection.run('exec /bin/sh -s', input, { timeoutMs: 20_000, ...options });
}

/** A machine without IPv6 counts this test as skipped in the run's last line. */
const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));

describe('a node with an IPv6 address', () => {
  it.runIf(hasIpv6)('is reached, and its host key looked up, under that address', async () => {
    const front = createServer((near) => near.pipe(connect(sshd.port, '127.0.0.1')).pipe(near));
    await new Promise<void>((resolve) => front.listen(0, '::1', resolve));
    cleanUps.push(() => front.close());
    const { port } = front.address() as AddressInfo;
    const known = join(dir, 'known_hosts_6');
    writeFileSync(known, sshd.knownHost().replace(/^\S+/, `[::1]:${String(port)}`));
    const far = { name: 'six', addresses: [{ type: 'InternalIP', address: '::1' }] } as unknown as ClusterNode;
    const connection = await makePool({ sshPort: port, knownHosts: [known] }).get(far);
    expect(await connection.run('exec /bin/sh -s', 'echo six\n', { timeoutMs: 20_000 })).toMatchObject({
      stdout: 'six\n',
    });
    expect(await failure(makePool({ sshPort: port }).get(far))).toMatchObject({ failure: 'host-key-unknown' });
  });
});

describe('a command', () => {
  it('gets its input and gives output, errors and exit code', async () => {
    expect(await run(makePool(), 'echo out; echo err >&2; exit 23\n')).toEqual({
      code: 23,
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  it('is told apart when a signal ends it', async () => {
    expect(await run(makePool(), 'kill -KILL $$\n')).toEqual({ signal: 'SIGKILL', stdout: '', stderr: '' });
  });

  it('may write much on both outputs: standard error keeps its end', async () => {
    const result = await run(
      makePool(),
      'head -c 3000000 /dev/zero | tr "\\0" x\nhead -c 3000000 /dev/zero | tr "\\0" e >&2\necho the end >&2\n',
    );
    expect(result.stdout).toHaveLength(3_000_000);
    expect(result.stderr.length).toBeLessThan(100_000);
    expect(result.stderr).toMatch(/e+the end\n$/);
  });

  it('that never stops writing is cut short, not kept in memory', async () => {
    const error = await failure(run(makePool(), 'cat /dev/zero\n'));
    expect(error).toMatchObject({ failure: 'protocol', message: containing('4 MiB') });
  });

  it('has ended when it has ended, though a child in the background holds its output', async () => {
    const { stdout, code } = await run(makePool(), 'sleep 60 & echo $!; exit 4\n');
    cleanUps.push(() => process.kill(Number(stdout), 'SIGKILL'));
    expect(code).toBe(4);
    expect(stdout).toMatch(/^\d+\n$/);
  });

  it('that reads nothing of a long input is no failure', async () => {
    expect(await run(makePool(), `exit 3\n${'#'.repeat(5_000_000)}`)).toMatchObject({ code: 3 });
  });

  it('may be waited for no longer than told; the next one gets a fresh connection', async () => {
    const pool = makePool();
    expect(await failure(run(pool, 'sleep 30\n', { timeoutMs: 200 }))).toMatchObject({ failure: 'timeout' });
    expect(await run(pool, 'echo again\n')).toMatchObject({ stdout: 'again\n' });
  });

  it('is left with the signal’s reason when that is aborted', async () => {
    const pool = makePool();
    const reason = new Error('stop');
    await expect(run(pool, 'sleep 30\n', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const later = new AbortController();
    const running = run(pool, 'echo >&2; sleep 30\n', { signal: later.signal });
    setTimeout(() => later.abort(reason), 50);
    await expect(running).rejects.toBe(reason);
    expect(await run(pool, 'echo still there\n')).toMatchObject({ stdout: 'still there\n' });
  });
});

describe('a node’s connection', () => {
  it('is made once, whoever asks at the same time, and kept', async () => {
    const pool = makePool();
    const before = sshd.logins;
    const results = await Promise.all(Array.from({ length: 6 }, (_, index) => run(pool, `echo ${String(index)}\n`)));
    expect(results.map(({ stdout }) => stdout.trim())).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(sshd.logins - before).toBe(1);
  });

  it('that breaks in the middle of a command is told as lost, and made anew for the next', async () => {
    const pool = makePool();
    const mark = join(dir, 'begun');
    const running = failure(run(pool, `echo >${mark}; sleep 30\n`));
    await until(() => existsSync(mark));
    sshd.cut();
    expect(await running).toMatchObject({ failure: 'lost' });
    expect(await run(pool, 'echo again\n')).toMatchObject({ stdout: 'again\n' });
  });

  it('to a node that vanishes without a word is noticed by its silence', async () => {
    const proxy = await freezableProxy(sshd.port);
    cleanUps.push(() => proxy.close());
    appendFileSync(knownHosts, sshd.knownHost().replace(String(sshd.port), String(proxy.port)));
    const pool = makePool({ sshPort: proxy.port, keepalive: { intervalMs: 50, countMax: 2 } });
    await run(pool, 'true\n');
    const running = failure(run(pool, 'sleep 30\n'));
    proxy.freeze();
    expect(await running).toMatchObject({ failure: 'lost', reason: 'no sign of life for 0.2s' });
  });

  it('to a node that hears nothing any more holds nothing open once it is ended', async () => {
    const near: Socket[] = [];
    const proxy = await tcpServer((socket) => {
      near.push(socket);
      const far = connect(sshd.port, '127.0.0.1');
      far.on('error', () => undefined);
      socket.pipe(far).pipe(socket);
      cleanUps.push(() => far.destroy());
    });
    cleanUps.push(() => proxy.close());
    appendFileSync(knownHosts, sshd.knownHost().replace(String(sshd.port), String(proxy.port)));
    const pool = makePool({ sshPort: proxy.port });
    await run(pool, 'true\n');
    for (const socket of near) socket.unpipe().pause();
    const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = sockets();
    await pool.close();
    await until(() => sockets() < before);
  });

  it('is ended with all others, and none is made after that', async () => {
    const pool = makePool();
    await Promise.all([pool.get(node('a')), pool.get(node('b'))]);
    await pool.close();
    expect(await failure(pool.get(node('a')))).toMatchObject({ failure: 'lost' });
  });
});

describe('a node that cannot be reached', () => {
  it('is told with its address and what to check', async () => {
    const closed = await tcpServer(() => undefined);
    await closed.close();
    const error = await failure(makePool({ sshPort: closed.port }).get(node()));
    expect(error).toMatchObject({
      failure: 'unreachable',
      message: `no SSH connection to ${LOGIN_USER}@127.0.0.1:${String(closed.port)}`,
      reason: containing('connection refused'),
      node: 'worker-1',
    });
  });

  it.each([
    ['says nothing', () => undefined, 'timeout', /handshake after 0.3s/],
    ['closes at once', (socket: Socket) => socket.end(), 'unreachable', /closed the connection/],
    [
      'closes after its banner',
      (socket: Socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'),
      'unreachable',
      /closed the connection/,
    ],
    [
      'speaks no SSH',
      (socket: Socket) => socket.end('HTTP/1.0 400 Bad Request\r\n\r\n'),
      'unreachable',
      /closed the connection/,
    ],
  ])('because what listens there %s', async (_what, serve, expected, reason) => {
    const server = await tcpServer(serve);
    cleanUps.push(() => server.close());
    const error = await failure(makePool({ sshPort: server.port, readyTimeoutMs: 300 }).get(node()));
    expect(error.failure).toBe(expected);
    expect(error.reason).toMatch(reason);
    expect(error.next).toBeTruthy();
  });

  it('for now, since its server is busy, is tried again', async () => {
    let refusals = 2;
    const busy = await tcpServer((socket) => {
      if (refusals-- > 0) return void socket.end();
      const far = connect(sshd.port, '127.0.0.1');
      socket.pipe(far).pipe(socket);
      far.on('error', () => socket.destroy());
    });
    cleanUps.push(() => busy.close());
    const known = join(dir, 'known_busy');
    writeFileSync(known, sshd.knownHost().replace(String(sshd.port), String(busy.port)));
    expect((await makePool({ sshPort: busy.port, knownHosts: [known] }).get(node())).alive).toBe(true);
  });

  it('offers only what kubeos does not speak: the failure says so', async () => {
    const old = await Sshd.start({
      dir: join(dir, 'old'),
      authorizedKeys: [],
      config: ['KexAlgorithms sntrup761x25519-sha512@openssh.com'],
    });
    cleanUps.push(() => old.close());
    const error = await failure(makePool({ sshPort: old.port }).get(node()));
    expect(error).toMatchObject({ failure: 'protocol', next: containing('KexAlgorithms') });
  });
});

describe('a host key', () => {
  it('that is unknown is refused, and nothing is offered to that host', async () => {
    const before = sshd.log.length;
    const error = await failure(makePool({ knownHosts: [join(dir, 'none')] }).get(node()));
    expect(error).toMatchObject({ failure: 'host-key-unknown', node: 'worker-1' });
    expect(error.next).toContain(`ssh-keyscan -t ed25519 -p ${String(sshd.port)} 127.0.0.1 >> `);
    expect(sshd.log.slice(before)).not.toContain('publickey');
  });

  it('that has changed is refused with both fingerprints', async () => {
    const file = join(dir, 'changed');
    writeFileSync(file, sshd.knownHost('ed25519', join(dir, 'stranger.pub')));
    const error = await failure(makePool({ knownHosts: [file], acceptNewHostKeys: true }).get(node()));
    expect(error).toMatchObject({ failure: 'host-key-changed' });
    expect(error.reason?.match(/SHA256:/g)).toHaveLength(2);
  });

  it('that is another one once the node is back has its own words, and is let in once known_hosts has it', async () => {
    const before = await Sshd.start({ dir: join(dir, 'before'), authorizedKeys: [readFileSync(`${key}.pub`, 'utf8')] });
    cleanUps.push(() => before.close());
    const file = join(dir, 'known-before');
    writeFileSync(file, before.knownHost());
    const pool = makePool({ sshPort: before.port, knownHosts: [file] });
    await pool.get(node());
    await before.close();
    // What an image with host keys of its own brings along.
    for (const name of ['host_ed25519', 'host_ed25519.pub']) {
      rmSync(join(before.dir, name));
      copyFileSync(join(dir, name.replace('host_ed25519', 'stranger')), join(before.dir, name));
    }
    await before.open();
    await pool.drop('worker-1');
    const error = await failure(pool.get(node()));
    expect(error).toMatchObject({
      failure: 'host-key-changed',
      message: `the SSH host key of [127.0.0.1]:${String(before.port)} has changed since this run began`,
      reason: containing('which this run has trusted'),
      next: containing('goes on by itself'),
    });
    // As the failure says.
    const [forget, add] = error.next?.split('\n').filter((line) => line.startsWith('  ')) ?? [];
    execFileSync('/bin/sh', ['-c', `${forget ?? ''} && ${add ?? ''}`], { stdio: 'pipe' });
    expect((await pool.get(node())).alive).toBe(true);
  });

  it('is asked for in the type that is known', async () => {
    const file = join(dir, 'ecdsa');
    writeFileSync(file, sshd.knownHost('ecdsa'));
    expect((await makePool({ knownHosts: [file] }).get(node())).alive).toBe(true);
  });

  it('is added with --accept-new-host-keys, once for many nodes at the same address', async () => {
    const file = join(dir, 'fresh', 'known_hosts');
    const pool = makePool({ knownHosts: [file], acceptNewHostKeys: true });
    await Promise.all(['a', 'b', 'c', 'd'].map((name) => pool.get(node(name))));
    expect(readFileSync(file, 'utf8')).toBe(sshd.knownHost().trimEnd() + '\n');
    expect(notices).toEqual([containing('SHA256:')]);
  });
});

describe('the other host keys of a server', () => {
  it('are not asked to be proven, which would cost both sides signatures that nobody reads', async () => {
    const chatty = await Sshd.start({
      dir: join(dir, 'chatty'),
      authorizedKeys: [readFileSync(`${key}.pub`, 'utf8')],
      config: ['LogLevel DEBUG3'],
    });
    cleanUps.push(() => chatty.close());
    const known = join(dir, 'known-chatty');
    writeFileSync(known, chatty.knownHost());
    await run(makePool({ sshPort: chatty.port, knownHosts: [known] }), 'true\n');
    expect(chatty.log).toMatch(/notify_hostkeys: sent 2 hostkeys/);
    expect(chatty.log).not.toContain('hostkeys-prove');
  });
});

describe('signing in', () => {
  it.each(['key', 'key_ecdsa', 'key_rsa'])('works with %s', async (name) => {
    expect((await makePool({ identities: [join(dir, name)] }).get(node())).user).toBe(LOGIN_USER);
  });

  it.each([
    ['rsa', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
    ['ecdsa', () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
    ['ed25519', () => generateKeyPairSync('ed25519').privateKey],
  ])('works with an encrypted key in PKCS#8: %s', async (name, make) => {
    const file = join(dir, `pkcs8_${name}`);
    const secret = { cipher: 'aes-256-cbc', passphrase: 'open sesame' } as const;
    const made = make();
    writeFileSync(file, made.export({ type: 'pkcs8', format: 'pem', ...secret }), { mode: 0o600 });
    const { x = '' } = made.export({ format: 'jwk' });
    // OpenSSH 9.2 reads no PKCS#8 of the last kind: its public line is the point behind its name (RFC 8709, 4).
    const line =
      name === 'ed25519'
        ? `ssh-ed25519 ${Buffer.concat([Buffer.from('AAAAC3NzaC1lZDI1NTE5AAAAIA==', 'base64'), Buffer.from(x, 'base64url')]).toString('base64')}`
        : execFileSync('ssh-keygen', ['-y', '-P', 'open sesame', '-f', file], { encoding: 'utf8' }).trim();
    appendFileSync(join(sshd.dir, 'authorized_keys'), `${line}\n`);
    const environment = { ...settings().environment, KUBEOS_SSH_PASSPHRASE: 'open sesame' };
    expect((await makePool({ identities: [file], environment }).get(node())).alive).toBe(true);
  });

  it('with a key that is not known there is refused, and the failure names the key', async () => {
    const error = await failure(makePool({ identities: [join(dir, 'stranger'), join(dir, 'absent')] }).get(node()));
    expect(error).toMatchObject({ failure: 'login-refused', node: 'worker-1' });
    expect(error.reason).toMatch(
      /refused: .*stranger \(ssh-ed25519 SHA256:.*\)\nthe server takes: publickey\n.*absent: no such file/,
    );
    expect(error.next).toContain(`${LOGIN_USER}'s authorized_keys`);
  });

  it('without any key says so', async () => {
    const rest = withoutIdentities(settings());
    const pool = new ConnectionPool(rest, clock, () => undefined);
    pools.push(pool);
    expect(await failure(pool.get(node()))).toMatchObject({
      failure: 'login-refused',
      reason: 'there is no key to offer\nthe server takes: publickey',
    });
  });

  it('opens an encrypted key with KUBEOS_SSH_PASSPHRASE', async () => {
    const environment = { ...settings().environment, KUBEOS_SSH_PASSPHRASE: 'open sesame' };
    const pool = makePool({ identities: [join(dir, 'key_locked')], environment });
    expect((await pool.get(node())).alive).toBe(true);
  });

  it('asks for a passphrase once, however many nodes need it', async () => {
    const asked: string[] = [];
    const ask = (question: string) => {
      asked.push(question);
      return Promise.resolve('open sesame');
    };
    const pool = makePool({ identities: [join(dir, 'key_locked')], ask });
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => pool.get(node(name))));
    expect(asked).toEqual([`Passphrase for ${join(dir, 'key_locked')}: `]);
  });

  it('asks for no passphrase while another key is let in', async () => {
    const config = join(dir, 'config-two-keys');
    writeFileSync(config, `Host *\n  IdentityFile ${join(dir, 'key_locked')}\n  IdentityFile ${key}\n`);
    const rest = withoutIdentities(
      settings({
        sshConfig: config,
        ask: () => Promise.reject(new Error('asked')),
      }),
    );
    const pool = new ConnectionPool(rest, clock, () => undefined);
    pools.push(pool);
    expect((await pool.get(node())).alive).toBe(true);
  });

  it('says that a passphrase is wrong, or that nobody was there to ask', async () => {
    const wrong = makePool({ identities: [join(dir, 'key_locked')], ask: () => Promise.resolve('wrong') });
    expect((await failure(wrong.get(node()))).reason).toMatch(/key_locked: the passphrase does not open it/);
    const nobody = makePool({ identities: [join(dir, 'key_locked')] });
    expect((await failure(nobody.get(node()))).reason).toMatch(/key_locked: it is encrypted \(KUBEOS_SSH_PASSPHRASE/);
  });

  it('takes the agent’s keys, of many only those that IdentitiesOnly leaves', async () => {
    const socket = join(dir, 'agent.sock');
    const agent: ChildProcess = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
    cleanUps.push(() => agent.kill());
    const environment = { ...settings().environment, SSH_AUTH_SOCK: socket };
    // 2: there is no agent (ssh-add(1)); its socket is there a moment before it listens.
    await until(() => spawnSync('ssh-add', ['-l'], { env: environment }).status !== 2);
    // More keys than a server lets one try (MaxAuthTries is 6).
    for (const index of [1, 2, 3, 4, 5, 6, 7]) {
      makeKey(join(dir, `agent_${String(index)}`));
      execFileSync('ssh-add', ['-q', join(dir, `agent_${String(index)}`)], {
        env: environment,
        stdio: 'pipe',
      });
    }
    execFileSync('ssh-add', ['-q', key], { env: environment, stdio: 'pipe' });
    const config = join(dir, 'config-agent');
    // The private half is not there: the agent alone has it.
    mkdirSync(join(dir, 'public'));
    writeFileSync(join(dir, 'public', 'id.pub'), readFileSync(`${key}.pub`));
    writeFileSync(config, `Host *\n  IdentitiesOnly yes\n  IdentityFile ${join(dir, 'public', 'id')}\n`);
    const rest = withoutIdentities(settings({ sshConfig: config, environment }));
    const chosen = new ConnectionPool(rest, clock, () => undefined);
    pools.push(chosen);
    expect((await chosen.get(node())).alive).toBe(true);
    const all = new ConnectionPool({ ...rest, sshConfig: 'none' }, clock, () => undefined);
    pools.push(all);
    expect(await failure(all.get(node()))).toMatchObject({
      failure: 'login-refused',
      reason: containing('Too many'),
    });
  });
});

describe('a jump host', () => {
  it('is gone through once for all nodes behind it, chains too', async () => {
    const authorizedKeys = [readFileSync(`${key}.pub`, 'utf8')];
    const [first, second] = await Promise.all([
      Sshd.start({ dir: join(dir, 'jump1'), authorizedKeys }),
      Sshd.start({ dir: join(dir, 'jump2'), authorizedKeys }),
    ]);
    cleanUps.push(
      () => first.close(),
      () => second.close(),
    );
    const config = join(dir, 'config-jump');
    const hop = (name: string, { port }: Sshd) => `Host ${name}\n  HostName 127.0.0.1\n  Port ${String(port)}\n`;
    writeFileSync(config, `${hop('b1', first)}${hop('b2', second)}Host worker-*\n  ProxyJump b1,${LOGIN_USER}@b2\n`);
    const known = join(dir, 'known_jump');
    writeFileSync(known, sshd.knownHost() + first.knownHost() + second.knownHost());
    const pool = makePool({ sshConfig: config, knownHosts: [known] });
    const connections = await Promise.all(['worker-1', 'worker-2', 'worker-3'].map((name) => pool.get(node(name))));
    const outputs = await Promise.all(
      connections.map((one) => one.run('echo $SSH_CONNECTION', '', { timeoutMs: 10_000 })),
    );
    expect(outputs.every(({ stdout }) => stdout.includes(`127.0.0.1 ${String(sshd.port)}`))).toBe(true);
    expect([first.logins, second.logins]).toEqual([1, 1]);
    // A jump host that breaks takes its nodes along; all come back over one new connection.
    first.cut();
    await until(() => connections.every(({ alive }) => !alive));
    await Promise.all(['worker-1', 'worker-2'].map((name) => pool.get(node(name))));
    expect([first.logins, second.logins]).toEqual([2, 2]);
  });
});

describe('a user who is not root', () => {
  const identity = nodeIdentity();
  let server: NodeSsh;
  let sudo: string;
  let client: string;

  beforeAll(async () => {
    const bin = join(dir, 'bin');
    mkdirSync(bin);
    sudo = join(bin, 'sudo');
    const pair = makeKeyPair('client');
    const host = makeKeyPair('host');
    client = join(dir, 'ops_key');
    writeFileSync(client, pair.privateKey, { mode: 0o600 });
    server = new NodeSsh({
      address: '127.77.8.1',
      hostKey: host.privateKey,
      authorizedKeys: [pair.publicLine],
      shell: {
        env: () => ({ PATH: `${bin}:/usr/bin:/bin`, KUBEOS_ROOT: join(dir, 'nowhere') }),
        cwd: '/',
        ...(identity === undefined ? {} : { identity }),
      },
    });
    await server.open();
    const [type = '', blob = ''] = host.publicLine.split(' ');
    appendFileSync(knownHosts, `[127.77.8.1]:${String(server.port)} ${type} ${blob}\n`);
  });

  afterAll(() => server.close());

  const refused = async (body: string) => {
    writeFileSync(sudo, `#!/bin/sh\n${body}\n`);
    chmodSync(sudo, 0o755);
    const remote = createRemote(settings({ sshUser: 'ops', sshPort: server.port, identities: [client] }));
    const there = {
      name: 'worker-1',
      addresses: [{ type: 'InternalIP', address: '127.77.8.1' }],
    } as unknown as ClusterNode;
    try {
      return await failure(remote.observe(there));
    } finally {
      await remote.disconnect();
    }
  };

  it('needs sudo without a password, and is told how to get it', async () => {
    const error = await refused('echo "sudo: a password is required" >&2; exit 1');
    expect(error).toMatchObject({
      failure: 'no-root',
      node: 'worker-1',
      message: 'ops may not become root without a password',
      reason: 'sudo -n -- /bin/sh -s: exit code 1\nsudo: a password is required',
    });
    expect(error.next).toContain("echo 'ops ALL=(root) NOPASSWD: /bin/sh' > /etc/sudoers.d/kubeos");
  });

  it('is called through exactly `sudo -n -- /bin/sh -s`', async () => {
    const error = await refused('echo "$#: $*" >&2; exit 9');
    expect(error.reason).toContain('4: -n -- /bin/sh -s');
  });
});
