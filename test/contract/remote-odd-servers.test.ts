import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { nodeIdentity } from '../../src/lab/identity.ts';
import { createRemote, type RemoteSettings } from '../../src/remote/index.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { canHaveAccounts } from './private-etc.ts';
import { Accounts } from './remote-accounts.ts';
import { failure } from './remote-kit.ts';
import { LOGIN_USER, makeFolder, makeKey, Sshd, tcpServer, type SshdOptions } from './remote-sshd.ts';

// Servers that kubeos cannot work with, or only with patience: what it then says, or does. OpenSSH's own server each.

const containing = (text: string): unknown => expect.stringContaining(text);
const folder = makeFolder();
const key = join(folder.dir, 'key');
const publicLine = makeKey(key);
const cleanUps: (() => unknown)[] = [];
let count = 0;

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

afterAll(() => folder.remove());

async function start(options: Partial<SshdOptions>): Promise<Sshd> {
  const dir = join(folder.dir, `sshd-${String(++count)}`);
  const sshd = await Sshd.start({ dir, authorizedKeys: [publicLine], ...options });
  cleanUps.push(() => sshd.close());
  return sshd;
}

function settingsFor({ port, dir }: Pick<Sshd, 'port' | 'dir'>, change: Partial<RemoteSettings> = {}): RemoteSettings {
  return {
    sshUser: LOGIN_USER,
    sshPort: port,
    identities: [key],
    sshConfig: 'none',
    knownHosts: [join(dir, 'known_hosts')],
    acceptNewHostKeys: true,
    environment: { HOME: folder.dir, PATH: process.env['PATH'] },
    ...change,
  };
}

const clock = {
  now: () => Date.now(),
  sleep: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)),
};

function poolFor(sshd: Pick<Sshd, 'port' | 'dir'>, change: Partial<RemoteSettings> = {}): ConnectionPool {
  const pool = new ConnectionPool(settingsFor(sshd, change), clock, () => undefined);
  cleanUps.push(() => pool.close());
  return pool;
}

const node = (name = 'worker-1') =>
  ({ name, addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] }) as unknown as ClusterNode;

describe('a server that offers only what kubeos does not speak is told, with what it offers', () => {
  it.each<[string, Partial<SshdOptions>, string, string]>([
    [
      'host keys signed with SHA-1',
      { hostKeys: ['rsa'], config: ['HostKeyAlgorithms ssh-rsa'] },
      'host keys: the server offers only ssh-rsa (SHA-1)',
      'HostKeyAlgorithms',
    ],
    [
      'an old key exchange',
      { config: ['KexAlgorithms diffie-hellman-group14-sha1'] },
      'key exchange: the server offers only diffie-hellman-group14-sha1 (SHA-1)',
      'KexAlgorithms',
    ],
    [
      'a post-quantum key exchange',
      { config: ['KexAlgorithms sntrup761x25519-sha512@openssh.com'] },
      'key exchange: the server offers only sntrup761x25519-sha512@openssh.com (post-quantum)',
      'KexAlgorithms',
    ],
    [
      'old ciphers',
      { config: ['Ciphers aes128-cbc,3des-cbc'] },
      'ciphers: the server offers only aes128-cbc',
      'Ciphers',
    ],
    [
      'old MACs',
      { config: ['Ciphers aes128-ctr', 'MACs hmac-sha1,umac-64@openssh.com'] },
      'MACs: the server offers only hmac-sha1 (SHA-1)',
      'MACs',
    ],
  ])('%s', async (_what, options, reason, keyword) => {
    const error = await failure(poolFor(await start(options)).get(node()));
    expect(error).toMatchObject({ failure: 'protocol', node: 'worker-1', reason: containing(reason) });
    expect(error.reason).toContain('kubeos speaks ');
    expect(error.next).toContain(keyword);
  });

  it.each([
    ['no RSA keys of users: the key is named', 'ssh-ed25519'],
    ['RSA keys of users signed with SHA-1 alone: that is named', 'ssh-rsa'],
  ])('%s', async (_what, accepted) => {
    const rsa = join(folder.dir, `key_rsa_${accepted}`);
    const authorizedKeys = [makeKey(rsa, { type: 'rsa', bits: 2048 })];
    const sshd = await start({ authorizedKeys, config: [`PubkeyAcceptedAlgorithms ${accepted}`] });
    const error = await failure(poolFor(sshd, { identities: [rsa] }).get(node()));
    expect(error).toMatchObject({ failure: 'login-refused', reason: containing('(ssh-rsa SHA256:') });
    expect(error.reason).toContain('takes SHA-1 alone (PubkeyAcceptedAlgorithms ssh-rsa)');
  });
});

describe('a server that lets few sign in at once', () => {
  it('lets thirty nodes in, one after the other', async () => {
    const sshd = await start({ config: ['MaxStartups 3'] });
    const pool = poolFor(sshd);
    const all = await Promise.all(Array.from({ length: 30 }, (_, index) => pool.get(node(`n${String(index)}`))));
    expect(all.every(({ alive }) => alive)).toBe(true);
    expect(sshd.log).toContain('MaxStartups');
  });

  it('and closes every time is given up soon, however many nodes are behind it', async () => {
    let connections = 0;
    const closing = await tcpServer((socket) => {
      connections++;
      socket.end();
    });
    cleanUps.push(() => closing.close());
    const pool = poolFor({ port: closing.port, dir: folder.dir });
    const errors = await Promise.all(
      Array.from({ length: 10 }, (_, index) => failure(pool.get(node(`n${String(index)}`)))),
    );
    expect(errors.map(({ failure: kind }) => kind)).toEqual(Array.from({ length: 10 }, () => 'unreachable'));
    expect(connections).toBeLessThan(30);
  });
});

describe('a server that allows a single session', () => {
  it('carries on after a command was left, over a new connection', async () => {
    const sshd = await start({ config: ['MaxSessions 1'] });
    const pool = poolFor(sshd);
    const connection = await pool.get(node());
    for (let turn = 0; turn < 20; turn++) expect((await connection.run('true', '', { timeoutMs: 9000 })).code).toBe(0);
    const stop = new AbortController();
    const reason = new Error('stop');
    const left = connection.run('echo $$; exec sleep 60', '', { timeoutMs: 60_000, signal: stop.signal });
    setTimeout(() => stop.abort(reason), 200);
    await expect(left).rejects.toBe(reason);
    expect(await failure(connection.run('true', '', { timeoutMs: 9000 }))).toMatchObject({ failure: 'lost' });
    expect(await (await pool.get(node())).run('true', '', { timeoutMs: 9000 })).toMatchObject({ code: 0 });
  });

  it('or none at all is told with the setting to change', async () => {
    const connection = await poolFor(await start({ config: ['MaxSessions 0'] })).get(node());
    expect(await failure(connection.run('true', '', { timeoutMs: 9000 }))).toMatchObject({
      failure: 'protocol',
      next: containing('MaxSessions'),
    });
  });
});

describe('a server that does not run what it is given', () => {
  const cases: [string, string[]][] = [
    ['a ForceCommand', ['ForceCommand echo no commands here']],
    ['an sftp-only account', ['ForceCommand internal-sftp']],
  ];
  it.each(cases)('%s: root is told to look there', async (_what, config) => {
    const sshd = await start({ config });
    const remote = createRemote(settingsFor(sshd));
    cleanUps.push(() => remote.disconnect());
    const error = await failure(remote.observe(node()));
    expect(error).toMatchObject({ failure: 'protocol', node: 'worker-1', step: 'observe' });
    expect(error.message).toMatch(/does not run \/bin\/sh$/);
    expect(error.next).toContain('ForceCommand');
  });

  const shells = ['/usr/sbin/nologin', '/bin/false'];
  it.runIf(canHaveAccounts).each(shells)('%s as the login shell of a user who needs sudo', async (shell) => {
    const identity = nodeIdentity()!;
    const dir = join(folder.dir, `etc-${String(count)}`);
    mkdirSync(dir);
    const accounts = new Accounts({ dir, identity, shell });
    const sshd = await start({ around: (command) => accounts.around(command) });
    const remote = createRemote(settingsFor(sshd, { sshUser: 'ops' }));
    cleanUps.push(() => remote.disconnect());
    const error = await failure(remote.observe(node()));
    expect(error).toMatchObject({ failure: 'protocol', message: containing('does not run /bin/sh') });
    expect(error.next).toContain("ops's login shell");
  });
});
