import { lchown, lstat, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Slot } from '../rollout/facts.ts';
import type { Identity } from './identity.ts';
import { emptyInside, linkInside, makeFolderInside, removeInside, writeInside } from './inside.ts';

export type Firmware = 'uefi' | 'bios';

/**
 * How GRUB finds a slot's kernel. KubeOS 1.0.7 and newer search the file system's label (ROOT-A, ROOT-B); older
 * images name the partition.
 */
export type KernelSearch = 'label' | 'partition';

/** Number of each partition and what is on it (KubeOS's image tool lays disks out so). */
export const PARTITIONS = { boot: 1, A: 2, B: 3, persist: 4 } as const;

/** Block major of virtio disks as the lab numbers them; the minor is the partition's number. */
const MAJOR = 254;
const SECTOR_BYTES = 512;

/** Where GRUB keeps its environment, from the node's own root. */
export function grubenvPath(firmware: Firmware): string {
  return firmware === 'uefi' ? '/boot/efi/EFI/openEuler/grubenv' : '/boot/grub2/grubenv';
}

/** What `chooseEntry` and `runEntry` play, in the shape that KubeOS ships. */
function grubConfig(firmware: Firmware, kernelSearch: KernelSearch): string {
  const disk = firmware === 'uefi' ? 'gpt' : 'msdos';
  const search = (slot: Slot): string =>
    kernelSearch === 'label'
      ? `search --no-floppy --set=root --label ROOT-${slot}`
      : `set root='hd0,${disk}${PARTITIONS[slot]}'`;
  const entry = (slot: Slot): string => `
menuentry '${slot}' --class KubeOS --unrestricted --id 'KubeOS-${slot}' {
  ${search(slot)}
  linux /boot/vmlinuz root=PARTUUID=${partUuid(slot)} ${KERNEL_ARGUMENTS}
  initrd /boot/initramfs.img
}
`;
  return `load_env
if [ "\${next_entry}" ]; then
  set default="\${next_entry}"
  set next_entry=
  save_env next_entry
  set boot_once=true
else
  set default="\${saved_entry}"
fi
set boot_success=0
save_env boot_success
set timeout=5
${entry('A')}${entry('B')}
if [ -f $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
`;
}

/** The arguments of KubeOS's own grub.cfg. */
const KERNEL_ARGUMENTS =
  'ro rootfstype=ext4 nomodeset quiet oops=panic softlockup_panic=1 nmi_watchdog=1 rd.shell=0 panic=3';

/** Made-up but steady: what `root=PARTUUID=` names. */
export function partUuid(slot: Slot): string {
  return `6b756265-6f73-4000-8000-00000000000${PARTITIONS[slot]}`;
}

/** Makes the folders and the sysfs and procfs entries that stay the same from boot to boot. */
export async function makeNodeTree(root: string, firmware: Firmware, kernelSearch: KernelSearch): Promise<void> {
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
  await writeFile(path.join(root, path.dirname(grubenvPath(firmware)), 'grub.cfg'), grubConfig(firmware, kernelSearch));
  for (const device of ['vda', 'vda1', 'vda4']) await writeFile(path.join(root, 'dev', device), '');
}

/** Describes the disk in sysfs by the sizes of its slots; every partition belongs to the disk vda. */
export async function describeDisk(root: string, slotBytes: number, owner: Identity | undefined): Promise<void> {
  const sizes = [0, 60 * 1024 * 1024, slotBytes, slotBytes, 1024 * 1024 * 1024];
  const disk = 'sys/devices/virtual/block/vda';
  const total = sizes.reduce((sum, bytes) => sum + bytes, 1024 * 1024);
  await describeBlock(root, disk, { name: 'vda', minor: 0, bytes: total, owner });
  for (const number of Object.values(PARTITIONS)) {
    const name = `vda${number}`;
    await describeBlock(root, path.join(disk, name), { name, minor: number, bytes: sizes[number] ?? 0, owner });
    await writeInside(root, path.join(disk, name, 'partition'), `${number}\n`, { owner });
  }
}

async function describeBlock(
  root: string,
  folder: string,
  device: { name: string; minor: number; bytes: number; owner: Identity | undefined },
): Promise<void> {
  const { name, owner } = device;
  await makeFolderInside(root, path.join(folder, 'holders'), owner);
  const type = device.minor === 0 ? 'disk' : 'partition';
  const facts: Record<string, string> = {
    dev: `${MAJOR}:${device.minor}`,
    size: `${Math.floor(device.bytes / SECTOR_BYTES)}`,
    ro: '0',
    uevent: `MAJOR=${MAJOR}\nMINOR=${device.minor}\nDEVNAME=${name}\nDEVTYPE=${type}`,
  };
  for (const [file, text] of Object.entries(facts)) {
    await writeInside(root, path.join(folder, file), `${text}\n`, { owner });
  }
  for (const link of [`sys/class/block/${name}`, `sys/dev/block/${MAJOR}:${device.minor}`]) {
    await linkInside(root, link, path.relative(path.dirname(link), folder));
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
    /** Of an entry that grub.cfg does not have. */
    kernelArguments?: string | undefined;
  },
  owner: Identity | undefined,
): Promise<void> {
  const write = (file: string, content: string | Uint8Array): Promise<void> =>
    writeInside(root, file, content, { owner });
  for (const folder of ['run', 'tmp']) await emptyInside(root, folder);
  await write('proc/sys/kernel/random/boot_id', `${boot.bootId}\n`);
  await write('proc/sys/kernel/osrelease', `${boot.kernelRelease}\n`);
  await write('proc/sys/kernel/arch', `${boot.architecture}\n`);
  const disk = boot.firmware === 'uefi' ? 'gpt' : 'msdos';
  const image = `(hd0,${disk}${PARTITIONS[boot.slot]})/boot/vmlinuz`;
  const rest = boot.kernelArguments ?? `root=PARTUUID=${partUuid(boot.slot)} ${KERNEL_ARGUMENTS}`;
  await write('proc/cmdline', `BOOT_IMAGE=${image} ${rest}\n`);
  await write('proc/self/mountinfo', mountinfo(boot.firmware, boot.slot));
  if (boot.osRelease === undefined) await removeInside(root, 'usr/lib/os-release');
  else await write('usr/lib/os-release', boot.osRelease);
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

/**
 * Hands a file, or a whole tree with its links themselves, to the uid that the nodes run as. A folder comes after all
 * that is in it, so that nobody can exchange what is still to be handed over.
 */
export async function handOver(target: string, identity: Identity | undefined): Promise<void> {
  if (identity === undefined) return;
  if ((await lstat(target)).isDirectory()) {
    for (const entry of await readdir(target)) await handOver(path.join(target, entry), identity);
  }
  await lchown(target, identity.uid, identity.gid);
}

/** Bytes of a slot's device file. */
export async function deviceBytes(device: string): Promise<number> {
  return (await stat(device)).size;
}
