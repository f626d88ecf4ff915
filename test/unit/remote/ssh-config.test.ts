import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConnectionPool } from '../../../src/remote/pool.ts';
import { DEFAULT_RULES } from '../../../src/remote/sign-in-rules.ts';
import { SshConfig, parseSshConfig, type SshConfigOptions } from '../../../src/remote/ssh-config.ts';
import { resolveJumpHost, resolveNode } from '../../../src/remote/target.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import type { RemoteSettings } from '../../../src/remote/settings.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);
const matching = (pattern: RegExp): unknown => expect.stringMatching(pattern);

let home: string;
const open: SshConfig[] = [];
const notes: string[] = [];

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'kubeos-home-'));
  mkdirSync(join(home, '.ssh'));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((config) => config.close()));
  notes.length = 0;
});

afterAll(() => rmSync(home, { recursive: true, force: true }));

function makeConfig(change: Partial<SshConfigOptions> = {}): SshConfig {
  const environment = { HOME: home, PATH: process.env['PATH'] };
  const config = new SshConfig({ environment, note: (message) => notes.push(message), ...change });
  open.push(config);
  return config;
}

function userFile(text: string): void {
  writeFileSync(join(home, '.ssh', 'config'), text);
}

function node(name: string, addresses: ClusterNode['addresses'] = [{ type: 'InternalIP', address: '10.0.0.11' }]) {
  return { name, addresses } as ClusterNode;
}

const settings = (change: Partial<RemoteSettings> = {}): RemoteSettings => ({
  acceptNewHostKeys: false,
  environment: { HOME: home, PATH: process.env['PATH'] },
  ...change,
});

async function gone(pid: number): Promise<void> {
  for (let wait = 0; wait < 1000; wait++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`process ${String(pid)} still runs`);
}

describe('asking ssh -G', () => {
  it('honours patterns, Include and Match of the user’s file', async () => {
    writeFileSync(join(home, '.ssh', 'more'), 'Host *.example\n  Port 2200\n');
    userFile(
      `Include ${join(home, '.ssh', 'more')}\nHost worker-*\n  HostName 192.168.7.7\n  User ops\n  IdentityFile ~/.ssh/fleet\n  IdentitiesOnly yes\n  ProxyJump jump@bastion:2022\n  IdentityAgent none\n  HostKeyAlias fleet-key\n  UserKnownHostsFile ~/.ssh/fleet_hosts\nMatch host worker-9.example\n  User nine\n`,
    );
    const config = makeConfig();
    expect(await config.ask('node', { name: 'worker-1' })).toMatchObject({
      hostName: '192.168.7.7',
      user: 'ops',
      port: 22,
      identityFiles: [join(home, '.ssh', 'fleet')],
      identitiesOnly: true,
      identityAgent: 'none',
      proxyJump: 'jump@bastion:2022',
      hostKeyAlias: 'fleet-key',
      knownHostsFiles: [join(home, '.ssh', 'fleet_hosts'), '/etc/ssh/ssh_known_hosts', '/etc/ssh/ssh_known_hosts2'],
    });
    expect(await config.ask('node', { name: 'x.example' })).toMatchObject({ port: 2200, user: 'root' });
  });

  it('says root for nodes and the local user for jump hosts, where no line says more', async () => {
    userFile('');
    const config = makeConfig();
    const nodeSaid = await config.ask('node', { name: 'worker-1' });
    expect(nodeSaid).toMatchObject({ user: 'root' });
    expect(nodeSaid).not.toHaveProperty('hostName');
    expect(nodeSaid).not.toHaveProperty('proxyCommand');
    expect(await config.ask('jump host', { name: 'bastion' })).toMatchObject({ user: userInfo().username });
  });

  it('reads --ssh-config instead, and nothing with `none`', async () => {
    userFile('Host *\n  User ops\n');
    const other = join(home, 'other config');
    writeFileSync(other, 'Host *\n  User other\n');
    expect(await makeConfig({ file: other }).ask('node', { name: 'w' })).toMatchObject({ user: 'other' });
    expect(await makeConfig({ file: 'none' }).ask('node', { name: 'w' })).toMatchObject({ user: 'root' });
  });

  it('fails with ssh’s own words where the file is wrong', async () => {
    userFile('Host *\n  Prot 22\n');
    await expect(makeConfig().ask('node', { name: 'w' })).rejects.toMatchObject({
      name: 'ConnectError',
      reason: matching(/\.ssh\/config.*line 2.*[Pp]rot/),
      next: containing('--ssh-config none'),
    });
  });

  it('keeps the passphrase from the commands that ssh_config runs', async () => {
    const leak = join(home, 'leak');
    userFile(
      `Match exec "echo pass=$KUBEOS_SSH_PASSPHRASE$KUBEOS_SSH_PASSWORD$KUBEOS_SUDO_PASSWORD > ${leak}"\n  User ops\n`,
    );
    const environment = {
      HOME: home,
      PATH: process.env['PATH'],
      KUBEOS_SSH_PASSPHRASE: 'hidden',
      KUBEOS_SSH_PASSWORD: 'hidden',
      KUBEOS_SUDO_PASSWORD: 'hidden',
    };
    expect(await makeConfig({ environment }).ask('node', { name: 'w' })).toMatchObject({ user: 'ops' });
    expect(readFileSync(leak, 'utf8')).toBe('pass=\n');
  });

  it('reads the files itself where there is no ssh, and notes once what that leaves out', async () => {
    userFile('Host a\n  Port 2201\nMatch exec "true"\n  User ops\n');
    const config = makeConfig({ environment: { HOME: home, PATH: '/nonexistent' } });
    expect(await config.ask('node', { name: 'a' })).toMatchObject({ port: 2201, user: 'root' });
    expect(await config.ask('node', { name: 'b' })).toMatchObject({ port: 22, user: 'root' });
    expect(await config.ask('jump host', { name: 'b' })).toMatchObject({ user: userInfo().username });
    expect(notes).toEqual([
      matching(/^no ssh .*ENOENT.*\.ssh\/config .*by itself, without Match exec/),
      `ssh_config: Match exec true in ${join(home, '.ssh', 'config')} is passed over, since there is no ssh on this machine to ask`,
    ]);
  });

  it('needs no ssh, and notes nothing, where there is no file to read', async () => {
    const config = makeConfig({ file: 'none', environment: { HOME: home, PATH: '/nonexistent' } });
    expect(await config.ask('node', { name: 'a' })).toMatchObject({ port: 22, user: 'root', hashKnownHosts: false });
    expect(notes).toEqual([]);
  });

  it('calls a host that is its own jump host by that name', async () => {
    userFile('Host *\n  ProxyJump bastion\n');
    const config = makeConfig();
    await expect(config.ask('jump host', { name: 'bastion' })).rejects.toMatchObject({
      message: 'ssh_config reaches bastion through itself',
      next: containing('Host bastion\n    ProxyJump none'),
    });
    expect(await config.ask('jump host', { name: 'bastion', wayIsSettled: true })).not.toHaveProperty('proxyJump');
  });

  it('ends what Match exec started, and says so, once ssh has not answered in time', async () => {
    const pid = join(home, 'pid');
    userFile(`Match exec "echo $$ > ${pid}; exec sleep 600"\n  User ops\n`);
    await expect(makeConfig({ timeoutMs: 1500 }).ask('node', { name: 'w' })).rejects.toMatchObject({
      reason: 'it did not answer within 2s',
    });
    await gone(Number(readFileSync(pid, 'utf8')));
  });

  it.each([
    ['each once, where their lines differ', (name: string) => `Host ${name}\n  Port 2201\n`, 200],
    ['once for all, where nothing tells them apart', () => '', 1],
  ])(
    'asks for 200 nodes with at most eight ssh at once, %s',
    async (_how, block, asked) => {
      const names = Array.from({ length: 200 }, (_, index) => `worker-${String(index)}`);
      userFile(`${names.map(block).join('')}Host *\n  User ops\n`);
      const bin = mkdtempSync(join(home, 'bin-'));
      const running = mkdtempSync(join(home, 'running-'));
      const seen = join(bin, 'seen');
      writeFileSync(
        join(bin, 'ssh'),
        `#!/bin/sh\n: > ${running}/$$; ls ${running} | wc -l >> ${seen}\n/usr/bin/ssh "$@"; code=$?\nrm ${running}/$$; exit $code\n`,
        { mode: 0o755 },
      );
      const environment = { HOME: home, PATH: `${bin}:${process.env['PATH'] ?? ''}` };
      const refusing = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => refusing.once('listening', resolve));
      const { port } = refusing.address() as AddressInfo;
      refusing.on('connection', (socket) => socket.resetAndDestroy());
      const remote = new ConnectionPool(
        settings({ environment, sshPort: port, connectLimit: 200 }),
        { now: () => 0, sleep: () => Promise.reject(new Error('busy')) },
        () => undefined,
      );
      const local = [{ type: 'InternalIP', address: '127.0.0.1' }];
      await Promise.all([...names, ...names].map((name) => remote.get(node(name, local)).catch(() => undefined)));
      await remote.close();
      refusing.close();
      const counts = readFileSync(seen, 'utf8').trim().split('\n').map(Number);
      // One more asks whether ssh works at all.
      expect(counts).toHaveLength(asked + 1);
      expect(Math.max(...counts)).toBeLessThanOrEqual(8);
    },
    60_000,
  );

  it('leaves no temporary file behind', async () => {
    const ours = () => readdirSync(tmpdir()).filter((name) => name.startsWith(`kubeos-ssh-${String(process.pid)}-`));
    // A killed process may have had this one's id, and have left its own.
    const before = new Set(ours());
    const left = () => ours().filter((name) => !before.has(name));
    const config = makeConfig();
    userFile('');
    await config.ask('node', { name: 'a' });
    expect(left()).toHaveLength(1);
    await config.close();
    expect(left()).toEqual([]);
  });
});

describe('what ssh -G prints', () => {
  it('is read with its tokens expanded and `none` as nothing, or as a known_hosts file that keeps nothing', () => {
    const text =
      'user ops\nhostname 10.0.0.1\nport 2222\nidentityfile ~/.ssh/%r@%h_%n\nidentityfile none\nproxyjump none\nproxycommand none\nuserknownhostsfile none\nhashknownhosts yes\n';
    expect(parseSshConfig(text, 'w1', { HOME: '/h' })).toEqual({
      hostName: '10.0.0.1',
      port: 2222,
      user: 'ops',
      identityFiles: ['/h/.ssh/ops@10.0.0.1_w1'],
      identitiesOnly: false,
      proxyUseFdpass: false,
      knownHostsFiles: ['/dev/null'],
      hashKnownHosts: true,
      strictHostKeys: 'yes',
      signIn: DEFAULT_RULES,
    });
  });

  it.each([
    ['', 'yes', {}],
    ['stricthostkeychecking ask\n', 'yes', {}],
    ['stricthostkeychecking true\n', 'yes', {}],
    ['stricthostkeychecking accept-new\n', 'accept-new', {}],
    ['stricthostkeychecking false\n', 'no', {}],
    ['batchmode yes\nnumberofpasswordprompts 1\n', 'yes', { batch: true, passwordPrompts: 1 }],
    ['passwordauthentication no\n', 'yes', { methods: ['publickey', 'keyboard-interactive'] }],
    ['pubkeyauthentication false\nkbdinteractiveauthentication no\n', 'yes', { methods: ['password'] }],
    ['preferredauthentications gssapi-with-mic,password,publickey\n', 'yes', { methods: ['password', 'publickey'] }],
    ['certificatefile ~/c.pub\ncertificatefile none\n', 'yes', { certificateFiles: ['/h/c.pub'] }],
  ])('tells how to sign in and how strictly: %j', (text, strictHostKeys, rules) => {
    expect(parseSshConfig(text, 'w1', { HOME: '/h' })).toMatchObject({
      strictHostKeys,
      signIn: { ...DEFAULT_RULES, ...rules },
    });
  });

  it('in the words of the ssh of this machine', async () => {
    userFile('Host *\n  StrictHostKeyChecking no\n  BatchMode yes\n  PubkeyAuthentication no\n');
    const said = await makeConfig().ask('node', { name: 'worker-1' });
    expect(said).toMatchObject({
      strictHostKeys: 'no',
      signIn: { batch: true, methods: ['keyboard-interactive', 'password'] },
    });
  });
});

describe('how a node is reached', () => {
  const entry = { name: 'worker-1', address: '10.5.5.5', port: 2201, user: 'fromfile', identity: '~/.ssh/hosts_key' };

  it('is root, port 22 and the InternalIP where nothing says more', async () => {
    userFile('');
    const target = await resolveNode(node('worker-1'), settings(), makeConfig());
    expect(target).toMatchObject({ shown: 'root@10.0.0.11:22', node: 'worker-1', route: { kind: 'direct' } });
    expect(target.hostKey).toMatchObject({
      names: ['worker-1', '10.0.0.11'],
      addedAs: '10.0.0.11',
      portlessNames: [],
      scannable: true,
    });
    expect(target.credentials.explicit).toBe(false);
    expect(target.credentials.keyFiles).toContain(join(home, '.ssh', 'id_ed25519'));
  });

  it('follows flag, then hosts file, then ssh_config', async () => {
    userFile('Host worker-1\n  HostName 10.1.1.1\n  Port 2100\n  User fromconfig\n  IdentityFile ~/.ssh/config_key\n');
    const config = makeConfig();
    const byConfig = await resolveNode(node('worker-1'), settings(), config);
    expect(byConfig.shown).toBe('fromconfig@10.1.1.1:2100');
    expect(byConfig.credentials.keyFiles).toEqual([join(home, '.ssh', 'config_key')]);
    const byFile = await resolveNode(node('worker-1'), settings({ hosts: [entry] }), config);
    expect(byFile.shown).toBe('fromfile@10.5.5.5:2201');
    expect(byFile.credentials).toMatchObject({ keyFiles: [join(home, '.ssh', 'hosts_key')], explicit: true });
    const flags = { sshUser: 'fromflag', sshPort: 2301, identities: ['/k'], knownHosts: ['/kh'], hosts: [entry] };
    const byFlag = await resolveNode(node('worker-1'), settings(flags), config);
    expect(byFlag.shown).toBe('fromflag@10.5.5.5:2301');
    expect(byFlag.credentials).toMatchObject({ keyFiles: ['/k'], explicit: true });
    expect(byFlag.hostKey).toMatchObject({
      files: ['/kh'],
      names: ['[worker-1]:2301', '[10.5.5.5]:2301'],
      portlessNames: ['worker-1', '10.5.5.5'],
      addedAs: '[10.5.5.5]:2301',
    });
  });

  it('takes another type of address where asked, IPv6 too, and says which there are', async () => {
    userFile('');
    const addresses = [
      { type: 'InternalIP', address: '10.0.0.11' },
      { type: 'ExternalIP', address: 'fd00::11' },
    ];
    const config = makeConfig();
    const target = await resolveNode(node('w', addresses), settings({ addressType: 'ExternalIP' }), config);
    expect(target).toMatchObject({ shown: 'root@[fd00::11]:22', host: 'fd00::11' });
    const missing = resolveNode(node('w', addresses), settings({ addressType: 'Hostname' }), config);
    await expect(missing).rejects.toMatchObject({
      failure: 'unreachable',
      node: 'w',
      reason: 'it has: InternalIP 10.0.0.11, ExternalIP fd00::11',
    });
  });

  it.each(['-oProxyCommand=x', 'a b', 'a;b', '', 'user@host'])('never hands the odd name %j to ssh', async (name) => {
    await expect(resolveNode(node(name), settings(), makeConfig())).rejects.toMatchObject({
      name: 'KubeosError',
      node: name,
    });
  });

  it('uses a HostKeyAlias alone, and no ssh-keyscan then', async () => {
    userFile('Host worker-1\n  HostKeyAlias Fleet\n  Port 2222\n');
    const { hostKey } = await resolveNode(node('worker-1'), settings(), makeConfig());
    expect(hostKey).toMatchObject({ names: ['fleet'], portlessNames: [], scannable: false });
  });

  it('goes through the jump hosts of ssh_config, each as its own lines say', async () => {
    userFile('Host worker-*\n  ProxyJump b1,ops@b2:2022\nHost b1\n  HostName 10.9.9.1\n  User first\n');
    const config = makeConfig();
    const target = await resolveNode(node('worker-1'), settings(), config);
    const hops = [{ name: 'b1' }, { name: 'b2', user: 'ops', port: 2022 }] as const;
    expect(target.route).toEqual({ kind: 'jump', hops });
    expect((await resolveJumpHost(hops[0], settings({ sshUser: 'x' }), config, 'first')).shown).toBe(
      'the jump host first@10.9.9.1:22',
    );
    const second = await resolveJumpHost(hops[1], settings(), config, 'further');
    expect(second).toMatchObject({ shown: 'the jump host ops@b2:2022', hostKey: { scannable: false } });
  });

  it.each([
    ['ProxyJump %n-jump', { kind: 'jump', hops: [{ name: 'w-jump' }] }],
    ['ProxyJump ops@[fe80::1%%eth0]:2022', { kind: 'jump', hops: [{ name: 'fe80::1%eth0', user: 'ops', port: 2022 }] }],
    ['ProxyJump none', { kind: 'direct' }],
    ['ProxyCommand none', { kind: 'direct' }],
    ['ProxyCommand nc %h %p  "%r@%n" # 100%%', { kind: 'command', command: 'nc 10.0.0.11 22  "root@w" # 100%' }],
    ['ProxyCommand nc %h\n  ProxyJump b1', { kind: 'command', command: 'nc 10.0.0.11' }],
    ['ProxyJump b1\n  ProxyCommand nc %h', { kind: 'jump', hops: [{ name: 'b1' }] }],
  ])('is %j', async (line, route) => {
    userFile(`Host *\n  ${line}\n`);
    expect((await resolveNode(node('w'), settings(), makeConfig())).route).toEqual(route);
  });

  it('is --jump, then the hosts file, then ssh_config', async () => {
    userFile('Host w\n  ProxyJump w\nHost *\n  ProxyCommand nc %h %p\n');
    const config = makeConfig();
    const route = async (change: Partial<RemoteSettings>) =>
      (await resolveNode(node('w'), settings(change), config)).route;
    const [flag, file] = [[{ name: 'flag' }], [{ name: 'file' }]];
    expect(await route({ jump: flag, hosts: [{ name: 'w', jump: file }] })).toEqual({ kind: 'jump', hops: flag });
    expect(await route({ hosts: [{ name: 'w', jump: file }] })).toEqual({ kind: 'jump', hops: file });
    expect(await route({ hosts: [{ name: 'w', jump: [] }] })).toEqual({ kind: 'direct' });
    expect(await route({ jump: [], hosts: [{ name: 'w', jump: file }] })).toEqual({ kind: 'direct' });
    await expect(route({})).rejects.toMatchObject({ message: 'ssh_config reaches w through itself' });
  });

  it('refuses a ProxyCommand that is to hand over its connection', async () => {
    userFile('Host *\n  ProxyCommand nc -F %h %p\n  ProxyUseFdpass yes\n');
    await expect(resolveNode(node('w'), settings(), makeConfig())).rejects.toMatchObject({
      failure: 'protocol',
      message: containing('ProxyUseFdpass'),
    });
  });

  it.each(['10.0.0.1;reboot', '$(reboot)', '-oX', 'a b', '', '`x`', "'"])(
    'is refused for the odd address %j of the cluster',
    async (address) => {
      userFile('Host *\n  ProxyCommand nc %h %p\n');
      const odd = node('w', [{ type: 'InternalIP', address }]);
      await expect(resolveNode(odd, settings(), makeConfig())).rejects.toMatchObject({
        name: 'ConnectError',
        node: 'w',
      });
    },
  );

  it('binds to BindAddress or the address of BindInterface, and prefers AddressFamily', async () => {
    const both = node('w', [
      { type: 'InternalIP', address: '10.0.0.11' },
      { type: 'InternalIP', address: 'fd00::11' },
    ]);
    const socket = async (line: string) => {
      userFile(`Host *\n  ${line}\n`);
      const { host, socket: options } = await resolveNode(both, settings(), makeConfig());
      return [host, options];
    };
    const loopback = Object.entries(networkInterfaces()).find(([, all]) => all?.[0]?.address === '127.0.0.1')?.[0];
    expect(await socket('BindAddress 127.0.0.9')).toEqual(['10.0.0.11', { localAddress: '127.0.0.9' }]);
    expect(await socket(`BindInterface ${String(loopback)}`)).toEqual(['10.0.0.11', { localAddress: '127.0.0.1' }]);
    expect(await socket('AddressFamily inet6')).toEqual(['fd00::11', { family: 6 }]);
    expect(await socket('AddressFamily inet')).toEqual(['10.0.0.11', { family: 4 }]);
    await expect(socket('BindInterface nosuch0')).rejects.toMatchObject({
      message: containing('BindInterface nosuch0'),
    });
    userFile('ConnectTimeout 1m\n');
    expect((await resolveNode(both, settings(), makeConfig())).connectTimeoutMs).toBe(60_000);
  });

  it.each([
    [undefined, {}, undefined],
    [undefined, { SSH_AUTH_SOCK: '/agent' }, '/agent'],
    ['none', { SSH_AUTH_SOCK: '/agent' }, undefined],
    ['SSH_AUTH_SOCK', { SSH_AUTH_SOCK: '/agent' }, '/agent'],
    ['$OTHER', { OTHER: '/other' }, '/other'],
    ['/run/agent.sock', { SSH_AUTH_SOCK: '/agent' }, '/run/agent.sock'],
  ])('asks the agent of IdentityAgent %s with %j: %s', async (said, variables, expected) => {
    userFile(said === undefined ? '' : `Host *\n  IdentityAgent ${said}\n`);
    const environment = { HOME: home, PATH: process.env['PATH'], ...variables };
    const target = await resolveNode(node('w'), settings({ environment }), makeConfig({ environment }));
    expect(target.credentials.agentSocket).toBe(expected);
  });
});
