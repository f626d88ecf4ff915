import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const LISTENER = fileURLToPath(new URL('listener.js', import.meta.url));
const run = promisify(execFile);

/** Why this machine cannot have such a network; undefined where it can. */
export async function whyNoYard(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root may make network namespaces and loop devices here';
  const probe = [
    'ip link add name probe0 type veth peer name probe1 && ip link add name probe2 type bridge && nft list ruleset',
    'd=$(mktemp) && truncate -s 4M "$d" && l=$(losetup -P -f --show "$d") && addpart "$l" 1 2048 2048; e=$?',
    'losetup -d "$l" && rm "$d" && exit "$e"',
  ].join('\n');
  const made = run('unshare', ['--net', '--mount', '--propagation', 'private', 'sh', '-c', probe]);
  return made.then(
    () => undefined,
    (error: unknown) => String(error),
  );
}

/** A network namespace with a bridge: what runs in it and the nodes that are plugged in reach each other, and nobody else. */
export class Yard {
  /** Its own address on the bridge. */
  static readonly ADDRESS = '10.88.0.1';
  /** What a command is run by that is to see this network, with its arguments. */
  readonly through: readonly string[];
  readonly #holder: ChildProcess;
  readonly #servers: Server[] = [];

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
    this.through = ['nsenter', `--net=/proc/${String(holder.pid)}/ns/net`];
  }

  static async make(): Promise<Yard> {
    const holder = spawn('unshare', ['--net', '--', process.execPath, LISTENER], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await once(holder, 'spawn');
    const yard = new Yard(holder);
    // The first answer comes from within.
    await yard.#listen('127.0.0.1', 0, 0);
    await yard.run('ip', 'link', 'set', 'lo', 'up');
    await yard.run('ip', 'link', 'add', 'name', 'yard', 'type', 'bridge');
    await yard.run('ip', 'address', 'add', `${Yard.ADDRESS}/24`, 'dev', 'yard');
    await yard.run('ip', 'link', 'set', 'yard', 'up');
    return yard;
  }

  /** Runs a command in this network; rejects where it fails. */
  async run(...command: readonly string[]): Promise<void> {
    const [file = '', ...args] = [...this.through, ...command];
    await run(file, args);
  }

  /** Leads to a port of this machine's 127.0.0.1 from the same port there, and of the yard's own address. */
  async lead(port: number): Promise<void> {
    for (const address of ['127.0.0.1', Yard.ADDRESS]) await this.#listen(address, port, port);
  }

  /** Plugs a cable into a process's network, where its end is called eth0. */
  async plug(pid: number, cable: string): Promise<void> {
    await this.run(
      ...['ip', 'link', 'add', 'name', cable, 'type', 'veth'],
      ...['peer', 'name', 'eth0', 'netns', String(pid)],
    );
    await this.run('ip', 'link', 'set', cable, 'master', 'yard', 'up');
  }

  /** From now on each packet to the address's SSH server is answered by a reset: the connection is gone, on this side alone. */
  async cut(address: string): Promise<void> {
    const table = tableOf(address);
    const rules = [
      `add table ip ${table}`,
      `add chain ip ${table} out { type filter hook output priority 0; }`,
      `add rule ip ${table} out ip daddr ${address} tcp dport 2222 reject with tcp reset`,
    ];
    await this.run('nft', rules.join('; '));
  }

  async mend(address: string): Promise<void> {
    await this.run('nft', `delete table ip ${tableOf(address)}`);
  }

  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    const gone = once(this.#holder, 'exit');
    this.#holder.disconnect();
    await gone;
  }

  async #listen(address: string, port: number, target: number): Promise<void> {
    this.#holder.send({ address, port });
    const [, server] = (await once(this.#holder, 'message')) as [unknown, Server];
    this.#servers.push(server);
    server.on('connection', (near) => {
      const far = connect(target, '127.0.0.1');
      // An end that is lost ends the other one.
      pipeline(near, far, near, () => undefined);
    });
  }
}

const tableOf = (address: string): string => `cut-${address.replaceAll('.', '-')}`;
