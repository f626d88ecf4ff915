import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { startImageServer } from '../../src/lab/image-server.ts';
import { labEnvironment, labPaths, writeSpec, writeSshFiles } from '../../src/lab/lab-files.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { STEPS, type Step } from '../../src/rollout/steps.ts';
import { type Finished, ROOT, type Running, startKubeos } from '../lab/lab-bed.ts';
import { credentials, diskOf, type DiskOptions } from './artifacts.ts';
import { startCluster, type VmCluster } from './cluster.ts';
import { Machine, type MachineOptions } from './machine.ts';

export interface BedOptions {
  /** worker-1 and so on; 1 unless told. */
  nodes?: number;
  /** The lab's unless told. */
  api?: 'real-if-there' | 'lab';
  firmware?: DiskOptions['firmware'];
  style?: DiskOptions['style'];
  /** How the nodes fetch images; http unless told: ciphers cost an emulated machine much. */
  scheme?: 'http' | 'https';
  bus?: MachineOptions['bus'];
  /** As in MachineOptions. */
  writeLog?: boolean;
}

/** Virtual machines as the nodes of a cluster, an image server, and the built kubeos that reaches them by real SSH. */
export interface VmBed {
  readonly dir: string;
  readonly cluster: VmCluster;
  node(name: string): VmNode;
  readonly nodes: readonly VmNode[];
  /** Serves the image from now on; its address as the nodes reach it. */
  serve(image: SystemImage): Promise<string>;
  /** Serves the image, and writes a spec that leads to it; what it says of itself unless told otherwise. */
  spec(image: SystemImage, says?: { version?: string }): Promise<string>;
  kubeos(args: readonly string[]): Promise<Finished>;
  start(args: readonly string[]): Running;
  stop(): Promise<void>;
}

export interface VmNode {
  readonly name: string;
  readonly machine: Machine;
  /** What its kubelet said last; undefined while it is down. */
  readonly boot: { bootId: string; version: string; ready: boolean } | undefined;
  /** The commands' standard output; rejects where SSH or they fail. */
  ssh(commands: string): Promise<string>;
  /** What GRUB's environment holds. */
  grubenv(): Promise<Record<string, string>>;
  /** The slot that runs, as the kernel's mounts tell it. */
  slot(): Promise<'A' | 'B'>;
  /** Resolves once the node has said that it is up, in another boot than this. */
  untilUp(otherThan?: string): Promise<string>;
  /** Resolves once its serial console has shown the text, counted from `from` on. */
  untilSays(text: string | RegExp, from?: number): Promise<void>;
}

/** Starts the machines and waits until all of them are up. Needs the built CLI: `npm run build`. */
export async function startVmBed(options: BedOptions = {}): Promise<VmBed> {
  if (!existsSync(path.join(ROOT, 'dist/main.js'))) throw new Error('kubeos is not built: npm run build');
  const undo: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of undo.splice(0).reverse()) await one();
  };
  try {
    return await assemble(options, undo, stop);
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble(
  options: BedOptions,
  undo: (() => Promise<unknown>)[],
  stop: () => Promise<void>,
): Promise<VmBed> {
  const dir = await mkdtemp(path.join(tmpdir(), 'kubeos-vm-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const { pki, client, hostKey } = await credentials();
  const paths = labPaths(dir);
  await mkdir(paths.images);
  const images = await startImageServer({ folder: paths.images, pki });
  undo.push(() => images.close());
  const cluster = await startCluster(options.api ?? 'lab');
  undo.push(() => cluster.stop());
  const names = Array.from({ length: options.nodes ?? 1 }, (_, index) => `worker-${index + 1}`);
  const nodes: Node[] = [];
  undo.push(() => Promise.all(nodes.map((node) => node.machine.stop())));
  for (const [index, name] of names.entries()) nodes.push(await startNode(options, { dir, name, index, cluster }));
  const entries = nodes.map(async ({ name, machine: { address, port } }) => {
    const [type = '', key = ''] = (await hostKey(name)).publicLine.split(' ');
    return { name, address, port, hostKey: `${type} ${key}` };
  });
  await writeFile(paths.identity, client.privateKey, { mode: 0o600 });
  await writeFile(paths.kubeconfig, cluster.kubeconfig, { mode: 0o600 });
  await writeSshFiles(paths, await Promise.all(entries));
  const commands = commandsIn(dir);
  undo.push(() => commands.end());
  await Promise.all(nodes.map((node) => node.untilUp()));
  const { scheme = 'http' } = options;
  const serve = async (image: SystemImage): Promise<string> => {
    const name = `${path.basename(path.dirname(image.path))}.img`;
    if (!existsSync(path.join(paths.images, name))) await symlink(image.path, path.join(paths.images, name));
    return `${images.urls[scheme].replace('127.0.0.1', '10.0.2.2')}/${name}`;
  };
  return {
    ...{ dir, cluster, nodes, stop, start: commands.start, kubeos: (args) => commands.start(args).done },
    node: (name) => nodes.find((node) => node.name === name) ?? must(name),
    serve,
    spec: async (image, says = {}) => {
      const url = await serve(image);
      const named = { ...image, path: path.basename(url), version: says.version ?? image.version };
      await writeSpec(paths.spec, 'upgrade-disk.yaml', named, path.dirname(url));
      const text = await readFile(paths.spec, 'utf8');
      if (scheme === 'http') await writeFile(paths.spec, text.replace('flagSafe: false', 'flagSafe: true'));
      return paths.spec;
    },
  };
}

/** Runs the built kubeos with this bed's cluster, keys and home, and ends what is left of it. */
function commandsIn(dir: string): { start: VmBed['start']; end: () => Promise<void> } {
  const env = {
    ...{ PATH: process.env['PATH'] ?? '', HOME: path.join(dir, 'home'), TMPDIR: tmpdir(), LANG: 'C.UTF-8' },
    ...{ XDG_STATE_HOME: path.join(dir, 'home/state'), XDG_CACHE_HOME: path.join(dir, 'home/cache') },
    ...labEnvironment(dir),
  };
  const running = new Set<Running>();
  return {
    start: (args) => {
      const one = startKubeos(args, env, undefined);
      running.add(one);
      void one.done.finally(() => running.delete(one));
      return one;
    },
    end: async () => {
      for (const one of running) one.kill('SIGKILL');
      await Promise.all([...running].map((one) => one.done));
    },
  };
}

interface Place {
  dir: string;
  name: string;
  index: number;
  cluster: VmCluster;
}

async function startNode(options: BedOptions, { dir, name, index, cluster }: Place): Promise<Node> {
  const { firmware = 'bios', style = 'label', bus, writeLog = false } = options;
  const node = new Node(dir, name, cluster);
  // All of 127.0.0.0/8 is this machine: so each node has an address of its own.
  const address = `127.88.0.${index + 11}`;
  node.machine = await Machine.start({
    ...{ name, dir, firmware, address, disk: await diskOf({ name, firmware, style }) },
    ...(bus === undefined ? {} : { bus }),
    writeLog,
    onLine: (line) => node.hear(line),
    onDown: () => node.goDown(),
  });
  return node;
}

class Node implements VmNode {
  readonly name: string;
  machine!: Machine;
  boot: VmNode['boot'];
  readonly #dir: string;
  readonly #cluster: VmCluster;

  constructor(dir: string, name: string, cluster: VmCluster) {
    this.#dir = dir;
    this.name = name;
    this.#cluster = cluster;
  }

  /** The stand-in for its kubelet says on the serial console what a kubelet would tell the API server. */
  hear(line: string): void {
    const up = /kubelet: up (\S+) (\S+) (ready|unhealthy) (.+)$/.exec(line);
    if (up !== null) {
      const [, bootId = '', kernelVersion = '', well = '', osImage = ''] = up;
      this.boot = { bootId, version: osImage, ready: well === 'ready' };
      const { name } = this;
      const { address } = this.machine;
      void this.#tell({ name, address, bootId, osImage, kernelVersion, ready: well === 'ready' });
    } else if (line.includes('kubelet: stopped')) this.goDown();
  }

  goDown(): void {
    this.boot = undefined;
    this.#cluster.lose(this.name);
  }

  async ssh(commands: string): Promise<string> {
    const args = ['-F', labPaths(this.#dir).sshConfig, '-o', 'ConnectTimeout=60', this.name, 'exec sh -s'];
    const running = promisify(execFile)('ssh', args, { maxBuffer: 64 * 1024 * 1024 });
    running.child.stdin?.end(commands);
    return (await running).stdout;
  }

  async grubenv(): Promise<Record<string, string>> {
    const file = '/boot/efi/EFI/openEuler/grubenv';
    const text = await this.ssh(`f=${file}; [ -e $f ] || f=/boot/grub2/grubenv; grub2-editenv $f list`);
    return Object.fromEntries(text.split('\n').map((line) => [/^[^=]*/.exec(line)![0], line.replace(/^[^=]*=/, '')]));
  }

  async slot(): Promise<'A' | 'B'> {
    const number = (await this.ssh('cat /sys/dev/block/$(findmnt -n -r -o MAJ:MIN --mountpoint /)/partition')).trim();
    return number === '2' ? 'A' : number === '3' ? 'B' : must(`slot of ${this.name}: partition ${number}`);
  }

  async untilUp(otherThan?: string): Promise<string> {
    await patiently(
      () => this.boot !== undefined && this.boot.bootId !== otherThan,
      async () =>
        `${this.name} does not come up:\n${(await this.machine.serial()).slice(-3000)}${await this.machine.complaints()}`,
    );
    return this.boot?.bootId ?? must('boot');
  }

  async untilSays(text: string | RegExp, from = 0): Promise<void> {
    const says = async (): Promise<boolean> => {
      const shown = (await this.machine.serial()).slice(from);
      return typeof text === 'string' ? shown.includes(text) : text.test(shown);
    };
    await patiently(
      says,
      async () => `${this.name} never shows ${String(text)}:\n${(await this.machine.serial()).slice(-3000)}`,
    );
  }

  /** An API server that does not take it yet is told again while this boot lasts. */
  async #tell(booted: Parameters<VmCluster['boot']>[0]): Promise<void> {
    while (this.boot?.bootId === booted.bootId) {
      const told = await this.#cluster.boot(booted).then(
        () => true,
        () => false,
      );
      if (told) return;
      await pause(500);
    }
  }
}

/** Resolves once the annotation of the node names this step, or one after it; or once the run, if told, has ended. */
export function untilStep(bed: VmBed, name: string, step: Step, run?: Pick<Running, 'done'>): Promise<void> {
  let ended = false;
  void run?.done.then(() => (ended = true));
  return patiently(
    async () => ended || STEPS.indexOf((await bed.cluster.node(name)).step as Step) >= STEPS.indexOf(step),
    () => `${name} never came to ${step}`,
  );
}

/** Waits for a condition; rejects when half an hour has passed: emulated machines on a busy one are slow. */
export async function patiently(
  condition: () => boolean | Promise<boolean>,
  otherwise: () => string | Promise<string>,
): Promise<void> {
  const deadline = Date.now() + 1_800_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(await otherwise());
    await pause(50);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function must(what: string): never {
  throw new Error(`it is not there: ${what}`);
}
