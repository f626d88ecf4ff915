import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { labEnvironment, labPaths } from '../../src/lab/lab-files.ts';
import { STEPS, type Step } from '../../src/rollout/steps.ts';
import { type Finished, type Running, startKubeos } from '../lab/lab-bed.ts';
import type { VmCluster } from './cluster.ts';

/** What a node runs on: a virtual machine, or namespaces. */
export interface NodeMachine {
  readonly name: string;
  /** Where its sshd is reached. */
  readonly address: string;
  readonly port: number;
  /** Everything on its console since it was made. */
  serial(): Promise<string>;
  /** What else went wrong with it. */
  complaints(): Promise<string>;
  /** A hard reset: what runs is lost at once. */
  cut(): Promise<void>;
}

/** Nodes, a cluster, and the built kubeos that reaches both. */
export interface NodeBed<N> {
  readonly dir: string;
  readonly cluster: VmCluster;
  node(name: string): N;
  readonly nodes: readonly N[];
  kubeos(args: readonly string[]): Promise<Finished>;
  start(args: readonly string[]): Running;
  stop(): Promise<void>;
}

export interface BedNode<M extends NodeMachine = NodeMachine> {
  readonly name: string;
  readonly machine: M;
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

/**
 * Runs the built kubeos with this bed's cluster, keys and home, and ends what is left of it.
 * @param through a command that it is run by, with its arguments
 */
export function commandsIn(
  dir: string,
  through: readonly string[] = [],
): { start: (args: readonly string[]) => Running; end: () => Promise<void> } {
  const env = {
    ...{ PATH: process.env['PATH'] ?? '', HOME: path.join(dir, 'home'), TMPDIR: tmpdir(), LANG: 'C.UTF-8' },
    ...{ XDG_STATE_HOME: path.join(dir, 'home/state'), XDG_CACHE_HOME: path.join(dir, 'home/cache') },
    ...labEnvironment(dir),
  };
  const running = new Set<Running>();
  return {
    start: (args) => {
      const one = startKubeos(args, env, undefined, through);
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

/** A node whose machine says on its console what a kubelet would tell the API server. */
export class Node<M extends NodeMachine> implements BedNode<M> {
  readonly name: string;
  machine!: M;
  boot: BedNode['boot'];
  readonly #dir: string;
  readonly #cluster: VmCluster;
  readonly #through: readonly string[];

  constructor(dir: string, name: string, cluster: VmCluster, through: readonly string[] = []) {
    this.#dir = dir;
    this.name = name;
    this.#cluster = cluster;
    this.#through = through;
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
    const own = ['ssh', '-F', labPaths(this.#dir).sshConfig, '-o', 'ConnectTimeout=60', this.name, 'exec sh -s'];
    const [file = '', ...args] = [...this.#through, ...own];
    const running = promisify(execFile)(file, args, { maxBuffer: 64 * 1024 * 1024 });
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
export function untilStep(
  bed: Pick<NodeBed<unknown>, 'cluster'>,
  name: string,
  step: Step,
  run?: Pick<Running, 'done'>,
): Promise<void> {
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
