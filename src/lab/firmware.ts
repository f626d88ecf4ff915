import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Slot } from '../rollout/facts.ts';
import { prettyName, readExt4File, readSuperblock } from './ext4.ts';
import { makeGrubenv, readGrubenv } from './grubenv.ts';
import { type CustomBoot, followCustomConfig } from './custom-cfg.ts';
import { overwriteInside } from './inside.ts';
import { type KernelSearch, PARTITIONS } from './node-tree.ts';
import { type Architecture, readElfArchitecture, readKernelFile } from './system-image.ts';

/** What GRUB and the kernel made of one menu entry. */
export type EntryResult =
  | { kind: 'up'; slot: Slot; version: string; kernelRelease: string; osRelease: Buffer | undefined }
  /** GRUB waits at "Press any key to continue": nothing but hands bring the machine back. */
  | { kind: 'stuck'; slot: Slot; message: string }
  /** The kernel panicked, and its `panic=3` resets the machine. */
  | { kind: 'panic'; slot: Slot; message: string };

/** What GRUB is about to boot. */
export interface Choice {
  slot: Slot;
  trial: boolean;
  custom: CustomBoot;
  /** Why nobody can tell what the node's custom.cfg would make of this boot. */
  unclear?: string;
}

/**
 * GRUB with KubeOS's stock grub.cfg, up to the choice of the menu entry: it loads the environment; `next_entry`, where
 * set, is taken once and cleared, else `saved_entry`; an unknown or missing one means the first entry, A. It saves
 * `boot_success=0`. An environment that GRUB does not accept is as good as empty, and nothing is saved. A custom.cfg
 * beside it comes last. `grubenv` is the file's path on the node.
 */
export async function chooseEntry(root: string, grubenv: string): Promise<Choice> {
  const block = await readFile(path.join(root, grubenv)).catch(() => undefined);
  const variables = block === undefined ? undefined : readGrubenv(block);
  if (variables === undefined) return withCustomConfig(root, grubenv, new Map(), { slot: 'A', trial: false });
  const next = variables.get('next_entry') ?? '';
  const chosen = next === '' ? variables.get('saved_entry') : next;
  if (next !== '') variables.set('next_entry', '');
  variables.set('boot_success', '0');
  // GRUB writes the file's own blocks and nothing else: no new file, no other size.
  await overwriteInside(root, grubenv, makeGrubenv(variables));
  const known = new Map([...variables, ['default', chosen ?? '']]);
  return withCustomConfig(root, grubenv, known, { slot: entryOf(chosen), trial: next !== '' });
}

async function withCustomConfig(
  root: string,
  grubenv: string,
  variables: ReadonlyMap<string, string>,
  choice: Pick<Choice, 'slot' | 'trial'>,
): Promise<Choice> {
  const file = path.join(root, path.dirname(grubenv), 'custom.cfg');
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return { ...choice, custom: {} };
  try {
    const custom = followCustomConfig(text, variables);
    return { ...choice, slot: custom.own?.slot ?? choice.slot, custom };
  } catch (error) {
    return { ...choice, custom: {}, unclear: `the lab's GRUB cannot follow custom.cfg: ${(error as Error).message}` };
  }
}

/** Loads what a menu entry names and follows the kernel up to its init. */
export async function runEntry(
  root: string,
  slot: Slot,
  machine: { architecture: Architecture; kernelSearch: KernelSearch },
): Promise<EntryResult> {
  const device = (of: Slot): string => path.join(root, 'dev', `vda${PARTITIONS[of]}`);
  const stuck = (message: string): EntryResult => ({ kind: 'stuck', slot, message });
  const bootFrom = await kernelSlot(device, slot, machine.kernelSearch);
  if (bootFrom === undefined) return stuck(`error: no such device: ROOT-${slot}.`);
  const kernelBytes = await readExt4File(device(bootFrom), '/boot/vmlinuz');
  if (kernelBytes === undefined) return stuck("error: file `/boot/vmlinuz' not found.");
  const kernel = readKernelFile(kernelBytes);
  if (kernel?.architecture !== machine.architecture) return stuck('error: invalid magic number.');
  const initramfs = await readExt4File(device(bootFrom), '/boot/initramfs.img');
  if (initramfs === undefined) return stuck("error: file `/boot/initramfs.img' not found.");

  const panic = (message: string): EntryResult => ({ kind: 'panic', slot, message });
  if ((await readSuperblock(device(slot))) === undefined) return panic('VFS: Unable to mount root fs');
  const init = await readExt4File(device(slot), '/usr/lib/systemd/systemd');
  if (init === undefined || readElfArchitecture(init) !== machine.architecture) return panic('No working init found.');
  const osRelease = await readExt4File(device(slot), '/usr/lib/os-release');
  // systemd's default where PRETTY_NAME is missing is "Linux" (os-release(5)).
  const version = prettyName(osRelease?.toString() ?? '') ?? 'Linux';
  return { kind: 'up', slot, version, kernelRelease: kernel.release, osRelease };
}

/** The slot whose file system GRUB loads the kernel from: with labels, the first partition that has the right one. */
async function kernelSlot(device: (slot: Slot) => string, slot: Slot, search: KernelSearch): Promise<Slot | undefined> {
  if (search === 'partition') return (await readSuperblock(device(slot))) === undefined ? undefined : slot;
  for (const candidate of ['A', 'B'] as const) {
    if ((await readSuperblock(device(candidate)))?.label === `ROOT-${slot}`) return candidate;
  }
  return undefined;
}

/** GRUB takes a title, an id or an index; KubeOS's entries are titled A and B. */
export function entryOf(name: string | undefined): Slot {
  return name === 'B' || name === 'KubeOS-B' || name === '1' ? 'B' : 'A';
}
