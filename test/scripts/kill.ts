import { createHash } from 'node:crypto';
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DOUBLES } from '../../src/lab/doubles/index.ts';
import { Machine } from '../../src/lab/machine.ts';
import { handOver } from '../../src/lab/node-tree.ts';
import { runTool } from '../../src/lab/tools.ts';
import { type Shell, Node, makeBin } from './node-bed.ts';

/** The tools by which scripts change something; with dd, only where it writes a file. */
const MUTATING = [
  'dd',
  'cp',
  'mv',
  'rm',
  'mkdir',
  'rmdir',
  'sync',
  'grub2-editenv',
  'mkfs.ext4',
  'mkfifo',
  'tar',
  'mount',
  'umount',
  'curl',
];

/**
 * A PATH on which the Nth call of a tool that changes something ends the whole script with SIGKILL instead. With
 * `torn`, a dd that writes to a device first writes a part of what it should.
 */
export async function makeKillingBin(dir: string, shell: Shell): Promise<string> {
  const plain = await makeBin(`${dir}-plain`, shell);
  const wrappers: Record<string, string> = {};
  for (const tool of MUTATING) wrappers[tool] = wrapper(tool, path.join(plain, tool));
  // Doubles are called through the wrappers, but what they call themselves is no step of the script.
  for (const [name, text] of Object.entries(DOUBLES)) {
    if (wrappers[name] === undefined) wrappers[name] = text.replace('set -eu', `set -eu\nPATH=${plain}`);
  }
  return makeBin(dir, shell, wrappers);
}

/** Where a call of the tool changes nothing, it is no step. */
const READS: Readonly<Record<string, string>> = {
  dd: 'case " $* " in *" of=/dev/null "*) exec "$real" "$@" ;; *" of="*) ;; *) exec "$real" "$@" ;; esac',
  'mkfs.ext4': 'case " $* " in *" -n "*) exec "$real" "$@" ;; esac',
  tar: 'case " $* " in *" --extract "*" --preserve-permissions "*) ;; *) exec "$real" "$@" ;; esac',
};

/** How the tool leaves a thing half done. */
const TEARS: Readonly<Record<string, string>> = {
  // A head in its first sectors: the label is there, the checksum is not.
  dd: 'case " $* " in *" of="*/dev/vda*" bs=4096 "*) "$real" "$@" bs=512 count=3 ;; *" of="*/dev/vda*) "$real" "$@" bs=1M count=1 ;; esac',
  tar: 'head -c 100000 | "$real" "$@" 2>/dev/null || :',
};

function wrapper(tool: string, real: string): string {
  const reads = READS[tool] ?? '';
  const tear = TEARS[tool] ?? ':';
  return `#!/bin/sh
real=${real}
${reads}
state=$KUBEOS_LAB_NODE/state
at=0 made='' torn=no
[ ! -e "$state/kill-at" ] || read -r at torn <"$state/kill-at"
# Scripts do several things at once: a mark that is appended is never lost.
printf x >>"$state/kill-made"
read -r made <"$state/kill-made" || :
if [ "$at" -gt 0 ] && [ "\${#made}" -ge "$at" ]; then
	if [ "$torn" = torn ]; then
		${tear}
	fi
	kill -KILL 0
fi
PATH=${path.dirname(real)}
exec "$real" "$@"
`;
}

/** Lets the Nth change from now on be the end of the script that makes it; 0 lets all of them pass. */
export async function killAt(node: Node, at: number, torn = false): Promise<void> {
  const { stateDir, identity } = node.machine;
  await rm(path.join(stateDir, 'kill-made'), { force: true });
  await writeFile(path.join(stateDir, 'kill-at'), `${at} ${torn ? 'torn' : 'whole'}\n`);
  await handOver(stateDir, identity);
}

/** Lets the node's scripts run with the tools as they are. */
export function stopKilling(node: Node): void {
  node.bin = `${node.bin}-plain`;
}

/**
 * What GRUB, which searches for a slot by its label, would wrongly find in slot B while it is on its way; undefined where
 * that is nothing. GRUB reads only the first superblock (grub-core/fs/ext2.c), at byte 1024.
 * @param image what slot B is to become, where that is known byte for byte
 */
export async function misleads({ machine }: Node, image?: Buffer): Promise<string | undefined> {
  const [active, device] = await Promise.all([readFile(machine.device('A')), readFile(machine.device('B'))]);
  const label = labelOf(device);
  if (label === undefined) return undefined;
  if (label === labelOf(active)) return `slot B bears the label of slot A, ${label}`;
  if (image === undefined || labelOf(image) === undefined) return undefined;
  const begun = device.subarray(UUID, UUID + 16).equals(image.subarray(UUID, UUID + 16));
  const whole = device.subarray(HEAD_BYTES, image.length).equals(image.subarray(HEAD_BYTES));
  return begun && !whole ? 'slot B looks like the new system, and is not whole' : undefined;
}

function labelOf(device: Buffer): string | undefined {
  if (device.readUInt16LE(MAGIC) !== 0xef53) return undefined;
  return device.toString('latin1', LABEL, LABEL + 16).replace(/\0.*$/s, '');
}

/** In an ext4 device: s_magic, s_uuid and s_volume_name (Linux, fs/ext4/ext4.h). */
const [MAGIC, UUID, LABEL] = [1024 + 0x38, 1024 + 0x68, 1024 + 0x78];
const HEAD_BYTES = 4096;

/** What a power cut would leave of the node, as a digest: disks and persistent files. */
export const remains = (node: Node): Promise<string> => digestOf(node, ['persist', 'boot', 'dev']);

/** What decides how the node's scripts go on, as a digest: what remains, and what a boot makes anew. */
export const standing = (node: Node): Promise<string> => digestOf(node, ['persist', 'boot', 'dev', 'run', 'proc']);

async function digestOf({ machine }: Node, folders: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  const alike = await likeness(machine);
  for (const folder of folders) {
    const entries = await readdir(path.join(machine.root, folder), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    for (const file of files.sort()) {
      const name = path.relative(machine.root, file);
      if (OWN_WORDS.test(name)) continue;
      const bytes = await readFile(file);
      hash.update(`${name} ${bytes.length}\n`).update(alike(name, bytes));
    }
  }
  return hash.digest('hex');
}

/**
 * Makes alike what differs from one way to the next and decides nothing: times, and which boot it is. What scripts
 * compare with something (a boot, a file's time, a slot's digest) counts as whether it holds.
 */
async function likeness(machine: Machine): Promise<(name: string, bytes: Buffer) => Buffer | string> {
  const bootId = (await readFile(path.join(machine.root, BOOT_ID), 'utf8')).trim();
  const image = await stat(path.join(machine.root, IMAGE)).catch(() => undefined);
  const hashed = image && (await imageState(machine));
  const slots = { A: await readFile(machine.device('A')), B: await readFile(machine.device('B')) };
  const devices = new Set((['A', 'B'] as const).map((slot) => path.relative(machine.root, machine.device(slot))));
  const same = (is: boolean): string => (is ? 'holds' : 'does not hold');
  return (name, bytes) => {
    if (devices.has(name)) return withoutWriteTime(bytes);
    if (name === BOOT_ID) return '';
    if (name === HASHED) return same(bytes.toString('latin1') === hashed);
    if (!name.startsWith('persist/') || bytes.length >= 4096) return bytes;
    const text = bytes.toString('latin1');
    const slot = slots[name.endsWith('slot-A') ? 'A' : 'B'];
    return text
      .replace(/^(updated_at|verified_at)=.*$/gm, '$1')
      .replace(/^(armed_boot_id|proven_boot_id)=(.+)$/gm, (_, key, id) => `${key} ${same(id === bootId)}`)
      .replace(/^mtime=(.+)$/m, (_, time) => same(Number(time) === Math.floor((image?.mtimeMs ?? 0) / 1000)))
      .replace(/^wtime=(.+)$/m, (_, time) => same(Number(time) === slot.readUInt32LE(WRITE_TIME)))
      .replace(/^head_sha256=(.+)$/m, (_, sum) => same(sum === sha256(slot.subarray(0, HEAD_BYTES))));
  };
}

const IMAGE = 'persist/KubeOS-Update/update.img';
/** What the node's scripts keep there of an image that they have hashed, as `imageState` has it. */
const HASHED = 'run/kubeos/hashed';

async function imageState(machine: Machine): Promise<string> {
  return (await runTool('stat', ['-c', '%i %s %z', path.join(machine.root, IMAGE)])).stdout.toString('latin1');
}

/** What a tool said, and the list of a tar's members: whether it is trusted, run/kubeos/list.of tells. */
const OWN_WORDS = /^run\/kubeos\/\w+\.(err|out)$|\/update\.img\.list/;
const BOOT_ID = 'proc/sys/kernel/random/boot_id';
/** In an ext4 device: s_wtime and s_checksum (Linux, fs/ext4/ext4.h). */
const [WRITE_TIME, CHECKSUM] = [1024 + 0x30, 1024 + 0x3fc];

function withoutWriteTime(device: Buffer): Buffer {
  const bytes = Buffer.from(device);
  for (const at of [WRITE_TIME, CHECKSUM]) bytes.fill(0, at, at + 4);
  return bytes;
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** How many changes were made since. */
export async function changesMade(node: Node): Promise<number> {
  return (await readFile(path.join(node.machine.stateDir, 'kill-made'), 'utf8').catch(() => '')).length;
}

/** A copy of a node as it stands, in a folder of its own. */
export async function copyNode(node: Node, dir: string): Promise<Node> {
  await rm(dir, { recursive: true, force: true });
  await runTool('cp', ['-a', '--sparse=always', node.machine.dir, dir]);
  const machine = new Machine({ dir, firmware: node.machine.firmware });
  const hashed = await readFile(path.join(node.machine.root, HASHED), 'latin1').catch(() => undefined);
  await handOver(dir, machine.identity);
  // A copy of the image is another file.
  if (hashed !== undefined && hashed === (await imageState(node.machine).catch(() => undefined))) {
    await writeFile(path.join(machine.root, HASHED), await imageState(machine));
  }
  return Object.assign(new Node(machine, node.bin), { by: node.by });
}
