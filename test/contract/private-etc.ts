import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { quote } from '../../src/remote/quote.ts';
import { makeKey, until } from './remote-sshd.ts';

/** A user of one test's own server. */
export interface Account {
  name: string;
  uid: number;
  password: string;
  /** The next sign-in must choose a new password. */
  expired?: boolean;
}

/** Why this machine cannot give a server accounts of its own; undefined where it can. */
export function whyNoPrivateEtc(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root may make a mount namespace here';
  try {
    execFileSync('unshare', ['--mount', '--propagation', 'private', 'true'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    return `unshare --mount fails: ${String(error)}`;
  }
}

export interface PrivateSshdOptions {
  /** A folder of its own, which every user can look into. */
  dir: string;
  accounts: readonly Account[];
  authorizedKeys?: readonly string[];
  /** Lines of sshd_config; they come first, and so count. */
  config?: readonly string[];
  /** Lines of /etc/sudoers; without them there is no sudo at all. */
  sudoers?: readonly string[];
}

/** OpenSSH's server, PAM and sudo, all real, with accounts that only they see: this machine's are not touched. */
export class PrivateSshd {
  readonly port: number;
  readonly knownHost: string;
  readonly #dir: string;
  readonly #child: ChildProcess;

  private constructor(dir: string, port: number, child: ChildProcess) {
    this.#dir = dir;
    this.port = port;
    this.#child = child;
    const [type = '', key = ''] = readFileSync(join(dir, 'host.pub'), 'utf8').split(' ');
    this.knownHost = `[127.0.0.1]:${String(port)} ${type} ${key.trim()}\n`;
  }

  static async start(options: PrivateSshdOptions): Promise<PrivateSshd> {
    const { dir } = options;
    mkdirSync(dir, { recursive: true });
    makeKey(join(dir, 'host'));
    const port = await freePort();
    if (!existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 });
    writeFileSync(join(dir, 'authorized_keys'), (options.authorizedKeys ?? []).map((line) => `${line}\n`).join(''));
    writeFileSync(join(dir, 'sshd_config'), sshdConfig(options, port));
    const log = openSync(join(dir, 'log'), 'a');
    const script = [
      'set -e',
      ...etcFiles(options).map(([from, to]) => `mount --bind ${quote(from)} ${quote(to)}`),
      // sudo remembers here who has proven themselves: nothing of this may reach the machine, nor come from it.
      ...(existsSync('/run/sudo') ? ['mount -t tmpfs tmpfs /run/sudo'] : []),
      ...(existsSync('/var/lib/sudo') ? ['mount -t tmpfs tmpfs /var/lib/sudo'] : []),
      ...(options.sudoers === undefined && existsSync('/usr/bin/sudo')
        ? [`mount --bind ${quote(gone(dir))} /usr/bin/sudo`]
        : []),
      `exec /usr/sbin/sshd -D -e -f ${quote(join(dir, 'sshd_config'))}`,
    ].join('\n');
    const args = ['--mount', '--propagation', 'private', '/bin/sh', '-c', script];
    const child = spawn('unshare', args, { stdio: ['ignore', log, log] });
    closeSync(log);
    const sshd = new PrivateSshd(dir, port, child);
    await until(
      () => answers(port),
      () => sshd.log,
    );
    return sshd;
  }

  /** What sshd, PAM and sudo's own log have said. */
  get log(): string {
    return ['log', 'sudo.log']
      .map((name) => join(this.#dir, name))
      .map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : ''))
      .join('');
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGTERM');
    await gone;
  }
}

function sshdConfig({ dir, config = [] }: PrivateSshdOptions, port: number): string {
  return [
    ...config,
    `Port ${String(port)}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(dir, 'host')}`,
    `AuthorizedKeysFile ${join(dir, 'authorized_keys')}`,
    'PidFile none',
    'StrictModes no',
    'UsePAM yes',
    'PasswordAuthentication yes',
    'KbdInteractiveAuthentication no',
    'PrintMotd no',
    'LogLevel VERBOSE',
    '',
  ].join('\n');
}

/** The files that lie over this machine's own, as the server sees them. */
function etcFiles({ dir, accounts, sudoers }: PrivateSshdOptions): [string, string][] {
  const names = accounts.map(({ name }) => name);
  const keep = (file: string): string[] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !names.includes(line.split(':')[0] ?? ''));
  const files: Record<string, readonly string[]> = {
    passwd: [
      ...keep('/etc/passwd'),
      ...accounts.map(({ name, uid }) => `${name}:x:${String(uid)}:${String(uid)}::/:/bin/sh`),
    ],
    group: [...keep('/etc/group'), ...accounts.map(({ name, uid }) => `${name}:x:${String(uid)}:`)],
    shadow: [
      ...keep('/etc/shadow'),
      ...accounts.map(
        ({ name, password, expired }) => `${name}:${hash(password)}:${expired === true ? '0' : '20000'}:0:99999:7:::`,
      ),
    ],
    'pam.d/sshd': PAM,
    ...(sudoers === undefined || !existsSync('/etc/pam.d/sudo')
      ? {}
      : { 'pam.d/sudo': PAM, sudoers: [`Defaults logfile=${join(dir, 'sudo.log')}, loglinelen=0`, ...sudoers] }),
  };
  return Object.entries(files).map(([name, lines]) => {
    const file = join(dir, name.replace('/', '-'));
    writeFileSync(file, `${lines.join('\n')}\n`, {
      mode: name === 'sudoers' ? 0o440 : name === 'shadow' ? 0o600 : 0o644,
    });
    return [file, `/etc/${name}`];
  });
}

// Passwords against /etc/shadow and nothing else: what this machine's own stack asks for is none of our business.
const PAM = [
  'auth required pam_unix.so nodelay',
  'account required pam_unix.so',
  'password required pam_unix.so',
  'session required pam_permit.so',
];

const hash = (password: string): string =>
  execFileSync('openssl', ['passwd', '-6', '-stdin'], { input: password, encoding: 'utf8' }).trim();

/** A file that nobody can run, to lie over a program. */
function gone(dir: string): string {
  const file = join(dir, 'gone');
  writeFileSync(file, '', { mode: 0o000 });
  return file;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
