import { readFile, rm, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';
import { file, serve } from './image-server.ts';
import { MIB, makeImage } from './node-bed.ts';
import {
  VERSION,
  begin,
  exec,
  expectRefused,
  node,
  nodeAt,
  prepareStages,
  put,
  rooted,
  toB,
  use,
  verify,
  yard,
} from './stages.ts';

prepareStages();

describe('the target', () => {
  const mountedSomewhere = '\n77 22 254:3 / /mnt rw - ext4 /dev/vda3 rw\n';
  it.each<[string, () => Promise<unknown>, string]>([
    [
      'mounted',
      async () =>
        put(
          'proc/self/mountinfo',
          (await readFile(rooted('proc/self/mountinfo'), 'utf8')).trimEnd() + mountedSomewhere,
        ),
      'is mounted: findmnt -S /dev/vda3 shows where',
    ],
    [
      'mounted in another namespace',
      () => put('proc/4711/mountinfo', '1 1 254:3 / /x rw - ext4 /dev/other rw\n'),
      'is mounted: process 4711 has it in mounts of its own, until it ends',
    ],
    ['swap', () => put('proc/swaps', 'Filename Type\n/dev/vda3 partition 1 0 -2\n'), 'is in use as swap'],
    ['held', () => put('sys/devices/virtual/block/vda/vda3/holders/dm-0', ''), 'is in use by dm-0'],
    ['read-only', () => put('sys/devices/virtual/block/vda/vda3/ro', '1\n'), 'is read-only'],
    ['too small', () => put('sys/devices/virtual/block/vda/vda3/size', '4095\n'), "too few for the image's 2097152"],
    ['gone', () => rm(rooted('dev/vda3')), 'is not a block device'],
    [
      'of the root’s number',
      () => put('sys/devices/virtual/block/vda/vda3/dev', '254:2\n'),
      'has the device number of the running root',
    ],
  ])('%s is not written', async (_, arrange, words) => {
    await nodeAt('staged');
    const before = await sha256OfFile(node.machine.device('B'));
    await arrange();
    expectRefused(await node.run('write', { target: 'B' }), 'unsafe-target', words);
    if (words !== 'is not a block device') expect(await sha256OfFile(node.machine.device('B'))).toBe(before);
    expect(await node.observe()).not.toHaveProperty(['B.record_version']);
  });

  it('that is active is not written', async () => {
    await nodeAt('staged');
    const before = await sha256OfFile(node.machine.device('A'));
    await node.must('begin', begin({ from: 'B', target: 'A' }));
    expectRefused(await node.run('write', { target: 'A' }), 'unsafe-target', 'slot A is the active one');
    expect(await sha256OfFile(node.machine.device('A'))).toBe(before);
  });

  it('that does not take the image is dirty, and the node boots the old system', async () => {
    await nodeAt('staged');
    const dd = await exec('dd');
    await use({
      dd: `#!/bin/sh\ncase "$*" in *of=*vda3*) echo "dd: error writing: Input/output error" >&2; exit 1 ;; esac\nexec ${dd} "$@"\n`,
    });
    expectRefused(
      await node.run('write', { target: 'B' }),
      'write-failed',
      'writing /dev/vda3 failed: dd: error writing',
    );
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty' });
    expectRefused(await node.run('arm', toB), 'out-of-order', 'is not verified');
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A' });
  });
});

describe('a node without nice and ionice', () => {
  it('does all of its work without them', async () => {
    await nodeAt('staged');
    await use({ nice: '', ionice: '' });
    await node.must('write', { target: 'B' });
    await node.must('verify', verify());
  });
});

describe('the image', () => {
  async function written(other: SystemImage, version = VERSION): Promise<void> {
    await nodeAt('fresh');
    const { sha256 } = other;
    const itsServer = await serve(file(other.path));
    await node.must('begin', begin({ sha256, version }));
    await node.must('stage', { url: itsServer.url, sha256, flagsafe: true });
    await itsServer.close();
    await node.must('write', { target: 'B' });
  }

  it.each<[string, Parameters<typeof makeImage>[2], string]>([
    ['no kernel', { missing: 'kernel' }, 'it has no kernel'],
    ['no initramfs', { missing: 'initramfs' }, 'it has no initramfs'],
    ['no init', { missing: 'init' }, 'it has no /sbin/init'],
    ['no os-release', { missing: 'os-release' }, 'it has no os-release'],
    [
      'no flock',
      { missing: 'flock' },
      'it has no flock, without which kubeos could neither prove it nor lead back from it',
    ],
    ['another architecture', { architecture: 'aarch64' }, 'it is for another architecture'],
  ])('with %s is never verified', async (_, options, words) => {
    const other = await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB, ...options });
    await written(other);
    expectRefused(await node.run('verify', verify({ sha256: other.sha256 })), 'bad-content', words);
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty', 'env.saved': 'A' });
    expectRefused(await node.run('arm', toB), 'out-of-order', 'is not verified');
  });

  it('with another version inside names both', async () => {
    const other = await makeImage(yard.dir, 'KubeOS 6.6.6', { sizeBytes: 2 * MIB });
    await written(other);
    const answer = await node.run('verify', verify({ sha256: other.sha256 }));
    expectRefused(answer, 'bad-content', 'slot B holds KubeOS 6.6.6, wanted is KubeOS 1.1.0');
  });

  it('with a broken file system is never verified', async () => {
    const other = await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB });
    await runTool('debugfs', ['-w', '-R', 'clri /usr/share', other.path]);
    await written({ ...other, sha256: await sha256OfFile(other.path) });
    const answer = await node.run('verify', verify({ sha256: await sha256OfFile(other.path) }));
    expectRefused(answer, 'bad-content', 'the file system of slot B has errors');
  });

  it('that does not read back as it was written is never verified; writing again mends it', async () => {
    await nodeAt('written');
    const slot = await readFile(node.machine.device('B'));
    slot.writeUInt8(slot.readUInt8(MIB) ^ 1, MIB);
    await writeFile(node.machine.device('B'), slot);
    expectRefused(await node.run('verify', verify()), 'read-back-mismatch', 'write it again');
    await node.must('write', { target: 'B' });
    await node.must('verify', verify());
  });

  it.each([['its first megabytes', 'bs=4M'] as const, ['its end', 'fullblock'] as const])(
    'that cannot be read back in %s is no other image: the disk has the word',
    async (_, call) => {
      await nodeAt('written');
      const dd = await exec('dd');
      const words = "dd: error reading '/dev/vda3': Input/output error";
      await use({
        dd: `#!/bin/sh\ncase "$*" in *if=*vda3*${call}* | *${call}*if=*vda3*) echo "${words}" >&2; exit 1 ;; esac\nexec ${dd} "$@"\n`,
      });
      const refused = await node.run('verify', verify());
      expectRefused(refused, 'read-back-mismatch', `reading /dev/vda3 failed: ${words}`);
      expect(refused.stderr).not.toContain('reads back as');
      await use({});
      await node.must('verify', verify());
    },
  );

  it('whose head the disk does not keep, whatever is cached of it, is never verified', async () => {
    await nodeAt('written');
    // The first time before the read-back, the second with the head in its place.
    const flips = 'if [ -e "$KUBEOS_ROOT/tmp/flushed" ]; then printf x | dd of="$2" bs=1 seek=1200 conv=notrunc; fi';
    await use({ blockdev: `#!/bin/sh\n{ ${flips}; } 2>/dev/null\n: >"$KUBEOS_ROOT/tmp/flushed"\n` });
    expectRefused(await node.run('verify', verify()), 'read-back-mismatch', 'slot B does not keep its first bytes');
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty' });
  });

  it('that was changed after it was verified is found by its digest; writing again mends it', async () => {
    await nodeAt('verified');
    const slot = await readFile(node.machine.device('B'));
    slot.writeUInt8(slot.readUInt8(MIB) ^ 1, MIB);
    await writeFile(node.machine.device('B'), slot);
    expectRefused(await node.run('verify', verify()), 'read-back-mismatch', 'was changed since it was verified');
    await node.must('write', { target: 'B' });
    await node.must('verify', verify());
    await node.must('arm', toB);
  });

  it('is written anew where the head of its image is not on the node any more', async () => {
    await nodeAt('verified');
    await rm(rooted('persist/kubeos/head-B'));
    expectRefused(await node.run('verify', verify()), 'out-of-order', 'write comes first');
    await node.must('write', { target: 'B' });
    await node.must('verify', verify());
    await node.must('arm', toB);
  });
});
