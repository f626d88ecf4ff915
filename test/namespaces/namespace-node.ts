import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Place } from '../vm/assemble.ts';
import { type Node, type NodeMachine, patiently } from '../vm/node.ts';
import type { Yard } from './yard.ts';

const SCRIPT = fileURLToPath(new URL('node.sh', import.meta.url));
/** Not 22, which known_hosts writes in another way. */
const SSH_PORT = 2222;
const SSHD_CONFIG = `Port ${SSH_PORT}
HostKey /run/ssh/host_key
AuthorizedKeysFile /run/ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PidFile none
SetEnv PATH=/opt/bin:/usr/bin:/bin:/usr/sbin:/sbin
`;
/** No node outlives the process that tests, not even where a test was given up. */
const alive = new Set<ChildProcess>();
process.once('exit', () => alive.forEach((node) => node.kill('SIGTERM')));

/** A node of namespaces, loop devices and a real sshd: its own kernel is all that it lacks. */
export class NamespaceNode implements NodeMachine {
  readonly name: string;
  readonly address: string;
  readonly port = SSH_PORT;
  readonly #folder: string;
  readonly #supervisor: ChildProcess;
  #console = '';

  private constructor({ dir, name, index }: Place) {
    this.name = name;
    this.address = `10.88.0.${index + 11}`;
    this.#folder = path.join(dir, name);
    const args = [
      '--mount',
      '--net',
      '--propagation',
      'private',
      'sh',
      SCRIPT,
      this.#folder,
      name,
      `${this.address}/24`,
    ];
    this.#supervisor = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Starts it and plugs it in. */
  static async start(yard: Yard, node: Node<NamespaceNode>, place: Place): Promise<NamespaceNode> {
    const ssh = path.join(place.dir, place.name, 'ssh');
    await mkdir(ssh, { recursive: true });
    await writeFile(path.join(ssh, 'sshd_config'), SSHD_CONFIG);
    await writeFile(path.join(ssh, 'authorized_keys'), `${place.client.publicLine}\n`);
    await writeFile(path.join(ssh, 'host_key'), (await place.hostKey(place.name)).privateKey, { mode: 0o600 });
    const made = new NamespaceNode(place);
    node.machine = made;
    const supervisor = made.#supervisor;
    alive.add(supervisor);
    supervisor.once('exit', () => alive.delete(supervisor));
    for (const stream of [supervisor.stdout!, supervisor.stderr!]) {
      createInterface({ input: stream }).on('line', (line) => {
        made.#console += `${line}\n`;
        node.hear(line);
      });
    }
    await once(supervisor, 'spawn');
    const ended = once(supervisor, 'exit').then(async () => {
      throw new Error(`${made.name} does not boot:\n${made.#console}${await made.complaints()}`);
    });
    await Promise.race([untilApart(supervisor.pid!), ended]);
    await yard.plug(supervisor.pid!, `cable-${place.index}`);
    await Promise.race([node.untilUp(), ended]);
    // From now on a test that waits for it says so.
    ended.catch(() => undefined);
    return made;
  }

  serial(): Promise<string> {
    return Promise.resolve(this.#console);
  }

  complaints(): Promise<string> {
    return readFile(path.join(this.#folder, 'sshd.log'), 'utf8').catch(() => '');
  }

  /** It comes up again by itself. */
  async cut(): Promise<void> {
    process.kill(Number(await this.#power()), 'SIGKILL');
  }

  /** How many bytes of an image the step that runs has written to the slot, and which process; undefined while there is none. */
  async written(): Promise<{ bytes: number; pid: string } | undefined> {
    // Seen as the node sees it: dd.pid names a process of its own.
    const root = `/proc/${await this.#power()}/root${this.#folder}/root`;
    const [pid = '', fd = ''] = (await readFile(`${root}/run/kubeos/job/dd.pid`, 'utf8').catch(() => '')).split(/\s+/);
    const info = await readFile(`${root}/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
    const position = /^pos:\s*(\d+)$/m.exec(info)?.[1];
    return position === undefined ? undefined : { bytes: Number(position), pid };
  }

  async stop(): Promise<void> {
    const gone = once(this.#supervisor, 'exit');
    if (!this.#supervisor.kill('SIGTERM')) return;
    await gone;
  }

  async #power(): Promise<string> {
    return (await readFile(path.join(this.#folder, 'power'), 'utf8')).trim();
  }
}

/** Until unshare(1) has made it a network of its own: a cable would end in this machine's. */
async function untilApart(pid: number): Promise<void> {
  const own = await readlink('/proc/self/ns/net');
  await patiently(
    async () => (await readlink(`/proc/${pid}/ns/net`)) !== own,
    () => `process ${pid} never has a network of its own`,
  );
}

/** A file-system image of a system, of a few seconds' writing. */
export async function imageOf(folder: string, version: string): Promise<string> {
  const tree = path.join(folder, `${version}.tree`);
  const file = path.join(folder, version.replace(' ', '-'), 'root.img');
  await mkdir(path.dirname(file), { recursive: true });
  const script = `sh "$1" "$2" "$3"
mkdir -p "$2/usr/share"
head -c 40M /dev/urandom >"$2/usr/share/much"
truncate -s 64M "$4"
mkfs.ext4 -q -L ROOT-A -O ^metadata_csum_seed,^orphan_file -d "$2" "$4"
rm -r "$2"`;
  const makeTree = fileURLToPath(new URL('../scripts/system-tree.sh', import.meta.url));
  execFileSync('sh', ['-eu', '-c', script, 'sh', makeTree, tree, version, file]);
  return file;
}
