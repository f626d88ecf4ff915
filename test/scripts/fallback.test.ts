import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { makeGrubenv } from '../../src/lab/grubenv.ts';
import { exec, node, nodeAt, prepareStages, put, rooted, toB, use } from './stages.ts';

prepareStages();

const ENV = 'boot/efi/EFI/openEuler/grubenv';
const CONFIG = 'boot/efi/EFI/openEuler/grub.cfg';
const MOUNTS = 'proc/self/mountinfo';

const fallback = async (): Promise<[string | undefined, string | undefined]> => {
  const seen = await node.observe();
  return [seen['fallback'], seen['fallback_because']];
};

async function change(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(rooted(file), 'utf8');
  expect(text).toContain(from);
  await writeFile(rooted(file), text.replaceAll(from, to));
}

describe('that a trial which fails ends by itself', () => {
  it('is likely on a node that nothing has been tried on', async () => {
    await nodeAt('fresh');
    expect(await fallback()).toEqual(['likely', 'no boot has shown yet that GRUB can clear next_entry here']);
  });

  it('is proven by the first trial, and by each boot after its commit', async () => {
    await nodeAt('proven');
    expect((await fallback())[0]).toBe('proven');
    await nodeAt('committed');
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('1');
    expect((await fallback())[0]).toBe('proven');
    await node.machine.boot();
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('0');
    expect((await fallback())[0]).toBe('proven');
  });

  it('is not so where GRUB left next_entry as it was', async () => {
    await nodeAt('trial');
    await writeFile(
      rooted(ENV),
      makeGrubenv([
        ['saved_entry', 'A'],
        ['next_entry', 'B'],
      ]),
    );
    await node.must('prove', toB);
    expect(await fallback()).toEqual([
      'none',
      'GRUB cannot write /boot/efi/EFI/openEuler/grubenv: what it is told for one boot stays for all',
    ]);
    await node.must('commit', { target: 'B' });
    expect((await node.observe())['env.next']).toBeUndefined();
    expect((await fallback())[0]).toBe('none');
  });

  it('is not so where a boot after the commit left boot_success as it was', async () => {
    await nodeAt('committed');
    const before = await readFile(rooted(ENV));
    await node.machine.boot();
    await writeFile(rooted(ENV), before);
    expect((await fallback())[0]).toBe('none');
  });

  it('is told by no canary where the grub.cfg of the node does not save boot_success', async () => {
    await nodeAt('proven');
    await change(CONFIG, 'save_env boot_success', '');
    await node.must('commit', { target: 'B' });
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('0');
    expect((await fallback())[0]).toBe('proven');
  });

  it.each(['grub2-set-bootflag', 'grub-set-bootflag'])(
    'is not denied for that where the node has %s, which sets it as well',
    async (tool) => {
      await nodeAt('committed');
      const before = await readFile(rooted(ENV));
      await node.machine.boot();
      await writeFile(rooted(ENV), before);
      await use({ [tool]: '#!/bin/sh\n' });
      expect((await fallback())[0]).toBe('likely');
    },
  );

  it('is not so where the environment lies on no partition', async () => {
    await nodeAt('proven');
    await change(MOUNTS, '254:1 /', '253:0 /');
    expect(await fallback()).toEqual([
      'none',
      `/${ENV} lies on /dev/vda1, which is no plain partition: GRUB cannot write there`,
    ]);
  });

  /** The environment lies on the first partition of a disk that is there as sysfs shows it. */
  async function onDisk(disk: string, mark: string): Promise<void> {
    const folder = `sys/devices/virtual/block/${disk}`;
    await put(`${folder}/${mark}`, '');
    await put(`${folder}/${disk}p1/partition`, '1\n');
    await mkdir(rooted(`${folder}/slaves`), { recursive: true });
    await symlink(`../../devices/virtual/block/${disk}/${disk}p1`, rooted('sys/dev/block/259:1'));
    await change(MOUNTS, '254:1 /', '259:1 /');
    await change(MOUNTS, '/dev/vda1 ', `/dev/${disk}p1 `);
  }

  it.each([
    ['RAID', 'md0', 'md/level'],
    ['the device mapper', 'dm-3', 'dm/uuid'],
    ['a file', 'loop0', 'loop/backing_file'],
    ['another disk, behind a cache', 'bcache0', 'slaves/sda'],
  ])('is not so where its partition is one of %s', async (_what, disk, mark) => {
    await nodeAt('proven');
    await onDisk(disk, mark);
    expect(await fallback()).toEqual([
      'none',
      `/${ENV} lies on /dev/${disk}p1, and ${disk} is no disk by itself: GRUB cannot write there`,
    ]);
  });

  it('is so on a partition of a disk that sysfs counts among the virtual ones', async () => {
    await nodeAt('proven');
    await onDisk('nvme0n1', 'queue/rotational');
    expect((await fallback())[0]).toBe('proven');
  });

  it.each(['btrfs', 'zfs', 'f2fs', 'overlay', 'iso9660'])(
    'is not so where the environment lies on %s, which GRUB is not known to write',
    async (type) => {
      await nodeAt('proven');
      await change(MOUNTS, '- vfat /dev/vda1', `- ${type} /dev/vda1`);
      expect(await fallback()).toEqual([
        'none',
        `/${ENV} lies on ${type}: kubeos trusts GRUB to write on ext2, ext3, ext4, FAT and XFS only`,
      ]);
    },
  );

  it.each(['ext2', 'ext3', 'ext4', 'xfs', 'msdos'])('can be so on %s', async (type) => {
    await nodeAt('fresh');
    await change(MOUNTS, '- vfat /dev/vda1', `- ${type} /dev/vda1`);
    expect((await fallback())[0]).toBe('likely');
  });

  it('is not so where the environment has no block of the disk for itself', async () => {
    await nodeAt('proven');
    const stat = await exec('stat');
    await use({ stat: `#!/bin/sh\nif [ "$1 $2" = '-c %b' ]; then echo 0; else exec ${stat} "$@"; fi\n` });
    expect(await fallback()).toEqual([
      'none',
      `/${ENV} has no block of its own on the disk, so GRUB cannot write it: copy it there anew`,
    ]);
  });

  it('is believed where the grub.cfg cannot be read', async () => {
    await nodeAt('fresh');
    await rm(rooted(CONFIG));
    expect((await fallback())[0]).toBe('likely');
  });
});

describe('a node whose grub.cfg does not know next_entry', () => {
  it('is told as one on which no slot can be tried', async () => {
    await nodeAt('fresh');
    await change(CONFIG, 'next_entry', 'another_entry');
    expect(await node.observe()).toMatchObject({
      unsupported: 'no-trial',
      unsupported_message: 'its grub.cfg does not know next_entry: no slot can be tried for one boot',
    });
  });
});
