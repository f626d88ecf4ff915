import { lchown, lstat, mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Slot } from '../rollout/facts.ts';
import type { Identity } from './identity.ts';

export type Firmware = 'uefi' | 'bios';

/** Number of each partition and what is on it (KubeOS's image tool lays disks out so). */
export const PARTITIONS = { boot: 1, A: 2, B: 3, persist: 4 } as const;

/** Block major of virtio disks as the lab numbers them; the minor is the partition's number. */
const MAJOR = 254;
const SECTOR_BYTES = 512;

/** Where GRUB keeps its environment, from the node's own root. */
export function grubenvPath(firmware: Firmware): string {
  return firmware === 'uefi' ? '/boot/efi/EFI/openEuler/grubenv' : '/boot/grub2/grubenv';
}

/** Made-up but steady: what `root=PARTUUID=` names. */
export function partUuid(slot: Slot): string {
  return `6b756265-6f73-4000-8000-00000000000${PARTITIONS[slot]}`;
}

/** Makes the folders and the sysfs and procfs entries that stay the same from boot to boot. */
export async function makeNodeTree(root: string, firmware: Firmware): Promise<void> {
  const folders = [
    'dev',
    'proc/self',
    'proc/sys/kernel/random',
    'sys/class/block',
    'sys/dev/block',
    'etc/KubeOS/certs',
    'persist',
    'run',
    'tmp',
    'usr/lib',
    'usr/share',
    'var/log',
    'root',
    'home/ops',
    path.dirname(grubenvPath(firmware)).slice(1),
    ...(firmware === 'uefi' ? ['sys/firmware/efi'] : ['sys/firmware']),
  ];
  for (const folder of folders) await mkdir(path.join(root, folder), { recursive: true });
  await writeFile(path.join(root, 'proc/swaps'), 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n');
  await writeFile(path.join(root, 'var/log/messages'), '');
  for (const device of ['vda', 'vda1', 'vda4']) await writeFile(path.join(root, 'dev', device), '');
}

/** Describes the disk in sysfs by the sizes of its slots; every partition belongs to the disk vda. */
export async function describeDisk(root: string, slotBytes: number): Promise<void> {
  const sizes = [0, 60 * 1024 * 1024, slotBytes, slotBytes, 1024 * 1024 * 1024];
  const disk = path.join(root, 'sys/devices/virtual/block/vda');
  const total = sizes.reduce((sum, bytes) => sum + bytes, 1024 * 1024);
  await describeBlock(root, disk, 'vda', { minor: 0, bytes: total });
  for (const number of Object.values(PARTITIONS)) {
    const name = `vda${number}`;
    await describeBlock(root, path.join(disk, name), name, { minor: number, bytes: sizes[number] ?? 0 });
    await writeFile(path.join(disk, name, 'partition'), `${number}\n`);
  }
}

async function describeBlock(
  root: string,
  folder: string,
  name: string,
  device: { minor: number; bytes: number },
): Promise<void> {
  await mkdir(path.join(folder, 'holders'), { recursive: true });
  const type = device.minor === 0 ? 'disk' : 'partition';
  const facts: Record<string, string> = {
    dev: `${MAJOR}:${device.minor}`,
    size: `${Math.floor(device.bytes / SECTOR_BYTES)}`,
    ro: '0',
    uevent: `MAJOR=${MAJOR}\nMINOR=${device.minor}\nDEVNAME=${name}\nDEVTYPE=${type}`,
  };
  for (const [file, text] of Object.entries(facts)) await writeFile(path.join(folder, file), `${text}\n`);
  for (const link of [
    path.join(root, 'sys/class/block', name),
    path.join(root, 'sys/dev/block', `${MAJOR}:${device.minor}`),
  ]) {
    await rm(link, { force: true });
    await symlink(path.relative(path.dirname(link), folder), link);
  }
}

/** What changes with every boot: who is mounted where, the command line, the boot id; `/run` and `/tmp` are empty. */
export async function describeBoot(
  root: string,
  boot: {
    firmware: Firmware;
    slot: Slot;
    bootId: string;
    kernelRelease: string;
    architecture: string;
    osRelease: Buffer | undefined;
  },
): Promise<void> {
  for (const folder of ['run', 'tmp']) await emptyFolder(path.join(root, folder));
  await writeFile(path.join(root, 'proc/sys/kernel/random/boot_id'), `${boot.bootId}\n`);
  await writeFile(path.join(root, 'proc/sys/kernel/osrelease'), `${boot.kernelRelease}\n`);
  await writeFile(path.join(root, 'proc/sys/kernel/arch'), `${boot.architecture}\n`);
  const disk = boot.firmware === 'uefi' ? 'gpt' : 'msdos';
  const image = `(hd0,${disk}${PARTITIONS[boot.slot]})/boot/vmlinuz`;
  // The arguments of KubeOS's own grub.cfg.
  const rest = 'ro rootfstype=ext4 nomodeset quiet oops=panic softlockup_panic=1 nmi_watchdog=1 rd.shell=0 panic=3';
  await writeFile(
    path.join(root, 'proc/cmdline'),
    `BOOT_IMAGE=${image} root=PARTUUID=${partUuid(boot.slot)} ${rest}\n`,
  );
  await writeFile(path.join(root, 'proc/self/mountinfo'), mountinfo(boot.firmware, boot.slot));
  const release = path.join(root, 'usr/lib/os-release');
  if (boot.osRelease === undefined) await rm(release, { force: true });
  else await writeFile(release, boot.osRelease);
}

/** As the kernel prints it (proc(5)); a KubeOS root is read-only, /etc an overlay and /var a bind of /persist/var. */
function mountinfo(firmware: Firmware, slot: Slot): string {
  const rootNumber = PARTITIONS[slot];
  const boot =
    firmware === 'uefi'
      ? '/boot/efi rw,relatime shared:3 - vfat /dev/vda1 rw'
      : '/boot/grub2 rw,relatime shared:3 - ext4 /dev/vda1 rw';
  return [
    `22 1 ${MAJOR}:${rootNumber} / / ro,relatime shared:1 - ext4 /dev/vda${rootNumber} ro`,
    '23 22 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:4 - proc proc rw',
    '24 22 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:5 - sysfs sysfs rw',
    '25 22 0:5 / /dev rw,nosuid shared:6 - devtmpfs devtmpfs rw',
    '26 22 0:23 / /run rw,nosuid,nodev shared:7 - tmpfs tmpfs rw',
    '27 22 0:24 / /tmp rw,nosuid,nodev shared:8 - tmpfs tmpfs rw',
    `28 22 ${MAJOR}:4 / /persist rw,relatime shared:2 - ext4 /dev/vda4 rw`,
    `29 22 ${MAJOR}:4 /var /var rw,relatime shared:2 - ext4 /dev/vda4 rw`,
    '30 22 0:25 / /etc rw,relatime shared:9 - overlay overlay rw,lowerdir=/etc,upperdir=/persist/etc,workdir=/persist/etcwork',
    `31 22 ${MAJOR}:1 / ${boot}`,
    '',
  ].join('\n');
}

export async function emptyFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) await rm(path.join(folder, entry), { recursive: true, force: true });
}

/** Hands a file, or a whole tree with its links themselves, to the uid that the nodes run as. */
export async function handOver(target: string, identity: Identity | undefined): Promise<void> {
  if (identity === undefined) return;
  await lchown(target, identity.uid, identity.gid);
  if (!(await lstat(target)).isDirectory()) return;
  for (const entry of await readdir(target)) await handOver(path.join(target, entry), identity);
}

/** Bytes of a slot's device file. */
export async function deviceBytes(device: string): Promise<number> {
  return (await stat(device)).size;
}
