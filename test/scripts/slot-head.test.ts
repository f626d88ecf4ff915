import { spawnSync } from 'node:child_process';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runTool } from '../../src/lab/tools.ts';
import { withLibrary } from '../../src/remote/scripts/index.ts';
import { MIB, SHELLS, type Shell, makeYard } from './node-bed.ts';

const HEAD_BYTES = 4096;
/** File systems of every kind that has its own place or way for the checksum. */
const KINDS: Readonly<Record<string, { type: 'ext4' | 'xfs'; options: readonly string[] }>> = {
  'ext4 with checksums': { type: 'ext4', options: ['-O', 'metadata_csum,64bit'] },
  'ext4 without checksums': { type: 'ext4', options: ['-O', '^metadata_csum,^64bit'] },
  'ext4 in blocks of 1 KiB': { type: 'ext4', options: ['-b', '1024', '-O', 'metadata_csum'] },
  XFS: { type: 'xfs', options: [] },
  'XFS on sectors of 4 KiB': { type: 'xfs', options: ['-s', 'size=4096'] },
  'XFS without checksums': { type: 'xfs', options: ['-m', 'crc=0'] },
};
/** Label, write time and checksum in the head, as [offset, length]. */
const MAY_CHANGE = {
  ext4: [
    [1024 + 0x30, 4],
    [1024 + 0x78, 16],
    [1024 + 0x3fc, 4],
  ],
  xfs: [
    [108, 12],
    [224, 4],
  ],
} as const;

let yard: Awaited<ReturnType<typeof makeYard>>;
const rooted = (name: string): string => path.join(yard.dir, name);

beforeAll(async () => {
  yard = await makeYard();
  for (const folder of ['dev', 'persist/kubeos', 'run/kubeos']) await mkdir(rooted(folder), { recursive: true });
});

afterAll(() => yard.remove());

/** Makes `image` anew, and a slot A of the same kind; both are labelled ROOT-A. */
async function make({ type, options }: (typeof KINDS)[string]): Promise<void> {
  for (const file of [rooted('image'), rooted('dev/vda2')]) {
    await rm(file, { force: true });
    const made = await open(file, 'w');
    await made.truncate((type === 'xfs' ? 320 : 24) * MIB);
    await made.close();
    await runTool(`mkfs.${type}`, ['-q', '-L', 'ROOT-A', ...options, file]);
  }
}

/** Lets the library make the head of slot B, as write and verify do. */
function makeHead(shell: Shell): Promise<Buffer> {
  const own =
    'main() { ACTIVE=A NAME_A=vda2 NAME_B=vda3 IMAGE=$KUBEOS_ROOT/image; read_image; need_sound_head; keep_head B; make_head B; }';
  const [command = '', ...args] = shell === 'busybox' ? ['busybox', 'sh', '-s'] : [shell, '-s'];
  const ran = spawnSync(command, args, {
    input: `${withLibrary(own)}\n{ main </dev/null; }\n`,
    encoding: 'utf8',
    env: { ...process.env, KUBEOS_ROOT: yard.dir },
  });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return readFile(rooted('run/kubeos/slot-head'));
}

async function headOf(image: string): Promise<Buffer> {
  const file = await open(image);
  const { buffer } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
  await file.close();
  return buffer;
}

async function setHead(image: string, head: Buffer): Promise<void> {
  const file = await open(image, 'r+');
  await file.write(head, 0, HEAD_BYTES, 0);
  await file.close();
}

/** What GRUB's own code sees of a file system: its label; undefined where it sees none. */
async function grubSees(file: string): Promise<string | undefined> {
  const { stdout } = await runTool('grub-fstest', [file, '--', 'ls', '-l', '(loop0)']);
  const text = stdout.toString();
  if (text.includes('No known filesystem')) return undefined;
  return /Label `([^']*)'/.exec(text)?.[1] ?? text;
}

describe('the head of a slot', () => {
  it.each(Object.keys(KINDS))('of %s differs from that of its image by its label, and is sound', async (kind) => {
    const { type } = KINDS[kind]!;
    await make(KINDS[kind]!);
    const slot = rooted('image');
    const before = await headOf(slot);
    const head = await makeHead('dash');
    const restored = Buffer.from(head);
    for (const [at, length] of MAY_CHANGE[type]) before.copy(restored, at, at, at + length);
    expect(restored.equals(before)).toBe(true);

    await setHead(slot, Buffer.alloc(HEAD_BYTES));
    expect(await grubSees(slot)).toBeUndefined();
    await setHead(slot, head);
    expect(await grubSees(slot)).toBe('ROOT-B');
    // Both end with an error where a checksum does not hold.
    if (type === 'ext4') {
      await runTool('e2fsck', ['-fn', slot]);
      expect((await runTool('e2label', [slot])).stdout.toString()).toBe('ROOT-B\n');
    } else {
      await runTool('xfs_repair', ['-n', slot]);
    }
  });

  it.each(SHELLS)('is the same under %s', async (shell) => {
    for (const kind of ['ext4 with checksums', 'XFS']) {
      await make(KINDS[kind]!);
      const expected = await makeHead('dash');
      const made = await makeHead(shell);
      if (kind === 'XFS') {
        expect(made.equals(expected)).toBe(true);
        continue;
      }
      // The write time in it is of the moment, and so is the checksum.
      await setHead(rooted('image'), made);
      await runTool('e2fsck', ['-fn', rooted('image')]);
    }
  });

  it('is that of the image where the active slot has no label of KubeOS', async () => {
    await make(KINDS['ext4 with checksums']!);
    await runTool('e2label', [rooted('dev/vda2'), 'other']);
    expect((await makeHead('dash')).equals(await headOf(rooted('image')))).toBe(true);
  });
});
