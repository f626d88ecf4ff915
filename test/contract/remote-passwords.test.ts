import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConnectError } from '../../src/errors.ts';
import { composeCall } from '../../src/remote/compose.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import { RootShell } from '../../src/remote/root-shell.ts';
import { withLibrary } from '../../src/remote/scripts/index.ts';
import type { RemoteSettings } from '../../src/remote/settings.ts';
import { whyNoPrivateEtc, type Account } from './private-etc.ts';
import { clusterNode, failure } from './remote-kit.ts';
import { PamSshd } from './remote-pam-sshd.ts';
import { makeFolder, makeKey, until } from './remote-sshd.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

// Passwords against real PAM, and root by real sudo. What is run as root here asks who it is, and nothing else.

const missing = whyNoPrivateEtc();
if (missing !== undefined) process.stderr.write(`NOT RUN: passwords against OpenSSH, PAM and sudo: ${missing}\n`);

const { dir, remove } = makeFolder();
const knownHosts = join(dir, 'known_hosts');
const OPS = { name: 'kubeos-ops', uid: 64711, password: 'open sesame' } satisfies Account;
const OLD = { name: 'kubeos-old', uid: 64712, password: 'open sesame', expired: true } satisfies Account;
const cleanUps: (() => unknown)[] = [];
let key: string;

beforeAll(() => {
  writeFileSync(knownHosts, '');
  key = makeKey(join(dir, 'key'));
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

afterAll(() => remove());

let count = 0;

async function sshd(options: { config?: readonly string[]; sudoers?: readonly string[] } = {}): Promise<PamSshd> {
  const started = await PamSshd.start({
    dir: join(dir, `sshd-${String(++count)}`),
    accounts: [OPS, OLD],
    authorizedKeys: [key],
    ...options,
  });
  appendFileSync(knownHosts, started.knownHost);
  cleanUps.push(() => started.close());
  return started;
}

function poolOf({ port }: PamSshd, change: Partial<RemoteSettings> = {}): ConnectionPool {
  const settings: RemoteSettings = {
    sshUser: OPS.name,
    sshPort: port,
    sshConfig: 'none',
    knownHosts: [knownHosts],
    acceptNewHostKeys: false,
    environment: { HOME: dir, PATH: process.env['PATH'] },
    ...change,
  };
  const pool = new ConnectionPool(
    settings,
    { now: () => Date.now(), sleep: (ms) => new Promise((resolve) => void setTimeout(resolve, Math.min(ms, 20))) },
    () => undefined,
  );
  cleanUps.push(() => pool.close());
  return pool;
}

const node = clusterNode('worker-1');

describe.skipIf(missing !== undefined)('OpenSSH’s server with PAM', () => {
  it.each([
    ['password', ['KbdInteractiveAuthentication no']],
    ['keyboard-interactive', ['KbdInteractiveAuthentication yes', 'PasswordAuthentication no']],
    ['a key and then a password', ['AuthenticationMethods publickey,password']],
    [
      'a key and then keyboard-interactive',
      ['KbdInteractiveAuthentication yes', 'AuthenticationMethods publickey,keyboard-interactive:pam'],
    ],
  ])('lets in by %s', async (_what, config) => {
    const pool = poolOf(await sshd({ config }), { sshPassword: OPS.password, identities: [join(dir, 'key')] });
    // A key alone must not be enough where the password is what is tested.
    const connection = await pool.get(node);
    expect(await connection.run('id -un', '', { timeoutMs: 20_000 })).toMatchObject({ stdout: `${OPS.name}\n` });
  });

  it('refuses a wrong password, which is sent once however it could be given', async () => {
    const config = ['KbdInteractiveAuthentication yes', 'PubkeyAuthentication no'];
    const server = await sshd({ config });
    const error = await failure(poolOf(server, { sshPassword: 'wrong' }).get(node));
    expect(error).toMatchObject({ failure: 'login-refused', reason: containing('it refuses the password') });
    const refusals = () => server.log.match(/Failed (password|keyboard-interactive)/g) ?? [];
    await until(() => refusals().length > 0);
    expect(refusals()).toHaveLength(1);
    expect(server.log).not.toContain('wrong');
  });

  it('asks for a new password in place of an expired one: that is said', async () => {
    const config = ['KbdInteractiveAuthentication yes', 'PasswordAuthentication no'];
    const pool = poolOf(await sshd({ config }), { sshUser: OLD.name, sshPassword: OLD.password });
    expect(await failure(pool.get(node))).toMatchObject({
      message: `the password of ${OLD.name} on worker-1 has expired`,
    });
  });

  it('lets an expired password in and runs nothing: what it says is shown', async () => {
    const pool = poolOf(await sshd(), { sshUser: OLD.name, sshPassword: OLD.password });
    const connection = await pool.get(node);
    const error = await failure(new RootShell().run(connection, 'worker-1', piece('id'), { timeoutMs: 20_000 }));
    expect(error.reason).toMatch(/expired|change/i);
  });
});

const piece = (body: string): string => composeCall(`main() { ${body}; }`, {});

const hasSudo = existsSync('/usr/bin/sudo');
if (!hasSudo) process.stderr.write('NOT RUN: real sudo (Debian: sudo)\n');

describe.skipIf(missing !== undefined || !hasSudo)('sudo', () => {
  const who = piece('echo "I am $(id -un)"');

  async function asRoot(
    sudoers: readonly string[] | undefined,
    sudo: RemoteSettings['sudo'],
    { ask, script = who }: { ask?: RemoteSettings['ask']; script?: string } = {},
  ) {
    const server = await sshd(sudoers === undefined ? {} : { sudoers });
    const connection = await poolOf(server, { identities: [join(dir, 'key')] }).get(node);
    const shell = new RootShell({ ...(sudo !== undefined && { sudo }), ...(ask !== undefined && { ask }) });
    const run = () => shell.run(connection, 'worker-1', script, { timeoutMs: 20_000 });
    return { run, server };
  }

  const RULE = `${OPS.name} ALL=(root) /bin/sh`;
  const FREE = `${OPS.name} ALL=(root) NOPASSWD: /bin/sh`;
  const PASSWORD = { password: OPS.password, ask: false };

  it.each([
    ['needs no password', [FREE], undefined],
    ['needs none, though one is at hand', [FREE], PASSWORD],
    ['needs one', [RULE], PASSWORD],
    ['needs one each time', ['Defaults timestamp_timeout=0', RULE], PASSWORD],
    ['gives a lecture each time', ['Defaults lecture=always', RULE], PASSWORD],
    ['has asked already', ['Defaults timestamp_type=global', RULE], PASSWORD],
    ['uses a terminal of its own', ['Defaults use_pty', RULE], PASSWORD],
    ['has an insulting PAM prompt', ['Defaults passprompt="Who? ", insults', RULE], PASSWORD],
  ])('makes root where it %s, twice in a row', async (_what, sudoers, sudo) => {
    const { run, server } = await asRoot(sudoers, sudo);
    expect(await run()).toEqual({ code: 0, stdout: 'kubeos-answer:\nI am root\n', stderr: '' });
    expect(await run()).toMatchObject({ stdout: 'kubeos-answer:\nI am root\n' });
    expect(server.log).not.toContain(OPS.password);
  });

  it('leaves the password in no argument and no environment', async () => {
    const look = piece(
      'for one in /proc/[0-9]*; do tr "\\\\0" " " <"$one/cmdline"; tr "\\\\0" " " <"$one/environ"; done 2>/dev/null | grep -c "open[ ]sesame" || :',
    );
    const { run } = await asRoot([RULE], PASSWORD, { script: look });
    expect((await run()).stdout).toBe('kubeos-answer:\n0\n');
  });

  it('asks for the password once, and again where it was mistyped', async () => {
    const answers = ['wrong', OPS.password];
    const questions: string[] = [];
    const ask = (question: string) => {
      questions.push(question);
      return Promise.resolve(answers.shift());
    };
    const { run } = await asRoot(['Defaults timestamp_timeout=0', RULE], { ask: true }, { ask });
    expect((await run()).stdout).toContain('I am root');
    expect((await run()).stdout).toContain('I am root');
    expect(questions).toEqual([
      `sudo password of ${OPS.name} on the nodes (worker-1 asks for it): `,
      `worker-1 refuses it, attempt 2 of 3.\nsudo password of ${OPS.name} on the nodes (worker-1 asks for it): `,
    ]);
  });

  it('is asked for no longer than may be asked, or its connection lasts; the next one has it asked for anew', async () => {
    const questions: string[] = [];
    const ask = (question: string, { signal }: { signal?: AbortSignal | undefined }) => {
      questions.push(question);
      return questions.length > 2
        ? Promise.resolve(OPS.password)
        : new Promise<undefined>((_resolve, reject) =>
            signal?.addEventListener('abort', () => reject(signal.reason as Error)),
          );
    };
    const server = await sshd({ sudoers: [RULE] });
    const pool = poolOf(server, { identities: [join(dir, 'key')] });
    const shell = new RootShell({ sudo: { ask: true }, ask });
    const over = new AbortController();
    const run = async () =>
      shell.run(await pool.get(node), 'worker-1', who, { timeoutMs: 20_000, asking: over.signal });
    const unanswered = failure(run());
    await until(() => questions.length === 1);
    over.abort(new ConnectError('nobody answered', 'no-root'));
    expect((await unanswered).message).toBe('nobody answered');
    const again = async () => shell.run(await pool.get(node), 'worker-1', who, { timeoutMs: 20_000 });
    const lost = failure(again());
    await until(() => questions.length === 2);
    await pool.drop('worker-1');
    expect((await lost).failure).toBe('lost');
    expect((await again()).stdout).toContain('I am root');
  });

  it('is given a wrong password once, and never the script in its place', async () => {
    const { run, server } = await asRoot([RULE], { password: 'wrong', ask: false });
    const error = await failure(run());
    expect(error).toMatchObject({
      failure: 'no-root',
      message: `sudo does not let ${OPS.name} become root`,
      reason: 'sudo password: it refuses the password',
    });
    await failure(run());
    expect(server.log.match(/1 incorrect password attempt/g)).toHaveLength(1);
    expect(JSON.stringify(error)).not.toContain('wrong');
  });

  it.each([
    [
      'wants a password that nobody has',
      [RULE],
      undefined,
      /may not become root without a password/,
      /password is required/,
    ],
    ['does not know the user', ['root ALL=(ALL) ALL'], PASSWORD, /does not let/, /not (in the sudoers|allowed)/],
    ['lets the user do something else', [`${OPS.name} ALL=(root) /bin/true`], PASSWORD, /does not let/, /not allowed/],
    ['wants a terminal', ['Defaults requiretty', FREE], undefined, /may not become root/, /tty/],
  ])('that %s is told with its own words', async (_what, sudoers, sudo, message, reason) => {
    const { run } = await asRoot(sudoers, sudo);
    const error = await failure(run());
    expect(error.failure).toBe('no-root');
    expect(error.message).toMatch(message);
    expect(error.reason).toMatch(reason);
    expect(error.next).toContain(`echo '${OPS.name} ALL=(root) NOPASSWD: /bin/sh' > /etc/sudoers.d/kubeos`);
    expect(error.next).toContain('!requiretty');
  });

  it('that is not there is told as that', async () => {
    const { run } = await asRoot(undefined, PASSWORD);
    expect((await failure(run())).message).toMatch(/no sudo on the node/);
  });

  it('with a PATH without sbin still finds what is there', async () => {
    const script = composeCall(withLibrary('main() { command -v mkfs.ext4; command -v blockdev; }'), {});
    const { run } = await asRoot(['Defaults secure_path="/usr/bin:/bin"', FREE], undefined, { script });
    expect((await run()).stdout.split('\n').filter((line) => line.includes('/sbin/'))).toHaveLength(2);
  });

  it('keeps nothing of the password in the log of the server', async () => {
    const { run, server } = await asRoot([RULE], PASSWORD);
    await run();
    expect(readFileSync(knownHosts, 'utf8') + server.log).not.toContain(OPS.password);
    expect(server.log).toMatch(/COMMAND=\/bin\/sh -c 'echo kubeos-root-[0-9a-f]+; exec \/bin\/sh -s'/);
  });
});
