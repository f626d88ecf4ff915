import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { makePki } from '../../src/lab/pki.ts';
import { findTool } from '../../src/lab/tools.ts';
import { type Registry, type RunningRegistry, startRegistry } from './registry.ts';

/** What the engines' tests cannot do without, beside root; each with its Debian package. */
const TOOLS = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  containerd: 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  'docker-registry': 'docker-registry',
  unshare: 'util-linux',
  nsenter: 'util-linux',
};

/** Leads to this machine too, and is no address of which engines forgive that nobody vouches for it. */
const ANYWHERE = '0.0.0.0';

/** bcrypt of `secret`. */
const HTPASSWD = 'kubeos:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';

/** Why no engine can be run here; undefined where they can. */
export async function engineLacking(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'they need root, for a mount namespace and daemons of their own';
  const missing: string[] = [];
  for (const [tool, from] of Object.entries(TOOLS)) {
    if ((await findTool(tool)) === undefined) missing.push(`${tool} (Debian: ${from})`);
  }
  if (missing.length > 0) return `this machine lacks ${missing.join(', ')}`;
  const ran = spawnSync('unshare', ['--mount', '--propagation', 'private', 'true'], { encoding: 'utf8' });
  return ran.status === 0 ? undefined : `no mount namespace can be made: ${ran.stderr.trim()}`;
}

/** How much each engine has room for. */
export const STORE_BYTES = 32 * 1024 * 1024;

const OWN_STORES = `for store; do mkdir "$store" && mount -t tmpfs -o size=${String(STORE_BYTES)} tmpfs "$store" || exit 1; done
echo
exec sleep infinity`;

/** Real engines and registries, all in a mount namespace of their own, with every file in one folder. */
export class Engines {
  readonly folder: string;
  readonly #children: ChildProcess[] = [];
  readonly #registries: RunningRegistry[] = [];
  #holder = 0;
  open: Registry = { host: '' };
  locked: Registry = { host: '' };
  /** Has what \`open\` has, behind a certificate that no engine trusts. */
  untrusted: Registry = { host: '' };

  constructor(folder: string) {
    this.folder = folder;
  }

  async start(): Promise<void> {
    const inside = [
      'sh',
      '-c',
      OWN_STORES,
      'sh',
      path.join(this.folder, 'docker'),
      path.join(this.folder, 'containerd'),
    ];
    const holder = spawn('unshare', ['--mount', '--propagation', 'private', ...inside]);
    this.#children.push(holder);
    this.#holder = holder.pid ?? 0;
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    await Promise.all([this.#startDocker(), this.#startContainerd(), this.#startRegistries()]);
  }

  async stop(): Promise<void> {
    for (const registry of this.#registries) await registry.stop();
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      await ended;
    }
  }

  /** Where the engines' programs find their daemons. */
  get env(): Record<string, string> {
    return {
      DOCKER_HOST: `unix://${path.join(this.folder, 'docker.sock')}`,
      CONTAINERD_ADDRESS: path.join(this.folder, 'containerd.sock'),
      CONTAINERD_SNAPSHOTTER: 'native',
    };
  }

  /** The words that run a command in the engines' mount namespace. */
  within(command: readonly string[]): [string, readonly string[]] {
    return ['nsenter', [`--mount=/proc/${String(this.#holder)}/ns/mnt`, '--', ...command]];
  }

  /** What a program of an engine says; throws where it fails. */
  ask(...command: readonly string[]): string {
    const [program, args] = this.within(command);
    const ran = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, ...this.env } });
    if (ran.status !== 0) throw new Error(`${command.join(' ')}: ${ran.stderr}`);
    return ran.stdout;
  }

  /**
   * All that the engines hold: containers, images, snapshots, mounts and their leases. The lease of a pull that was ended
   * is left out: containerd itself lets go of it, after a day.
   */
  holds(): readonly string[] {
    const k8s = ['ctr', '-n', 'k8s.io'];
    return [
      this.ask('docker', 'ps', '--all', '--quiet'),
      this.ask('docker', 'image', 'ls', '--all', '--quiet'),
      this.ask(...k8s, 'images', 'ls', '--quiet'),
      this.ask(...k8s, 'snapshots', 'ls').replace(/^KEY.*\n/, ''),
      this.ask('sh', '-c', `ctr -n k8s.io leases ls --quiet | grep '^/' || :`),
      this.ask('sh', '-c', `grep -o '${this.folder}[^ ]*/run/kubeos/image' /proc/self/mountinfo || :`),
    ].flatMap((text) => text.split('\n').filter((line) => line !== ''));
  }

  async #startDocker(): Promise<void> {
    const place = (name: string): string => path.join(this.folder, name);
    await writeFile(place('daemon.json'), '{}');
    const daemon = await this.#daemon('dockerd', [
      ...['dockerd', '--config-file', place('daemon.json'), '--iptables=false', '--ip6tables=false', '--bridge=none'],
      ...['--storage-driver=vfs', '--data-root', place('docker'), '--exec-root', place('docker-run')],
      ...['--pidfile', place('docker.pid'), '--host', `unix://${place('docker.sock')}`],
    ]);
    await this.#until('dockerd', daemon, () => this.ask('docker', 'version'));
  }

  async #startContainerd(): Promise<void> {
    const place = (name: string): string => path.join(this.folder, name);
    await writeFile(
      place('containerd.toml'),
      `version = 2\nroot = "${place('containerd')}"\nstate = "${place('containerd-run')}"\n` +
        `[grpc]\n  address = "${place('containerd.sock')}"\n` +
        '[plugins."io.containerd.grpc.v1.cri".containerd]\n  snapshotter = "native"\n',
    );
    const daemon = await this.#daemon('containerd', ['containerd', '--config', place('containerd.toml')]);
    await this.#until('containerd', daemon, () => this.ask('ctr', 'version'));
  }

  async #startRegistries(): Promise<void> {
    await writeFile(path.join(this.folder, 'htpasswd'), HTPASSWD);
    const auth = `auth: {htpasswd: {realm: kubeos, path: ${path.join(this.folder, 'htpasswd')}}}\n`;
    const { server } = await makePki(path.join(this.folder, 'pki'), [ANYWHERE]);
    const tls = `, tls: {certificate: ${server.certFile}, key: ${server.keyFile}}`;
    const [open, locked, untrusted] = await Promise.all([
      startRegistry(this.folder, 'open'),
      startRegistry(this.folder, 'locked', { auth }),
      startRegistry(this.folder, 'untrusted', { tls, storage: 'open' }),
    ]);
    this.#registries.push(open, locked, untrusted);
    this.open = open;
    this.locked = { ...locked, login: 'kubeos:secret' };
    this.untrusted = { host: untrusted.host.replace('127.0.0.1', ANYWHERE) };
  }

  async #daemon(name: string, command: readonly string[]): Promise<ChildProcess> {
    const log = path.join(this.folder, `${name}.log`);
    await writeFile(log, '');
    const [program, args] = this.within(['sh', '-c', 'log=$1; shift; exec "$@" >"$log" 2>&1', 'sh', log, ...command]);
    const child = spawn(program, args, { stdio: 'ignore' });
    this.#children.push(child);
    return child;
  }

  /** Asks again until it is answered; a daemon that has ended answers no more. */
  async #until<T>(name: string, daemon: ChildProcess, ask: () => T | Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (daemon.exitCode !== null) {
          const log = await readFile(path.join(this.folder, `${name}.log`), 'utf8');
          throw new Error(`${name} ended: ${log.slice(-2000)}`, { cause: error });
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}
