import { randomUUID } from 'node:crypto';
import { chmod, chown, constants, copyFile, mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Slot } from '../rollout/facts.ts';
import { type Choice, type EntryResult, chooseEntry, entryOf, runEntry } from './firmware.ts';
import { makeGrubenv, readGrubenv } from './grubenv.ts';
import { type Identity, nodeIdentity } from './identity.ts';
import { appendInside, readPlainFile, writeInside } from './inside.ts';
import {
  PARTITIONS,
  describeBoot,
  describeDisk,
  deviceBytes,
  grubenvPath,
  handOver,
  makeNodeTree,
} from './node-tree.ts';
import type { Firmware, KernelSearch } from './node-tree.ts';
import { NODE_MARKER, endProcessesOf, processesOf } from './processes.ts';
import { type Architecture, type SystemImage, makeExt4 } from './system-image.ts';

export interface MachineOptions {
  /** LAB/nodes/NAME; made where it is missing. Must be absolute. */
  dir: string;
  /** The system in slot A at the start; slot B is an empty ext4. */
  system: SystemImage;
  /** Bytes of each slot; twice the system's unless told. */
  slotBytes?: number;
  firmware?: Firmware;
  architecture?: Architecture;
  kernelSearch?: KernelSearch;
}

/** How a boot ended. `attempts` are the menu entries tried, in order; a panic resets the machine and tries again. */
export type BootResult =
  | { kind: 'up'; slot: Slot; trial: boolean; bootId: string; version: string; attempts: readonly EntryResult[] }
  /** The machine is down and stays so until someone cycles its power. */
  | { kind: 'down'; message: string; attempts: readonly EntryResult[] };

/** Interferences with a boot, for the lab's faults. */
export interface BootFaults {
  /** A trial's kernel panics. */
  trialPanics?: boolean;
  /** A trial's kernel hangs: nobody resets the machine. */
  trialHangs?: boolean;
}

/** Who runs a command on the node. */
export type NodeUser = 'root' | 'ops';

/** More panics in a row than this are a boot loop, which nothing but hands ends. */
const MAX_ATTEMPTS = 5;

const CONSOLE_LOG = 'console.log';

/** Builds a machine in its folder, powered off. The folder must not hold one yet. */
export async function createMachine(options: MachineOptions): Promise<Machine> {
  const machine = new Machine(options);
  await mkdir(options.dir, { recursive: true });
  await mkdir(machine.root);
  await mkdir(machine.stateDir);
  await makeNodeTree(machine.root, machine.firmware, machine.kernelSearch);
  const slotBytes = options.slotBytes ?? options.system.bytes * 2;
  if (slotBytes < options.system.bytes) throw new RangeError('the slot is smaller than its system');
  await copyFile(options.system.path, machine.device('A'), constants.COPYFILE_FICLONE);
  await chmod(machine.device('A'), 0o644);
  await truncate(machine.device('A'), slotBytes);
  await makeExt4({ out: machine.device('B'), sizeBytes: slotBytes, label: 'ROOT-B' });
  await describeDisk(machine.root, slotBytes, undefined);
  await writeFile(machine.grubenv, makeGrubenv([['saved_entry', 'A']]));
  await writeFile(path.join(machine.stateDir, 'machine.json'), JSON.stringify({ ...options, slotBytes }, undefined, 2));
  await appendInside(machine.stateDir, CONSOLE_LOG, '');
  await handOver(machine.root, machine.identity);
  await openToDoubles(machine.stateDir, machine.identity);
  return machine;
}

/** The doubles may leave files of their own there; those of the lab they may neither change nor exchange (sticky bit). */
async function openToDoubles(stateDir: string, identity: Identity | undefined): Promise<void> {
  if (identity === undefined) return;
  await chown(stateDir, 0, identity.gid);
  await chmod(stateDir, 0o1775);
}

/** A node's machine: its disk, its firmware with GRUB, and the processes that run on it. */
export class Machine {
  readonly dir: string;
  /** KUBEOS_ROOT of the node's scripts. */
  readonly root: string;
  /** What the doubles and the lab tell each other; see docs/lab.md. */
  readonly stateDir: string;
  readonly firmware: Firmware;
  readonly architecture: Architecture;
  readonly kernelSearch: KernelSearch;
  /** The uid that the node's commands run as; undefined where the lab itself is not root. */
  readonly identity: Identity | undefined = nodeIdentity();

  constructor(options: Pick<MachineOptions, 'dir' | 'firmware' | 'architecture' | 'kernelSearch'>) {
    if (!path.isAbsolute(options.dir)) throw new TypeError(`not an absolute path: ${options.dir}`);
    this.dir = options.dir;
    this.root = path.join(options.dir, 'root');
    this.stateDir = path.join(options.dir, 'state');
    this.firmware = options.firmware ?? 'uefi';
    this.architecture = options.architecture ?? 'x86_64';
    this.kernelSearch = options.kernelSearch ?? 'label';
  }

  /** The file that stands for a slot's block device. */
  device(slot: Slot): string {
    return path.join(this.root, 'dev', `vda${PARTITIONS[slot]}`);
  }

  /** The file with GRUB's environment. */
  get grubenv(): string {
    return path.join(this.root, grubenvPath(this.firmware));
  }

  /** GRUB's variables as they stand; undefined where GRUB would not accept the file. */
  async grubVariables(): Promise<ReadonlyMap<string, string> | undefined> {
    const block = await readFile(this.grubenv).catch(() => undefined);
    return block === undefined ? undefined : readGrubenv(block);
  }

  /** The slot that GRUB takes without a trial; undefined where it would not accept the environment. */
  savedSlot(): Slot | undefined {
    const block = readPlainFile(this.grubenv);
    const variables = block === undefined ? undefined : readGrubenv(block);
    return variables === undefined ? undefined : entryOf(variables.get('saved_entry'));
  }

  /** Sets GRUB's environment as a person at the console would; for tests and `kubeos lab` alone. */
  async setGrubVariables(variables: Readonly<Record<string, string>>): Promise<void> {
    const now = new Map(await this.grubVariables());
    for (const [name, value] of Object.entries(variables)) now.set(name, value);
    await writeInside(this.root, grubenvPath(this.firmware), makeGrubenv(now), { owner: this.identity });
  }

  /**
   * The whole environment of a command on this node: nothing of the lab's own gets in. `binDir` is the folder of
   * doubles and links, and the whole PATH.
   */
  env(binDir: string, user: NodeUser = 'root'): Record<string, string> {
    const home = path.join(this.root, user === 'root' ? 'root' : 'home/ops');
    return {
      KUBEOS_ROOT: this.root,
      [NODE_MARKER]: this.dir,
      KUBEOS_LAB_USER: user,
      PATH: binDir,
      HOME: home,
      USER: user,
      LOGNAME: user,
      SHELL: '/bin/sh',
    };
  }

  /** The processes that run on the node, detached ones included. Whoever asks again and again leaves room for others. */
  async processes(): Promise<number[]> {
    await new Promise((resolve) => setImmediate(resolve));
    return processesOf(this.dir);
  }

  /** Ends all of them at once, as a power cut does. */
  async killAll(): Promise<void> {
    await endProcessesOf(this.dir);
  }

  /** Powers the machine off and on: ends its processes, then plays firmware, GRUB, kernel and init. */
  async boot(faults: BootFaults = {}): Promise<BootResult> {
    await this.killAll();
    await rm(path.join(this.stateDir, 'reboot'), { force: true });
    const attempts: EntryResult[] = [];
    while (attempts.length < MAX_ATTEMPTS) {
      const choice = await chooseEntry(this.root, grubenvPath(this.firmware));
      const { trial } = choice;
      const result = await this.#follow(choice, faults, attempts);
      if (result.kind === 'up' && trial && faults.trialHangs === true) {
        return { kind: 'down', message: `slot ${result.slot}: the kernel hangs`, attempts };
      }
      if (result.kind === 'stuck') return { kind: 'down', message: `GRUB: ${result.message}`, attempts };
      if (result.kind === 'up') return this.#comeUp(result, choice, attempts);
    }
    return { kind: 'down', message: 'the machine resets again and again', attempts };
  }

  /** The entry that was chosen, and where GRUB cannot load it, the one that is to take its place. */
  async #follow(choice: Choice, faults: BootFaults, attempts: EntryResult[]): Promise<EntryResult> {
    const { slot, trial, custom, unclear } = choice;
    const first: EntryResult =
      unclear === undefined ? await this.#attempt(slot, trial, faults) : { kind: 'stuck', slot, message: unclear };
    attempts.push(first);
    await this.#console(first, trial);
    if (first.kind !== 'stuck' || custom.fallback === undefined) return first;
    const second = await this.#attempt(custom.fallback, false, faults);
    attempts.push(second);
    await this.#console(second, false);
    return second;
  }

  async #attempt(slot: Slot, trial: boolean, faults: BootFaults): Promise<EntryResult> {
    const result = await runEntry(this.root, slot, this);
    if (result.kind !== 'up' || !trial || faults.trialPanics !== true) return result;
    return { kind: 'panic', slot, message: 'a fault of the lab: the trial panics' };
  }

  async #comeUp(
    entry: Extract<EntryResult, { kind: 'up' }>,
    choice: Choice,
    attempts: readonly EntryResult[],
  ): Promise<BootResult> {
    const bootId = randomUUID();
    const { firmware, architecture, identity } = this;
    await describeDisk(this.root, await deviceBytes(this.device('A')), identity);
    const trial = choice.trial && entry.slot === choice.slot;
    const kernelArguments = trial ? choice.custom.own?.kernelArguments.replace(/^linux \S+ /, '') : undefined;
    await describeBoot(this.root, { ...entry, firmware, architecture, bootId, kernelArguments }, identity);
    return { kind: 'up', slot: entry.slot, trial, bootId, version: entry.version, attempts };
  }

  async #console(result: EntryResult, trial: boolean): Promise<void> {
    const what = result.kind === 'up' ? `${result.version} is up` : `${result.kind}: ${result.message}`;
    const line = `${new Date().toISOString()} ${trial ? 'trial ' : ''}entry ${result.slot}: ${what}\n`;
    await appendInside(this.stateDir, CONSOLE_LOG, line);
  }
}
