import { cp, mkdir, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readExt4File } from '../../src/lab/ext4.ts';
import { handOver } from '../../src/lab/node-tree.ts';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { expectRefused, node, nodeAt, prepareStages, put, rooted, toB, use } from './stages.ts';

prepareStages();

describe('a node that kubeos does not work on', () => {
  const dm = async (name: string, uuid = ''): Promise<void> => {
    const folder = rooted('sys/devices/virtual/block/dm-0/dm');
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'name'), `${name}\n`);
    await writeFile(path.join(folder, 'uuid'), `${uuid}\n`);
    await rm(rooted('sys/dev/block/254:2'));
    await symlink('../../devices/virtual/block/dm-0', rooted('sys/dev/block/254:2'));
  };
  const mounted = async (old: string, other: string): Promise<void> =>
    put('proc/self/mountinfo', (await readFile(rooted('proc/self/mountinfo'), 'utf8')).replace(old, other));
  const source = (name: string): Promise<void> => mounted('/dev/vda2', name);

  const verity = (device: string): string =>
    `the root is on dm-verity (${device}): boot, root and hash change together there, which kubeos does not do`;

  it.each<[string, () => Promise<unknown>, string]>([
    ['verity', () => source('/dev/mapper/kubeos-root'), verity('/dev/mapper/kubeos-root')],
    [
      'verity',
      async () => {
        await source('/dev/dm-0');
        await dm('kubeos-root');
      },
      verity('/dev/dm-0'),
    ],
    [
      'verity',
      async () => {
        await source('/dev/mapper/vroot');
        await dm('vroot', 'CRYPT-VERITY-6b7562656f7340008000000000000002-vroot');
      },
      verity('/dev/mapper/vroot'),
    ],
    [
      'unknown-root',
      async () => {
        await source('/dev/mapper/vg-root');
        await dm('vg-root', 'LVM-b9abf5efb9abf5efb9abf5efb9abf5ef');
      },
      'is not on a plain partition',
    ],
    ['unknown-root', () => mounted('254:2 / / ', '254:4 / / '), 'the root is partition 4, neither the second'],
    ['partitions', () => put('sys/devices/virtual/block/vda/vda2/partition', '5\n'), 'further root partitions: vda2'],
    [
      'partitions',
      () => rm(rooted('sys/devices/virtual/block/vda/vda3/partition')),
      'does not have both partition 2 and partition 3',
    ],
    ['partitions', () => cp(node.machine.device('A'), rooted('dev/vda4')), 'further root partitions: vda4'],
    ['missing-tool', () => use({ e2fsck: '' }), 'the node has no e2fsck'],
    ['missing-tool', () => use({ blockdev: '' }), 'the node has no blockdev'],
    ['missing-tool', () => use({ tee: '' }), 'the node has no tee'],
    ['missing-tool', () => use({ 'grub2-editenv': '' }), 'neither grub2-editenv nor grub-editenv'],
  ])('%s', async (code, arrange, words) => {
    await nodeAt('verified');
    await arrange();
    await handOver(node.machine.dir, node.machine.identity);
    const seen = await node.observe();
    expect(seen).toMatchObject({ unsupported: code });
    expect(seen['unsupported_message']).toContain(words);
    const answer = await node.run('arm', toB);
    if (code === 'missing-tool') expect(answer.ended).toMatch(/^(ok|missing-tool)$/);
    else expectRefused(answer, 'unsupported', words);
  });

  it('asks for the check of the file system that its root is on', async () => {
    await nodeAt('fresh');
    await use({ e2fsck: '' });
    const superblock = Buffer.alloc(4096);
    superblock.write('XFSB');
    const root = await open(node.machine.device('A'), 'r+');
    await root.write(superblock, 0, superblock.length, 0);
    await root.close();
    expect((await node.observe())['unsupported_message']).toBe('the node has no xfs_repair');
  });

  it('names the tool that a step lacks', async () => {
    await nodeAt('verified');
    await use({ 'grub2-editenv': '' });
    expectRefused(await node.run('arm', toB), 'missing-tool', 'neither grub2-editenv nor grub-editenv');
  });

  it.each(['nvme0n1p', 'mmcblk0p', 'sda'])('finds the slots of disks such as %s too', async (prefix) => {
    await nodeAt('fresh');
    const disk = rooted('sys/devices/virtual/block/vda');
    for (const number of [1, 2, 3, 4]) {
      await cp(path.join(disk, `vda${number}`), path.join(disk, `${prefix}${number}`), { recursive: true });
      await rm(path.join(disk, `vda${number}`), { recursive: true });
      await cp(rooted(`dev/vda${number}`), rooted(`dev/${prefix}${number}`));
      await rm(rooted(`sys/dev/block/254:${number}`));
      await symlink(`../../devices/virtual/block/vda/${prefix}${number}`, rooted(`sys/dev/block/254:${number}`));
    }
    await source(`/dev/${prefix}2`);
    expect(await node.observe()).toMatchObject({
      active: 'A',
      'A.device': `/dev/${prefix}2`,
      'B.device': `/dev/${prefix}3`,
      'B.label': 'ROOT-B',
    });
  });
});

describe('what observe changes', () => {
  it('is nothing', async () => {
    await nodeAt('verified');
    const before = await sha256OfFile(node.machine.device('B'));
    await node.observe();
    expect(await sha256OfFile(node.machine.device('B'))).toBe(before);
    expect(await readFile(rooted('proc/self/mountinfo'), 'utf8')).not.toContain('/run/kubeos');
    expect(await readExt4File(node.machine.device('B'), '/boot/vmlinuz')).toBeDefined();
  });
});
