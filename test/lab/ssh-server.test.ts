import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { access, chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import ssh2 from 'ssh2';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { nodeIdentity } from '../../src/lab/identity.ts';
import { NodeSsh, makeKeyPair } from '../../src/lab/ssh-server.ts';

interface Outcome {
  code: number | null;
  stdout: Buffer;
  stderr: string;
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin', KUBEOS_LAB_NODE: '/nowhere', MARK: 'of the node' };
let folder: string;
let server: NodeSsh;
let clientKey: string;
let cutNext = 0;
const clients: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-ssh-'));
  await chmod(folder, 0o755);
  const identity = nodeIdentity();
  const home = path.join(folder, 'home');
  await mkdir(home);
  if (identity !== undefined) await chown(home, identity.uid, identity.gid);
  const host = makeKeyPair('node');
  const client = makeKeyPair('client');
  clientKey = client.privateKey;
  await writeFile(path.join(folder, 'key'), client.privateKey, { mode: 0o600 });
  await writeFile(path.join(folder, 'stranger'), makeKeyPair('stranger').privateKey, { mode: 0o600 });
  server = new NodeSsh({
    address: '127.77.9.1',
    hostKey: host.privateKey,
    authorizedKeys: [client.publicLine],
    shell: {
      env: (user) => ({ ...ENVIRONMENT, KUBEOS_LAB_USER: user }),
      cwd: home,
      cutInstead: () => cutNext-- > 0,
      ...(identity === undefined ? {} : { identity }),
    },
  });
  await server.open();
  const [type, key] = host.publicLine.split(' ');
  await writeFile(path.join(folder, 'known_hosts'), `[127.77.9.1]:${server.port} ${type ?? ''} ${key ?? ''}\n`);
});

beforeEach(() => {
  cutNext = 0;
});

afterAll(async () => {
  for (const client of clients) client.kill('SIGKILL');
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

function start(command: string, options: { key?: string; user?: string } = {}): ChildProcess {
  const settings = [
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${path.join(folder, 'known_hosts')}`,
  ];
  const identity = ['-F', 'none', '-i', path.join(folder, options.key ?? 'key'), '-o', 'IdentitiesOnly=yes'];
  const where = ['-p', `${server.port}`, `${options.user ?? 'root'}@127.77.9.1`];
  const child = spawn('ssh', [...identity, ...settings.flatMap((setting) => ['-o', setting]), ...where, command]);
  clients.push(child);
  return child;
}

async function run(
  command: string,
  options: { input?: Buffer | string; key?: string; user?: string } = {},
): Promise<Outcome> {
  const child = start(command, options);
  const [out, err]: [Buffer[], Buffer[]] = [[], []];
  child.stdout?.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(options.input ?? '');
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout: Buffer.concat(out), stderr: Buffer.concat(err).toString() };
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('the condition did not come true');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

describe('a command', () => {
  it('gets its input and gives output, errors and exit code', async () => {
    const script = 'main() { echo "out $1"; echo "err" >&2; exit 23; }\nmain "a b" </dev/null\n';
    const result = await run('exec /bin/sh -s', { input: script });
    expect(result).toEqual({ code: 23, stdout: Buffer.from('out a b\n'), stderr: 'err\n' });
  });

  it('has the node’s environment and nothing of the lab’s', async () => {
    const { stdout } = await run('env');
    const names = stdout
      .toString()
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split('=')[0]);
    expect(names.filter((name) => !['PWD', 'OLDPWD', 'SHLVL', '_'].includes(name ?? ''))).toEqual(
      expect.arrayContaining(['PATH', 'KUBEOS_LAB_NODE', 'MARK', 'KUBEOS_LAB_USER']),
    );
    expect(names).not.toContain('HOME');
    expect((await run('echo $KUBEOS_LAB_USER', { user: 'ops' })).stdout.toString()).toBe('ops\n');
  });

  it('never runs as root where the lab does', async () => {
    const { stdout } = await run('id -u');
    expect(stdout.toString().trim()).toBe(`${nodeIdentity()?.uid ?? process.getuid?.() ?? ''}`);
  });

  it('takes and gives many bytes unharmed, on both outputs', async () => {
    const input = randomBytes(12 * 1024 * 1024);
    const both = await run('tee /dev/stderr 2>copy; wc -c <copy >&2; rm copy', { input });
    expect([both.code, both.stdout.length, sha256(both.stdout)]).toEqual([0, input.length, sha256(input)]);
    expect(both.stderr.trim()).toBe(`${input.length}`);
    const errors = await run('head -c 5000000 /dev/zero | tr "\\0" x >&2; echo done');
    expect([errors.code, errors.stderr.length, errors.stdout.toString()]).toEqual([0, 5_000_000, 'done\n']);
  });

  it('is told apart when a signal ends it', async () => {
    // OpenSSH's client turns an exit-signal into 255.
    expect((await run('kill -KILL $$')).code).toBe(255);
  });

  it('ends the session though a child goes on without its outputs', async () => {
    const { code } = await run('setsid sleep 60 >/dev/null 2>&1 </dev/null & echo $! >sleeper');
    expect(code).toBe(0);
    process.kill(Number(await readFile(path.join(folder, 'home/sleeper'), 'utf8')), 'SIGKILL');
  });

  it('is reached by the client’s signals, as sshd does it', async () => {
    const client = new ssh2.Client();
    client.on('error', () => undefined);
    client.connect({
      host: '127.77.9.1',
      port: server.port,
      username: 'root',
      privateKey: clientKey,
      hostVerifier: () => true,
    });
    await new Promise<void>((resolve) => client.once('ready', () => resolve()));
    const output = await new Promise<string>((resolve, reject) => {
      client.exec(
        'trap "echo caught; exit 5" TERM; echo ready; while :; do sleep 0.05; done',
        (error: Error | undefined, channel: ssh2.ClientChannel) => {
          if (error !== undefined) {
            reject(error);
            return;
          }
          let text = '';
          channel.on('data', (chunk: Buffer) => {
            text += chunk.toString();
            if (text === 'ready\n') channel.signal('TERM');
          });
          channel.on('close', (code: number) => resolve(`${text}${code}`));
        },
      );
    });
    client.end();
    expect(output).toBe('ready\ncaught\n5');
  });
});

describe('signing in', () => {
  it.each([
    { what: 'an unknown key', options: { key: 'stranger' } },
    { what: 'an unknown user', options: { user: 'admin' } },
  ])('is refused to $what', async ({ options }) => {
    const result = await run('true', options);
    expect(result.code).toBe(255);
    expect(result.stderr).toContain('Permission denied (publickey)');
  });
});

describe('a lost connection', () => {
  it('does not end the command', async () => {
    const done = path.join(folder, 'home/done');
    const child = start('echo begun; while [ ! -e go ]; do sleep 0.02; done; echo x >done');
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    server.cut();
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(255);
    expect(await exists(done)).toBe(false);
    await run('echo >go');
    await until(() => exists(done));
  });

  it('is not used up by a command whose connection was lost before', async () => {
    const child = start('echo $$; while [ ! -e on ]; do sleep 0.02; done');
    const pid = Number(await new Promise((resolve) => child.stdout?.once('data', resolve)));
    server.cut();
    await new Promise((resolve) => child.once('close', resolve));
    cutNext = 1;
    await writeFile(path.join(folder, 'home/on'), '');
    await until(async () => !(await exists(`/proc/${pid}`)));
    expect((await run('true')).code).toBe(255);
  });

  it('strikes where the lab says so: the command has done its work, its exit code never arrives', async () => {
    cutNext = 1;
    const lost = await run('echo x >worked');
    expect(lost.code).toBe(255);
    expect(await exists(path.join(folder, 'home/worked'))).toBe(true);
    expect((await run('echo again')).stdout.toString()).toBe('again\n');
  });
});

describe('a node that is down', () => {
  it('refuses connections, and comes back at the same place', async () => {
    const port = server.port;
    const held = start('sleep 60');
    await until(() => server.connections > 0);
    await server.close();
    expect(await new Promise((resolve) => held.once('close', resolve))).toBe(255);
    expect((await run('true')).stderr).toContain('Connection refused');
    await server.open();
    expect(server.port).toBe(port);
    expect((await run('echo back')).stdout.toString()).toBe('back\n');
  });
});

describe('a key pair', () => {
  it('can be read again, every time', () => {
    for (let i = 0; i < 1000; i++) {
      const { privateKey, publicLine } = makeKeyPair('x');
      expect(ssh2.utils.parseKey(privateKey)).not.toBeInstanceOf(Error);
      expect(ssh2.utils.parseKey(publicLine)).not.toBeInstanceOf(Error);
    }
  });
});
