import { createHash } from 'node:crypto';
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { beforeAll, describe, expect, it } from 'vitest';
import { SYSTEM_TOOLS, elfFile, kernelFile, sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';
import { MIB, SHELLS, makeBin, makeImage } from './node-bed.ts';
import {
  VERSION,
  begin,
  expectRefused,
  node,
  nodeAt,
  prepareStages,
  put,
  rooted,
  use,
  verify,
  yard,
} from './stages.ts';
import { type Member, tarOf } from './tar-writer.ts';

prepareStages();

const dir = (name: string): Member => ({ name, type: '5' });
const link = (name: string, to: string): Member => ({ name, type: '2', link: to });
const hard = (name: string, to: string): Member => ({ name, type: '1', link: to });
const plain = (name: string, content: string | Buffer = 'x'): Member => ({ name, content });

/** A system that boots, as ordinary tars have it. */
const SYSTEM: readonly Member[] = [
  dir('./'),
  dir('./boot/'),
  plain('./boot/vmlinuz', kernelFile('5.10.0', 'x86_64')),
  plain('./boot/initramfs.img', 'initramfs'),
  dir('./usr/'),
  dir('./usr/lib/'),
  dir('./usr/sbin/'),
  link('./lib', 'usr/lib'),
  link('./sbin', '/usr/sbin'),
  plain('./usr/lib/systemd', elfFile('x86_64')),
  link('./usr/sbin/init', '../lib/systemd'),
  plain('./usr/lib/os-release', `PRETTY_NAME="${VERSION}"\n`),
  dir('./usr/bin/'),
  ...SYSTEM_TOOLS.map((tool) => plain(`./usr/bin/${tool}`)),
  // Ordinary, where nothing is written through them.
  link('./mtab', '/proc/self/mounts'),
  link('./up', '../../..'),
];

const without = (name: string): readonly Member[] => SYSTEM.filter((member) => member.name !== name);

/** Lets the node have this image staged, and be about to write it. */
async function staged(image: Buffer): Promise<string> {
  const sha256 = createHash('sha256').update(image).digest('hex');
  await node.must('begin', begin({ sha256 }));
  const file = 'persist/KubeOS-Update/update.img';
  await put(file, image);
  const { mtimeMs } = await stat(rooted(file));
  await put(
    'persist/kubeos/artifact',
    `sha256=${sha256}\nbytes=${image.length}\nmtime=${Math.floor(mtimeMs / 1000)}\n`,
  );
  return sha256;
}

const archive = (members: readonly Member[]): Buffer => tarOf(members, node.machine.identity ?? self());
const self = (): { uid: number; gid: number } => ({ uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 });

async function expectUntouched(
  image: Buffer,
  words: string,
  ended: 'unsupported-image' | 'missing-tool' | 'unsafe-target' = 'unsupported-image',
): Promise<void> {
  await staged(image);
  const before = await sha256OfFile(node.machine.device('B'));
  expectRefused(await node.run('write', { target: 'B' }), ended, words);
  expect(await sha256OfFile(node.machine.device('B'))).toBe(before);
  expect(await readdir(rooted('persist/kubeos'))).not.toContain('slot-B');
}

describe('a tar is refused before its slot changes, where', () => {
  beforeAll(() => nodeAt('fresh'));

  const evil: [string, readonly Member[], string][] = [
    ['a member climbs', [plain('../etc/passwd')], '"../etc/passwd" leads out of it by ..'],
    ['a member climbs in the middle', [plain('./usr/../../x')], '"./usr/../../x" leads out of it by ..'],
    ['a member is absolute', [plain('/etc/passwd')], '"/etc/passwd" is absolute'],
    [
      'a member goes through an absolute link',
      [link('./out', '/etc'), plain('./out/passwd')],
      '"./out/passwd" would be written through a link',
    ],
    [
      'a member goes through a climbing link',
      [link('./usr/out', '../..'), plain('./usr/out/x')],
      '"./usr/out/x" would be written through a link',
    ],
    [
      'a member goes through a link to a link that leads out',
      [link('./a', 'b'), link('./b', '/etc'), plain('./a/x')],
      '"./a/x" would be written through a link',
    ],
    [
      'the link comes after what goes through it',
      [plain('./late/x'), link('./late', '/etc')],
      '"./late/x" would be written through a link',
    ],
    [
      'a link leads to itself',
      [link('./loop', 'loop'), plain('./loop/x')],
      '"./loop/x" would be written through a link',
    ],
    ['a hard link climbs', [hard('./h', '../../etc/shadow')], '"./h" is a hard link to "../../etc/shadow"'],
    ['a hard link is absolute', [hard('./h', '/etc/shadow')], '"./h" is a hard link to "/etc/shadow"'],
    [
      'a hard link goes through a link that leads out',
      [link('./out', '/etc'), hard('./h', './out/shadow')],
      '"./h" is a hard link to "./out/shadow"',
    ],
    [
      'a name holds a line that looks like a member, after a climb',
      [plain('../a\n-rw-r--r-- 0/0 1 2020-01-01 00:00 "ok')],
      'leads out of it by ..',
    ],
    ['a name holds an arrow, after a climb', [plain('./x -> y/../../z')], 'leads out of it by ..'],
    ['a name holds quotes and tabs, after a climb', [plain('./"\t\\"/../../z')], 'leads out of it by ..'],
    [
      'a link is named like an arrow',
      [link('./a -> b', '/etc'), plain('./a -> b/x')],
      'would be written through a link',
    ],
    ['a name holds glob characters, after a climb', [plain('./*/[a]/?/../../../../x')], 'leads out of it by ..'],
    [
      'a member is there twice',
      [plain('./usr/lib/os-release', 'PRETTY_NAME=other\n')],
      '"./usr/lib/os-release" is in it twice',
    ],
    ['a folder is a link elsewhere', [dir('./mtab/')], '"./mtab" is in it twice'],
    ['a member is a volume label', [{ name: 'label', type: 'V' }], 'is of a kind (V) that no file system keeps'],
  ];
  it.each(evil)('%s', async (_, members, words) => {
    await expectUntouched(archive([...SYSTEM, ...members]), words);
  });

  it.each<[string, readonly Member[], string]>([
    ['kernel', without('./boot/vmlinuz'), 'it has no kernel'],
    ['whole kernel', [...without('./boot/vmlinuz'), plain('./boot/vmlinuz', '')], 'it has no kernel'],
    ['initramfs', without('./boot/initramfs.img'), 'it has no initramfs'],
    ['init', without('./usr/lib/systemd'), 'it has no /sbin/init'],
    ['os-release', without('./usr/lib/os-release'), 'it has no os-release'],
    ['flock', without('./usr/bin/flock'), 'it has no flock, without which kubeos could neither prove it nor lead back'],
    ['e2fsck', without('./usr/bin/e2fsck'), 'it has no e2fsck, without which'],
    [
      'awk and no tail',
      without('./usr/bin/awk').filter(({ name }) => name !== './usr/bin/tail'),
      'it has no tail, no awk, without which',
    ],
    ['tool of a pair', without('./usr/bin/sha256sum'), 'it has neither sha256sum nor openssl'],
    ['awk with anything in it', [...without('./usr/bin/awk'), plain('./usr/bin/awk', '')], 'it has no awk'],
    [
      'other version',
      [...without('./usr/lib/os-release'), plain('./usr/lib/os-release', 'PRETTY_NAME="KubeOS 6.6.6"\n')],
      `the tar holds KubeOS 6.6.6, wanted is ${VERSION}`,
    ],
  ])('there is no %s', async (_, members, words) => {
    await expectUntouched(archive(members), words);
  });

  it('it ends too early, though its checksum is right', async () => {
    const whole = archive(SYSTEM);
    await expectUntouched(whole.subarray(0, whole.length - 70_000), 'the tar cannot be read');
    await expectUntouched(gzipSync(whole).subarray(0, -100), 'the tar cannot be read');
  });

  it('it is bigger than the slot', async () => {
    const big = archive([...SYSTEM, plain('./filling', Buffer.alloc(5 * MIB))]);
    await expectUntouched(big, "too few for the tar's", 'unsafe-target');
  });
});

describe('a tar is taken, where', () => {
  it.each(SHELLS)('members go through links that stay inside, and names are odd, under %s', async (shell) => {
    await nodeAt('fresh');
    node.bin = await makeBin(path.join(yard.dir, `odd-${shell}`), shell);
    const sha256 = await staged(
      archive([
        ...SYSTEM,
        plain('./lib/through-a-link'),
        plain('./usr//lib/./doubled'),
        dir('./usr/'),
        plain('./a -> b'),
        plain('./line\nbreak'),
        plain('./"quoted"\t\\back*[x]?'),
        plain('-dash'),
      ]),
    );
    await grow();
    await node.must('write', { target: 'B' });
    expect((await node.must('verify', verify({ sha256 }))).values).toEqual({ version: VERSION, basis: 'files' });
  });
});

/** The nodes of this file have small slots; an ext4 with a journal needs more. */
async function grow(): Promise<void> {
  await runTool('truncate', ['-s', `${8 * MIB}`, node.machine.device('B')]);
  await put('sys/devices/virtual/block/vda/vda3/size', `${(8 * MIB) / 512}\n`);
}

describe('an unpacked tar', () => {
  async function written(): Promise<string> {
    await nodeAt('fresh');
    const sha256 = await staged(archive([...SYSTEM, dir('./opt/'), plain('./opt/file', 'as it was')]));
    await grow();
    await node.must('write', { target: 'B' });
    return sha256;
  }
  const change = async (...requests: string[]): Promise<void> => {
    for (const request of requests) await runTool('debugfs', ['-w', '-R', request, node.machine.device('B')]);
  };

  it.each<[string, string[], string]>([
    ['a file that is gone', ['rm /opt/file'], './opt/file'],
    ['a folder of another mode', ['set_inode_field /opt mode 040700'], 'opt'],
    ['a link that leads elsewhere', ['rm /mtab', 'symlink /mtab /etc/other'], 'mtab'],
  ])('with %s is never verified; writing again mends it', async (_, requests, words) => {
    const sha256 = await written();
    await change(...requests);
    expectRefused(await node.run('verify', verify({ sha256 })), 'read-back-mismatch', words);
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty' });
    await node.must('write', { target: 'B' });
    await node.must('verify', verify({ sha256 }));
  });

  it('is found by its digest where it was changed after it was verified', async () => {
    const sha256 = await written();
    await node.must('verify', verify({ sha256 }));
    const bytes = await readFile(node.machine.device('B'));
    bytes.write('as it is!', bytes.indexOf('as it was'), 'latin1');
    await writeFile(node.machine.device('B'), bytes);
    expectRefused(await node.run('verify', verify({ sha256 })), 'read-back-mismatch', 'was changed since');
  });

  it('cannot be verified without the tar that it came from', async () => {
    const sha256 = await written();
    await rm(rooted('persist/KubeOS-Update/update.img'));
    expectRefused(await node.run('verify', verify({ sha256 })), 'out-of-order', 'stage comes first');
  });
});

describe('an image', () => {
  beforeAll(() => nodeAt('fresh'));

  it.each<[string, () => Buffer, string]>([
    ['compressed with bzip2', () => Buffer.from(`BZh9${'x'.repeat(5000)}`), 'compressed with bzip2'],
    ['compressed twice', () => gzipSync(gzipSync(Buffer.alloc(9000, 'x'))), 'the image is compressed twice'],
    ['of XFS, for a root of ext4', () => Buffer.from(`XFSB${'\0'.repeat(9000)}`), 'the image is xfs, but this'],
    ['of nothing known', () => gzipSync(Buffer.alloc(9000, 'x')), 'neither an ext4 or XFS file system nor a tar'],
  ])('%s is refused', async (_, bytes, words) => {
    await expectUntouched(bytes(), words);
  });

  it('whose decompressor the node lacks is refused', async () => {
    await nodeAt('fresh');
    const image = gzipSync(archive(SYSTEM));
    await staged(image);
    await use({ gzip: '' });
    expectRefused(
      await node.run('write', { target: 'B' }),
      'missing-tool',
      'compressed with gzip, and the node has no gzip',
    );
    await use({ tar: '#!/bin/sh\necho "tar (busybox) 1.36"\n' });
    await expectRefusedAgain('the tar of this node is not GNU tar');
    await use({ find: '#!/bin/sh\necho "find: unrecognized option: version" >&2\nexit 1\n' });
    await expectRefusedAgain('the find of this node is not GNU find');
  });

  const expectRefusedAgain = async (words: string): Promise<void> =>
    expectRefused(await node.run('write', { target: 'B' }), 'missing-tool', words);

  it('with features that GRUB may not read is refused; where the active slot has them, it is taken', async () => {
    const image = await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB });
    await runTool('tune2fs', ['-O', 'metadata_csum_seed', image.path]);
    const bytes = await readFile(image.path);
    const words = "has features that this node's GRUB may not read: metadata_csum_seed";
    await expectUntouched(bytes, words);
    await expectUntouched(gzipSync(bytes), words);
    await runTool('tune2fs', ['-O', 'metadata_csum_seed', node.machine.device('A')]);
    const sha256 = await staged(gzipSync(bytes));
    await node.must('write', { target: 'B' });
    await node.must('verify', verify({ sha256 }));
  });

  it('whose superblock is damaged, or not all there, is refused', async () => {
    await nodeAt('fresh');
    const bytes = await readFile((await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB })).path);
    await expectUntouched(gzipSync(bytes.subarray(0, 2048)), 'the image ends within its superblock');
    // The count of mounts: nothing but the checksum tells.
    bytes.writeUInt16LE(bytes.readUInt16LE(1024 + 0x34) ^ 1, 1024 + 0x34);
    await expectUntouched(bytes, "the image's superblock is damaged");
  });

  it('whose file system is bigger than the slot is refused, however well it is compressed', async () => {
    await nodeAt('fresh');
    const image = await makeImage(yard.dir, VERSION, { sizeBytes: 4 * MIB, paddingBytes: 1 });
    await expectUntouched(gzipSync(await readFile(image.path)), "too few for the image's file system", 'unsafe-target');
  });

  it('that is longer than its file system says leaves the slot dirty where that is too long, and the node safe', async () => {
    await nodeAt('fresh');
    const image = await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB });
    await staged(gzipSync(Buffer.concat([await readFile(image.path), Buffer.alloc(6 * MIB)])));
    expectRefused(await node.run('write', { target: 'B' }), 'write-failed', 'the image is longer than slot B');
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty', 'env.saved': 'A' });
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A' });
  });
});
