import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SshConfig } from '../../../src/remote/ssh-config.ts';
import { ConfigTree } from '../../../src/remote/ssh-config-tree.ts';

let home: string;
const opened: SshConfig[] = [];

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'kubeos-kin-'));
  mkdirSync(join(home, 'more'));
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((config) => config.close()));
  rmSync(home, { recursive: true, force: true });
});

function open(): SshConfig {
  const environment = { HOME: home, PATH: process.env['PATH'] };
  const config = new SshConfig({ environment, file: join(home, 'config'), note: () => undefined });
  opened.push(config);
  return config;
}

const NAMES = ['worker-1', 'worker-2', 'db-1', 'bastion', 'cp-1.example'];

describe('an answer of ssh that serves several hosts', () => {
  it.each([
    ['nothing that tells them apart', 'Host *\n  User ops\n  IdentityFile ~/.ssh/ops\n'],
    ['patterns', 'Host worker-* !worker-2\n  Port 2201\nHost db-? bastion\n  User db\nHost *\n  User ops\n'],
    ['blocks of their own', 'Host worker-1\n  HostName 10.0.0.1\nHost worker-2\n  HostName 10.0.0.2\n'],
    ['a HostName with a token', 'Host *\n  HostName %h.nodes.example\n'],
    ['tokens in paths', 'Host *\n  IdentityFile ~/.ssh/%n\n  UserKnownHostsFile ~/.ssh/known/%h\n'],
    ['Match by the name', 'Match originalhost worker-1\n  Port 2201\nMatch host db-*\n  User db\n'],
    ['Match exec', 'Match exec "test %n = worker-2"\n  Port 2202\n'],
    ['Match all and a negation', 'Match !originalhost worker-1\n  Port 2201\nMatch all\n  User ops\n'],
    ['a final pass', 'Match final host worker-1\n  Port 2201\nHost *\n  User ops\n'],
    ['an included file', 'Include HOME/more/*.conf\nHost *\n  User ops\n'],
    ['an included file that only ssh finds', 'Include HOME/more/[a-z]*.conf\nHost *\n  User ops\n'],
    ['an include inside a block', 'Host worker-*\n  Include HOME/more/a.conf\nHost *\n  User ops\n'],
    ['a jump host for all others', 'Host bastion\n  ProxyJump none\nHost *\n  ProxyJump ops@bastion:2200\n'],
    ['a ProxyCommand', 'Host *\n  ProxyCommand nc %h %p\nHost db-1\n  ProxyCommand none\n'],
    ['single quotes', "Host 'worker-2'\n  Port 2201\n"],
    ['a quoted keyword', '"Host" worker-2\n  Port 2201\n'],
    ['an odd blank', 'Host worker-2\f\n  Port 2201\n'],
    ['an include in single quotes', "Include 'HOME/more/a.conf'\n"],
    ['an include in quotes with a blank', 'Include "HOME/with blank/*.conf"\n'],
    ['an include with an escape', 'Include HOME/more/\\a.conf\n'],
    ["an include of a user's", 'Include ~USER/HOME/more/a.conf\n'],
    ['an alias', 'Host *\n  HostKeyAlias fleet\n  HashKnownHosts yes\n'],
  ])('is the answer of each: %s', async (_what, text) => {
    writeFileSync(join(home, 'more', 'a.conf'), 'Host worker-2\n  Port 2222\nHost *\n  ConnectTimeout 7\n');
    mkdirSync(join(home, 'with blank'));
    writeFileSync(join(home, 'with blank', 'a.conf'), 'Host worker-2\n  Port 2222\n');
    const upwards = relative(userInfo().homedir, '/');
    const named = text.replaceAll('USER/HOME', `${userInfo().username}/${upwards}HOME`);
    writeFileSync(join(home, 'config'), named.replaceAll('HOME', home));
    const shared = open();
    for (const question of NAMES.flatMap((name) => [{ name }, { name, user: 'x' }, { name, wayIsSettled: true }])) {
      const alone = await open().ask('node', question);
      expect(await shared.ask('node', question)).toEqual(alone);
    }
  });

  it.each([
    ['a relative include of the system’s file', false, 'Include more.conf\n', true],
    ['a relative include inside a block of it', false, 'Host *\n  Include /etc/a.conf more/*.conf\n', true],
    ['absolute ones of it', false, 'Include /no/such/*.conf ~/no.conf\n', false],
    ['a relative include of the user’s file', true, 'Include more.conf\n', false],
  ])('is none where ssh may look for an included file elsewhere: %s', async (_what, isUsers, text, isDoubtful) => {
    writeFileSync(join(home, 'config'), text);
    const tree = new ConfigTree(home, isUsers);
    await tree.load(join(home, 'config'));
    expect(tree.isDoubtful).toBe(isDoubtful);
  });

  it('is none where it was an error: each host is told of its own', async () => {
    writeFileSync(join(home, 'config'), 'Host *\n  NoSuchOption yes\n');
    const shared = open();
    const asked = ['worker-1', 'worker-2'].map((name) => shared.ask('node', { name }));
    const [first, second] = await Promise.allSettled(asked);
    expect(first).toMatchObject({ status: 'rejected', reason: { message: 'ssh_config cannot be read for worker-1' } });
    expect(second).toMatchObject({ status: 'rejected', reason: { message: 'ssh_config cannot be read for worker-2' } });
  });
});
