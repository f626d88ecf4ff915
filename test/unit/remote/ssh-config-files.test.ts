import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { HostKind, HostQuestion } from '../../../src/remote/ssh-config-question.ts';
import { SshConfig, type HostConfig } from '../../../src/remote/ssh-config.ts';
import { SshConfigFiles } from '../../../src/remote/ssh-config-files.ts';

// The answers that kubeos finds by itself, beside those of the real ssh -G.

let dir: string;
const open: SshConfig[] = [];
const notes: string[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubeos-files-'));
  mkdirSync(join(dir, 'more'));
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((config) => config.close()));
  notes.length = 0;
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function reader(text: string, PATH: string | undefined): SshConfig {
  const file = join(dir, 'config');
  writeFileSync(file, text);
  // OpenSSH takes the home from the password database.
  const config = new SshConfig({
    file,
    environment: { HOME: homedir(), PATH },
    note: (message) => notes.push(message),
  });
  open.push(config);
  return config;
}

/** Which keys are tried where no line names one depends on how ssh was built: id_rsa is always among them. */
const named = ({ identityFiles, ...rest }: HostConfig) =>
  identityFiles.some((file) => file.endsWith('/.ssh/id_rsa')) ? rest : { ...rest, identityFiles };

const CONFIGS: readonly (readonly [string, string])[] = [
  ['nothing', ''],
  ['one host', 'Host worker-1\n  HostName 10.1.1.1\n  Port 2200\n  User ops\n'],
  ['no host', 'Host other\n  Port 2200\n'],
  ['the first value', 'Host worker-*\n  Port 1\nHost *\n  Port 2\n  User last\n'],
  ['a line above all hosts', 'Port 2222\nHost *\n  Port 1\n'],
  ['wildcards', 'Host worker-?\n  Port 1\nHost work*r-1\n  User one\n'],
  ['a question mark that stands for one character', 'Host worker-1?\n  Port 1\n'],
  ['a denied pattern', 'Host worker-* !worker-1\n  Port 1\nHost !worker-2 *\n  User one\n'],
  ['a denied pattern alone', 'Host !other\n  Port 1\n'],
  ['case in names', 'Host WORKER-1\n  Port 1\n'],
  ['case in keys', 'HOST worker-1\n  hostname 10.1.1.1\n  pORT 2200\nMatch HOST 10.1.1.1\n  USER ops\n'],
  ['equal signs and tabs', 'Host=worker-1\n\tPort=2200\n\tUser = ops\n\tHostName\t10.1.1.1\n'],
  ['comments', '# first\nHost worker-1 # the first\n  Port 2200 # odd\n  # User no\n  User ops\n'],
  ['quotes', 'Host "worker-1"\n  User "ops"\n  IdentityFile "/keys/my key"\n  IdentityFile /keys/other\n'],
  ['carriage returns', 'Host worker-1\r\n  Port 2200\r\n  User ops\r\n'],
  ['no line break at the end', 'Host worker-1\n  Port 2200'],
  ['a token in HostName', 'Host worker-1\n  HostName %h.example\n'],
  [
    'several key files',
    'Host *\n  IdentityFile ~/.ssh/%r@%h\nHost worker-1\n  IdentityFile ~/.ssh/k2\n  IdentityFile ~/.ssh/k2\n',
  ],
  ['key files and known hosts', 'UserKnownHostsFile /a /b\nGlobalKnownHostsFile none\nIdentitiesOnly true\n'],
  ['an agent', 'Host *\n  IdentityAgent none\n'],
  ['Match host', 'Host worker-1\n  HostName 10.1.1.1\nMatch host 10.1.*\n  Port 2200\n'],
  ['Match originalhost', 'Host worker-1\n  HostName 10.1.1.1\nMatch originalhost worker-*,!worker-2\n  Port 2200\n'],
  ['Match that is denied', 'Match !host worker-2\n  Port 2200\nMatch !originalhost worker-1\n  User no\n'],
  ['Match user', 'Match user root\n  Port 1\nHost *\n  User ops\nMatch user ops\n  IdentityFile /k\n'],
  [
    'Match of several',
    `Match host worker-* localuser ${userInfo().username}\n  Port 1\nMatch host worker-* localuser x\n  User x\n`,
  ],
  ['Match all', 'Match all\n  Port 1\n'],
  ['Match final all', 'Match final all\n  Port 5\nHost w*-2\n  HostName worker-1\nHost worker-1\n  IdentityFile /k\n'],
  [
    'Match final',
    'Match final host 10.1.1.1\n  Port 1\nHost worker-1\n  HostName 10.1.1.1\n  IdentityFile /k\nHost 10.1.1.1\n  HashKnownHosts yes\n',
  ],
  ['Include', 'Include DIR/more/a\nHost *\n  Port 9\n'],
  ['Include of a pattern', 'Include DIR/more/*.conf\nHost *\n  Port 9\n'],
  ['Include of several', 'Include "DIR/more/a" DIR/more/none DIR/more/z.conf\n'],
  [
    'Include under a host',
    'Host worker-1\n  Include DIR/more/a\n  User late\nHost worker-2\n  Include DIR/more/*.conf\n',
  ],
  ['Include and what follows it', 'Include DIR/more/open\nPort 7\n'],
  ['ProxyJump', 'Host worker-1\n  ProxyJump ops@b1:2022,[fd00::1]:22,b3\n'],
  ['ProxyJump none', 'Host worker-1\n  ProxyJump none\nHost *\n  ProxyJump b\n'],
  ['ProxyJump none before ProxyCommand', 'ProxyJump none\nProxyCommand nc\nProxyJump b\n'],
  ['ProxyCommand', 'Host *\n  ProxyCommand  sh -c "nc  -x \'a  b\' %h %p" # is kept\n'],
  ['ProxyCommand with an equal sign', 'Host *\n  ProxyCommand=env A=1 nc %h "%p"\n'],
  ['ProxyCommand none', 'Host worker-1\n  ProxyCommand none\nHost *\n  ProxyCommand nc\n'],
  ['ProxyCommand before ProxyJump', 'ProxyCommand nc %h\nProxyJump b\n'],
  ['ProxyJump before ProxyCommand', 'ProxyJump b\nProxyCommand nc %h\n'],
  ['ProxyUseFdpass', 'ProxyUseFdpass yes\nProxyCommand nc -F %h\n'],
  ['addresses', 'AddressFamily inet6\nBindAddress 10.0.0.1\nConnectTimeout 90\n'],
  ['a long patience', 'ConnectTimeout 1m30s\nBindInterface eth0\n'],
  ['an alias', 'Host *\n  HostKeyAlias Fleet\n  HashKnownHosts yes\n'],
];

const QUESTIONS: readonly (readonly [HostKind, HostQuestion])[] = [
  ...['worker-1', 'worker-2', 'WORKER-1'].map((name) => ['node', { name }] as const),
  ['jump host', { name: 'worker-1' }],
  ['node', { name: 'worker-1', user: 'given', port: 7 }],
  ['node', { name: 'worker-1', wayIsSettled: true }],
];

describe('ssh_config that kubeos reads by itself', () => {
  beforeAll(() => {
    const more = (name: string, text: string) => writeFileSync(join(dir, 'more', name), text);
    more('a', 'Host worker-1\n  User from-a\nHost worker-2\n  User from-a2\n');
    more('m.conf', 'Host worker-*\n  Port 5\n');
    more('z.conf', 'Host *\n  Port 6\n  User from-z\n');
    more('.hidden.conf', 'Host *\n  Port 7\n');
    more('open', 'Host other\n  User never\n');
  });

  it.each(CONFIGS)('means what ssh -G says of it: %s', async (_what, template) => {
    const text = template.replaceAll('DIR', dir);
    const [ssh, own] = [reader(text, process.env['PATH']), reader(text, '/nonexistent')];
    for (const [kind, question] of QUESTIONS) {
      const [theirs, ours] = await Promise.all([ssh, own].map((one) => one.ask(kind, question)));
      expect(named(ours!)).toEqual(named(theirs!));
    }
    expect(notes).toHaveLength(1);
  });

  it.each([
    ['an open quote', 'Host "worker-1\n  Port 1\n', /Unexpected line break/],
    ['a port that is none', 'Host *\n  Port ssh1\n', /Port ssh1 is no port/],
    ['a key alone', 'Host *\n  UserKnownHostsFile\n', /line 2 has no value/],
    ['a file that includes itself', 'Include DIR/config\n', /includes itself|include itself/],
  ])('is refused with its file for %s', async (_what, template, reason) => {
    const own = reader(template.replaceAll('DIR', dir), '/nonexistent');
    await expect(own.ask('node', { name: 'worker-1' })).rejects.toMatchObject({
      name: 'ConnectError',
      message: `${join(dir, 'config')} cannot be read`,
      reason: expect.stringMatching(reason) as string,
      next: expect.stringContaining('--ssh-config none') as string,
    });
  });

  it.each(['Match exec "true"', 'Match canonical', 'Match localnetwork 10.0.0.0/8', 'Match !exec "false"'])(
    'tells that it passes over %s, and runs nothing',
    async (line) => {
      const own = reader(`${line}\n  Port 1\nHost *\n  Port 2\n`, '/nonexistent');
      expect(await own.ask('node', { name: 'worker-1' })).toMatchObject({ port: 2 });
      await own.ask('node', { name: 'worker-2' });
      expect(notes).toHaveLength(2);
      expect(notes[1]).toContain(`ssh_config: ${line.replaceAll('"', '')} in ${join(dir, 'config')} is passed over`);
    },
  );

  it('finds a relative include of the system’s file from /etc/ssh, and one of the user’s from ~/.ssh', async () => {
    writeFileSync(join(dir, 'included'), 'User ops\n');
    writeFileSync(join(dir, 'system'), `Include ${relative('/etc/ssh', join(dir, 'included'))}\n`);
    const options = { environment: { HOME: dir }, note: () => undefined };
    const asked = async (isUsers: boolean) =>
      (
        await new SshConfigFiles([join(dir, 'system')], { ...options, isUsers: () => isUsers }).ask('node', {
          name: 'a',
        })
      ).get('user');
    expect(await asked(false)).toEqual(['ops']);
    writeFileSync(join(dir, 'system'), `Include ${relative(join(dir, '.ssh'), join(dir, 'included'))}\n`);
    expect(await asked(true)).toEqual(['ops']);
    expect(await asked(false)).toEqual(['root']);
  });

  it('is beside an ssh that can be asked', () => {
    // Else the comparison would be of kubeos with itself.
    expect(execFileSync('ssh', ['-G', '-F', 'none', 'localhost'], { encoding: 'utf8' })).toContain(
      'hostname localhost',
    );
  });
});
