import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HostKeys, type HostKeySubject } from '../../../src/remote/host-keys.ts';
import {
  fingerprint,
  hostKeyName,
  knownHostLine,
  KnownHosts,
  parseKnownHosts,
  speaksOf,
} from '../../../src/remote/known-hosts.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

let folder: string;
const keys = new Map<string, { line: string; blob: Buffer; fingerprint: string }>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'kubeos-known-hosts-'));
  for (const [name, type] of [
    ['one', 'ed25519'],
    ['two', 'ed25519'],
    ['ecdsa', 'ecdsa'],
  ] as const) {
    const file = join(folder, name);
    execFileSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-C', '', '-f', file]);
    const [keyType, encoded] = readFileSync(`${file}.pub`, 'utf8').trim().split(' ');
    const shown = execFileSync('ssh-keygen', ['-l', '-f', `${file}.pub`], { encoding: 'utf8' }).split(' ')[1];
    keys.set(name, { line: `${keyType!} ${encoded!}`, blob: Buffer.from(encoded!, 'base64'), fingerprint: shown! });
  }
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const key = (name: string) => keys.get(name)!;

function subject(change: Partial<HostKeySubject> = {}): HostKeySubject {
  return {
    role: 'node',
    address: '10.0.0.11',
    port: 22,
    names: ['worker-1', '10.0.0.11'],
    addedAs: '10.0.0.11',
    portlessNames: [],
    files: [join(folder, 'known_hosts')],
    acceptNew: false,
    hashed: false,
    scannable: true,
    ...change,
  };
}

const OFF_PORT = {
  port: 2222,
  names: ['[worker-1]:2222', '[10.0.0.11]:2222'],
  portlessNames: ['worker-1', '10.0.0.11'],
  addedAs: '[10.0.0.11]:2222',
};

async function refusal(text: string, change: Partial<HostKeySubject> = {}, offered = 'one') {
  const file = join(folder, 'known_hosts');
  writeFileSync(file, text);
  return new HostKeys(() => undefined).refusal(subject(change), key(offered).blob);
}

describe('the names of a known_hosts line', () => {
  it.each([
    ['10.0.0.11', '10.0.0.11', true],
    ['10.0.0.1', '10.0.0.11', false],
    ['worker-1,10.0.0.11', '10.0.0.11', true],
    ['10.0.0.*', '10.0.0.11', true],
    ['10.0.0.?', '10.0.0.11', false],
    ['10.0.0.1?', '10.0.0.11', true],
    ['*.0.*1,!10.0.0.11', '10.0.0.11', false],
    ['!10.0.0.12,*', '10.0.0.11', true],
    ['!*', '10.0.0.11', false],
    ['[10.0.0.11]:2222', '[10.0.0.11]:2222', true],
    ['[10.0.0.*]:2222', '[10.0.0.11]:2222', true],
    ['[10.0.0.11]:2222', '10.0.0.11', false],
    ['WORKER-1', 'worker-1', true],
    ['fd00::1', 'fd00::1', true],
    ['|1|nonsense|nonsense', '10.0.0.11', false],
    ['|2|x|y', '10.0.0.11', false],
  ])('%s speaks of %s: %s', (names, name, expected) => {
    const [entry] = parseKnownHosts(`${names} ${key('one').line}`, 'f');
    expect(speaksOf(entry!, name)).toBe(expected);
  });

  it('are read hashed as ssh-keygen hashes them, and ssh-keygen finds what is hashed here', () => {
    const file = join(folder, 'hashed');
    writeFileSync(file, `[10.0.0.11]:2222 ${key('one').line}\n`);
    execFileSync('ssh-keygen', ['-H', '-f', file], { stdio: 'pipe' });
    const [entry] = parseKnownHosts(readFileSync(file, 'utf8'), file);
    expect(entry!.names).toMatch(/^\|1\|/);
    expect(speaksOf(entry!, '[10.0.0.11]:2222')).toBe(true);
    expect(speaksOf(entry!, '[10.0.0.12]:2222')).toBe(false);

    writeFileSync(file, `${knownHostLine('worker-1', key('two').blob, true)}\n`);
    expect(execFileSync('ssh-keygen', ['-F', 'worker-1', '-f', file], { encoding: 'utf8' })).toContain(key('two').line);
  });

  it('carry the port where it is not 22', () => {
    expect(hostKeyName('Worker-1', 22)).toBe('worker-1');
    expect(hostKeyName('fd00::1', 2222)).toBe('[fd00::1]:2222');
  });
});

describe('a known_hosts file', () => {
  it('may hold comments, empty and mangled lines and windows line ends', () => {
    const good = `10.0.0.11 ${key('one').line}`;
    const text = `# comment\n\n   \nshort line\nhost ssh-ed25519 AAAA\nhost ssh-rsa ${key('one').line.split(' ')[1]!}\n@odd x y z\n\t${good} some comment\r\n`;
    expect(parseKnownHosts(text, 'f')).toMatchObject([{ names: '10.0.0.11', line: 8, marker: 'none' }]);
  });
});

describe('a host key', () => {
  it('has the fingerprint that ssh-keygen prints', () => {
    expect(fingerprint(key('one').blob)).toBe(key('one').fingerprint);
  });

  it.each([
    ['its address', () => `10.0.0.11 ${key('one').line}\n`, {}],
    ['its node name', () => `worker-1 ${key('one').line}\n`, {}],
    ['one of several lines', () => `10.0.0.11 ${key('two').line}\n10.0.0.11 ${key('one').line}\n`, {}],
    ['its address and port', () => `[10.0.0.11]:2222 ${key('one').line}\n`, OFF_PORT],
    ['its address without the port', () => `10.0.0.11 ${key('one').line}\n`, OFF_PORT],
  ])('is trusted when it is known by %s', async (_what, text, change) => {
    expect(await refusal(text(), change)).toBeUndefined();
  });

  it.each([
    ['nothing is known', () => '', {}],
    ['another host is known', () => `10.0.0.12 ${key('one').line}\n`, {}],
    ['another key is known without the port', () => `10.0.0.11 ${key('two').line}\n`, OFF_PORT],
    ['the file is missing', () => '', { files: ['/nonexistent/known_hosts'] }],
  ])('is unknown when %s', async (_what, text, change) => {
    expect(await refusal(text(), change)).toMatchObject({ failure: 'host-key-unknown' });
  });

  it('that is unknown is refused with its fingerprint and the command that adds it', async () => {
    const file = join(folder, 'known_hosts');
    const plain = await refusal('');
    expect(plain?.message).toBe('the SSH host key of 10.0.0.11 is not known');
    expect(plain?.reason).toBe(`offered: ssh-ed25519 ${key('one').fingerprint}`);
    expect(plain?.next).toContain(`ssh-keyscan -t ed25519 10.0.0.11 >> '${file}'`);
    expect(plain?.next).toContain('--accept-new-host-keys');
    const offPort = await refusal('', OFF_PORT, 'ecdsa');
    expect(offPort?.next).toContain(`ssh-keyscan -t ecdsa -p 2222 10.0.0.11 >> '${file}'`);
    expect(plain?.next).toContain("the node's console");
    expect((await refusal('', { role: 'jump host' }))?.next).toContain("the jump host's console");
    const behindJump = await refusal('', { scannable: false });
    expect(behindJump?.next).toContain(`echo '10.0.0.11 ${key('one').line}' >> '${file}'`);
  });

  it('that has changed is refused even with --accept-new-host-keys, with the command that forgets the old one', async () => {
    const refused = await refusal(`# x\n10.0.0.11 ${key('two').line}\n`, { acceptNew: true });
    expect(refused).toMatchObject({ failure: 'host-key-changed' });
    expect(refused?.reason).toContain(`offered: ssh-ed25519 ${key('one').fingerprint}`);
    expect(refused?.reason).toContain(
      `known:   ssh-ed25519 ${key('two').fingerprint} (${join(folder, 'known_hosts')}:2)`,
    );
    expect(refused?.next).toContain(`ssh-keygen -R '10.0.0.11' -f '${join(folder, 'known_hosts')}'`);
  });

  it('of another type than the known one counts as changed', async () => {
    expect(await refusal(`10.0.0.11 ${key('ecdsa').line}\n`)).toMatchObject({ failure: 'host-key-changed' });
  });

  it('that is revoked is refused though it is known', async () => {
    const text = `10.0.0.11 ${key('one').line}\n@revoked * ${key('one').line}\n`;
    expect(await refusal(text)).toMatchObject({
      failure: 'host-key-changed',
      message: containing('revoked'),
    });
  });

  it('vouched for by a certificate authority only is unknown, and the reason says so', async () => {
    const refused = await refusal(`@cert-authority *.0.11 ${key('two').line}\n`);
    expect(refused).toMatchObject({ failure: 'host-key-unknown', reason: containing('@cert-authority') });
  });

  it('is looked up under the name first: what is known of the address does not count then', async () => {
    const [one, two] = [key('one').line, key('two').line];
    expect(await refusal(`worker-1 ${one}\n10.0.0.11 ${two}\n`)).toBeUndefined();
    expect(await refusal(`10.0.0.11 ${one}\nworker-1 ${two}\n`)).toMatchObject({ failure: 'host-key-changed' });
    expect(await refusal(`10.0.0.11 ${one}\n`)).toBeUndefined();
    expect(await refusal(`worker-1 ${one}\n@revoked 10.0.0.11 ${one}\n`)).toMatchObject({
      message: containing('revoked'),
    });
  });

  it('is looked up in all files, and forgotten in the one that has another', async () => {
    const second = join(folder, 'second');
    writeFileSync(second, `10.0.0.11 ${key('two').line}\n`);
    const files = [join(folder, 'known_hosts'), second, join(folder, 'not-there')];
    expect(await refusal('', { files }, 'two')).toBeUndefined();
    expect((await refusal('', { files }))?.next).toContain(`ssh-keygen -R '10.0.0.11' -f '${second}'`);
  });

  it('that is another one than this run has trusted before has words of its own, and a way on', async () => {
    const file = join(folder, 'known_hosts');
    writeFileSync(file, `10.0.0.11 ${key('one').line}\n`);
    const hostKeys = new HostKeys(() => undefined);
    expect(await hostKeys.refusal(subject(), key('one').blob)).toBeUndefined();
    const refused = await hostKeys.refusal(subject(), key('two').blob);
    expect(refused).toMatchObject({
      failure: 'host-key-changed',
      message: 'the SSH host key of 10.0.0.11 has changed since this run began',
    });
    expect(refused?.reason).toContain(`before:  ssh-ed25519 ${key('one').fingerprint}, which this run has trusted`);
    expect(refused?.reason).toContain('dm-verity');
    expect(refused?.next).toContain(`ssh-keygen -R '10.0.0.11' -f '${file}'\n  ssh-keyscan -t ed25519 10.0.0.11 >> `);
    // The operator has compared it, and done as told, while the run waits.
    writeFileSync(file, `10.0.0.11 ${key('two').line}\n`);
    expect(await hostKeys.refusal(subject(), key('two').blob)).toBeUndefined();
  });

  it('is trusted at first contact where StrictHostKeyChecking says no, with one warning; a changed one is not', async () => {
    const notices: string[] = [];
    const hostKeys = new HostKeys((message) => notices.push(message));
    const files = [join(folder, 'lax')];
    const lax = subject({ files, acceptNew: true, neverStrict: true });
    expect(await hostKeys.refusal(lax, key('one').blob)).toBeUndefined();
    expect(await hostKeys.refusal(lax, key('two').blob)).toMatchObject({ failure: 'host-key-changed' });
    expect(notices.filter((notice) => notice.includes('StrictHostKeyChecking no'))).toHaveLength(1);
  });

  it('is asked for in the type that is known', async () => {
    writeFileSync(join(folder, 'known_hosts'), `worker-1 ${key('ecdsa').line}\n@revoked * ${key('one').line}\n`);
    const { types } = await new HostKeys(() => undefined).lookUp(subject());
    expect([...types]).toEqual(['ecdsa-sha2-nistp256']);
  });
});

describe('--accept-new-host-keys', () => {
  it('adds each new host once, whatever comes at the same time, after a last line without its break', async () => {
    const file = join(folder, 'new', 'known_hosts');
    const notices: string[] = [];
    const hostKeys = new HostKeys((message) => notices.push(message));
    const ask = (address: string, name: string) =>
      hostKeys.refusal(
        subject({ address, names: [address], addedAs: address, files: [file], acceptNew: true }),
        key(name).blob,
      );
    expect(await ask('10.9.9.9', 'two')).toBeUndefined();
    writeFileSync(file, readFileSync(file, 'utf8').trimEnd());
    const addresses = Array.from({ length: 40 }, (_, index) => `10.0.1.${String(index % 20)}`);
    expect(await Promise.all(addresses.map((address) => ask(address, 'one')))).toEqual(addresses.map(() => undefined));
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(21);
    expect(parseKnownHosts(lines.join('\n'), file)).toHaveLength(21);
    expect(notices).toHaveLength(21);
    expect(await ask('10.0.1.3', 'two')).toMatchObject({ failure: 'host-key-changed' });
  });

  it('trusts one key only when two different ones come at once', async () => {
    const file = join(folder, 'race');
    const hostKeys = new HostKeys(() => undefined);
    const ask = (name: string) =>
      hostKeys.refusal(subject({ files: [file], acceptNew: true, hashed: true }), key(name).blob);
    const answers = await Promise.all([ask('one'), ask('two')]);
    // Either may come first.
    expect(answers.map((refused) => refused?.failure ?? 'trusted').sort()).toEqual(['host-key-changed', 'trusted']);
    expect(readFileSync(file, 'utf8')).toMatch(/^\|1\|[^\n]+\n$/);
  });

  it('says what is wrong where the file cannot be written', async () => {
    writeFileSync(join(folder, 'plain'), '');
    const hostKeys = new HostKeys(() => undefined);
    const asked = hostKeys.refusal(subject({ files: [join(folder, 'plain', 'x')], acceptNew: true }), key('one').blob);
    await expect(asked).rejects.toMatchObject({
      failure: 'host-key-unknown',
      next: containing('--known-hosts'),
    });
  });
});

/** Does something as someone whom the modes of files bind, which they do not bind root. */
async function unprivileged<T>(work: () => Promise<T>): Promise<T> {
  if (process.getuid?.() !== 0) return work();
  process.seteuid?.(65_534);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

describe('a known_hosts file that cannot be read', () => {
  it('counts as empty, with one notice that names it and says why', async () => {
    chmodSync(folder, 0o755);
    const secret = join(folder, 'secret');
    writeFileSync(secret, `10.0.0.11 ${key('two').line}\n`, { mode: 0o000 });
    const open = join(folder, 'open');
    writeFileSync(open, `10.0.0.11 ${key('one').line}\n`, { mode: 0o644 });
    const notices: string[] = [];
    const hostKeys = new HostKeys((message) => notices.push(message));
    await unprivileged(async () => {
      const files = [secret, open];
      expect((await hostKeys.lookUp(subject({ files }))).types).toEqual(new Set(['ssh-ed25519']));
      expect(await hostKeys.refusal(subject({ files }), key('one').blob)).toBeUndefined();
      expect((await hostKeys.refusal(subject({ files: [secret] }), key('one').blob))?.failure).toBe('host-key-unknown');
    });
    expect(notices).toEqual([`${secret} is not read: EACCES: permission denied, open '${secret}'`]);
  });

  it('in a folder that may not be looked into is the same', async () => {
    const closed = mkdtempSync(join(folder, 'closed-'));
    chmodSync(closed, 0o000);
    const notices: string[] = [];
    const hostKeys = new HostKeys((message) => notices.push(message));
    const files = [join(closed, 'known_hosts')];
    const refused = await unprivileged(() => hostKeys.refusal(subject({ files }), key('one').blob));
    expect(refused?.failure).toBe('host-key-unknown');
    expect(notices).toEqual([containing(`${files[0] ?? ''} is not read: EACCES`)]);
  });

  it.each([
    ['unreadable', 0o200],
    ['read-only', 0o444],
  ])('or written is no place for a new key: %s', async (name, mode) => {
    const file = join(folder, name);
    writeFileSync(file, '', { mode });
    const hostKeys = new HostKeys(() => undefined);
    const asked = unprivileged(() => hostKeys.refusal(subject({ files: [file], acceptNew: true }), key('one').blob));
    await expect(asked).rejects.toMatchObject({
      failure: 'host-key-unknown',
      message: `the new host key cannot be written to ${file}`,
      reason: containing('EACCES'),
      next: 'make the file readable and writable, or name another one: --known-hosts FILE',
    });
  });
});

describe('a known_hosts file that keeps nothing, /dev/null', () => {
  it('has a first key trusted for this run, and every other one refused in it, whatever comes at once', async () => {
    const notices: string[] = [];
    const hostKeys = new HostKeys((message) => notices.push(message));
    const nowhere = subject({ files: ['/dev/null'], acceptNew: true, hashed: true });
    const ask = (name: string) => hostKeys.refusal(nowhere, key(name).blob);
    expect(await Promise.all([ask('one'), ask('one')])).toEqual([undefined, undefined]);
    expect((await hostKeys.lookUp(nowhere)).types).toEqual(new Set(['ssh-ed25519']));
    expect(notices).toEqual([containing('trusted for this run')]);
    expect(await ask('two')).toMatchObject({
      failure: 'host-key-changed',
      message: 'the SSH host key of 10.0.0.11 has changed since this run began',
      next: containing('/dev/null keeps no key'),
    });
    expect((await ask('two'))?.next).not.toContain('>>');
  });

  it('has nothing trusted where first contact is not to be', async () => {
    const nowhere = subject({ files: ['/dev/null'] });
    const refused = await new HostKeys(() => undefined).refusal(nowhere, key('one').blob);
    expect(refused).toMatchObject({ failure: 'host-key-unknown', next: containing('--known-hosts FILE') });
    expect(refused?.next).not.toContain('>>');
  });
});

describe('looking a host up', () => {
  it('finds the lines that speak of it, and no other, in their order', () => {
    const { line, blob } = key('one');
    const hashed = knownHostLine('b', blob, true).split(' ')[0] ?? '';
    const names = ['a', 'b,a', '*', 'A', '!a,*', hashed, '[a]:2222', 'a,a', '?'];
    const text = names.map((name) => `${name} ${line}\n`).join('');
    const entries = parseKnownHosts(text, 'known_hosts');
    const hosts = new KnownHosts(entries);
    for (const name of ['a', 'b', '[a]:2222', 'c.example']) {
      expect(hosts.about(name)).toEqual(entries.filter((entry) => speaksOf(entry, name)));
    }
    expect(hosts.about('a').map((entry) => entry.line)).toEqual([1, 2, 3, 4, 8, 9]);
  });
});
