import { spawnSync } from 'node:child_process';
import { link, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { type ScriptArguments, composeScript } from '../../src/remote/compose.ts';
import { SCRIPT_EXITS } from '../../src/remote/script-exits.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';

const HERE = path.dirname(new URL(import.meta.url).pathname);
const VERSION = 'KubeOS 1.1.0';
const GIB = 1024 ** 3;
const MIB = 1024 ** 2;

interface Layout {
  firmware: 'uefi' | 'bios';
  table: 'standard' | 'kbimg' | 'pxe';
  rootfs: 'ext4' | 'xfs';
  prefix: 'sda' | 'vda' | 'nvme0n1p' | 'mmcblk0p';
  style: 'label' | 'partuuid' | 'number';
  tool: 'grub-editenv' | 'grub2-editenv';
}

/** Each value of each column at least once; firmware, partition table and generation as KubeOS combined them. */
const LAYOUTS: readonly Layout[] = [
  { firmware: 'uefi', table: 'standard', rootfs: 'ext4', prefix: 'sda', style: 'label', tool: 'grub2-editenv' },
  { firmware: 'bios', table: 'standard', rootfs: 'xfs', prefix: 'vda', style: 'partuuid', tool: 'grub-editenv' },
  { firmware: 'uefi', table: 'kbimg', rootfs: 'ext4', prefix: 'nvme0n1p', style: 'number', tool: 'grub2-editenv' },
  { firmware: 'uefi', table: 'pxe', rootfs: 'ext4', prefix: 'mmcblk0p', style: 'number', tool: 'grub2-editenv' },
];
const SLOT_BYTES = { standard: 2560 * MIB, kbimg: 2100 * MIB, pxe: 2500 * MIB } as const;

let yard: string;
let tar: string;
let count = 0;

const sh = (text: string, ...args: string[]): void => {
  const ran = spawnSync('sh', ['-eu', '-c', text, 'sh', ...args], { encoding: 'utf8' });
  if (ran.status !== 0) throw new Error(ran.stderr);
};

/** Why no test here can run; undefined where they can. */
function lacking(): string | undefined {
  if (process.getuid?.() !== 0) return 'they need root, for loop devices and mounts of their own';
  const probe =
    'd=$(mktemp) && truncate -s 4M "$d" && l=$(losetup -P -f --show "$d") && addpart "$l" 1 2048 2048 && losetup -d "$l" && rm "$d"';
  const ran = spawnSync('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', probe], { encoding: 'utf8' });
  return ran.status === 0 ? undefined : `loop devices with partitions cannot be used: ${ran.stderr.trim()}`;
}

const why = lacking();
if (why !== undefined) process.stderr.write(`NOT RUN  layouts of disks: ${why}\n`);
else if (spawnSync('sh', ['-c', 'grep -q vfat /proc/filesystems || modprobe -q vfat']).status !== 0) {
  process.stderr.write('NOT RUN  a FAT of the ESP: this kernel has none, an ext4 stands in for it\n');
}

beforeAll(async () => {
  yard = await mkdtemp(path.join(tmpdir(), 'kubeos-layouts-'));
  if (why !== undefined) return;
  tar = path.join(yard, 'root.tar');
  sh('sh "$2/system-tree.sh" "$1.tree" "$3"; tar -C "$1.tree" -cf "$1" .', tar, HERE, VERSION);
});

afterAll(async () => {
  await rm(yard, { recursive: true, force: true });
});

type Act = readonly [StepScript, ScriptArguments] | { host: string } | { boot: 'A' | 'B' };

interface Ended {
  ended: string;
  stderr: string;
  stdout: string;
  values: Readonly<Record<string, string>>;
}

/** Runs steps on a node of this layout. */
async function onNode(layout: Layout, acts: readonly Act[]): Promise<readonly Ended[]> {
  count += 1;
  const folder = path.join(yard, `node-${count}`);
  await mkdir(path.join(folder, 'steps'), { recursive: true });
  await link(tar, path.join(folder, 'update.img'));
  const names = acts.map((act, index) => {
    const kind = 'host' in act ? '.host' : 'boot' in act ? `.boot-${act.boot}` : '';
    return `${String(index).padStart(2, '0')}${kind}`;
  });
  for (const [index, act] of acts.entries()) {
    await writeFile(path.join(folder, 'steps', names[index] ?? ''), textOf(act));
  }
  const { firmware, table, rootfs, prefix, style, tool } = layout;
  const script = path.join(HERE, 'layout-node.sh');
  const args = [
    '--mount',
    '--propagation',
    'private',
    // Of its own processes too: elsewhere a disk of the same name may be mounted.
    '--pid',
    '--fork',
    'sh',
    script,
    folder,
    firmware,
    table,
    rootfs,
    prefix,
    style,
    tool,
  ];
  const ran = spawnSync('unshare', args, { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  if (ran.status !== 0) throw new Error(`layout-node.sh ended with ${ran.status ?? ran.signal}: ${ran.stderr}`);
  const ended = names.map(async (name) => {
    const read = (what: string): Promise<string> => readFile(path.join(folder, 'ended', `${name}.${what}`), 'utf8');
    const stdout = await read('out');
    const code = Number(await read('rc'));
    return { ended: nameOf(code), stderr: await read('err'), stdout, values: valuesOf(stdout) };
  });
  const all = await Promise.all(ended);
  await rm(folder, { recursive: true, force: true });
  return all;
}

function textOf(act: Act): string {
  if ('host' in act) return act.host;
  if ('boot' in act) return '';
  const [step, args] = act;
  return composeScript(SCRIPTS[step], step === 'observe' ? args : { run: 'run-1', token: 1, ...args });
}

const nameOf = (code: number): string =>
  code === 0 ? 'ok' : (Object.entries(SCRIPT_EXITS).find(([, number]) => number === code)?.[0] ?? String(code));

const valuesOf = (stdout: string): Record<string, string> =>
  Object.fromEntries(
    stdout.split('\n').flatMap((line) => {
      const equals = line.indexOf('=');
      return equals < 1 ? [] : [[line.slice(0, equals), line.slice(equals + 1)]];
    }),
  );

const SHOW_ENV: Act = { host: 'grub-editenv "$BOOT/grubenv" list' };

async function wayToArmed(): Promise<readonly Act[]> {
  const sha256 = await sha256OfFile(tar);
  const assignment = { version: VERSION, sha256, target: 'B', operation: 'upgrade' };
  return [
    ['begin', { ...assignment, replaced: 'KubeOS 1.0.0', from: 'A' }],
    ['stage', { url: 'http://nobody/', sha256, flagsafe: true }],
    ['write', { target: 'B' }],
    ['verify', assignment],
    ['arm', { target: 'B', version: VERSION, managed: true }],
  ];
}

describe.skipIf(why !== undefined)('a node', () => {
  it.each(LAYOUTS)(
    'with $firmware, table $table, $rootfs, $prefix, grub.cfg by $style and $tool goes from A to B',
    async (layout) => {
      const { firmware, table, rootfs, prefix, style } = layout;
      const ends = await onNode(layout, [
        ['observe', {}],
        ...(await wayToArmed()),
        SHOW_ENV,
        { host: 'cat "$BOOT/custom.cfg"; grub-script-check "$BOOT/custom.cfg"' },
        { boot: 'B' },
        ['prove', { target: 'B', version: VERSION }],
        ['commit', { target: 'B' }],
        SHOW_ENV,
        ['observe', {}],
      ]);
      expect(ends.map(({ ended, stderr }) => (ended === 'ok' ? ended : `${ended}: ${stderr}`))).toEqual(
        ends.map(() => 'ok'),
      );
      const [before, , , , , , armed, custom, , , , committed, after] = ends.map(({ values, stdout }) => ({
        ...values,
        stdout,
      }));
      const envPath = firmware === 'uefi' ? '/boot/efi/EFI/openEuler/grubenv' : '/boot/grub2/grubenv';
      expect(before).toMatchObject({
        ...{ firmware, active: 'A', 'A.device': `/dev/${prefix}2`, 'B.device': `/dev/${prefix}3` },
        ...{ 'A.fstype': rootfs, 'B.fstype': rootfs, 'A.label': 'ROOT-A', 'B.label': 'ROOT-B' },
        ...{ 'A.bytes': String(SLOT_BYTES[table]), 'B.bytes': String(SLOT_BYTES[table]) },
        ...{ 'env.path': envPath, 'env.saved': 'A', managed: 'no', fallback: 'likely', 'B.content': 'unbootable' },
      });
      expect(Number(before?.['free_bytes' as keyof typeof before])).toBeGreaterThan(10 * GIB);
      expect(armed).toMatchObject({ saved_entry: 'A', next_entry: 'B', kubeos_trial: 'B' });
      const root = style === 'number' ? `root=/dev/${prefix}3` : 'root=PARTUUID=';
      expect(custom?.stdout).toMatch(new RegExp(`^linux /boot/vmlinuz ${root}.* kubeos\\.trial=B$`, 'm'));
      expect(committed).toMatchObject({ saved_entry: 'B' });
      expect(committed).not.toHaveProperty('next_entry');
      expect(committed).not.toHaveProperty('kubeos_trial');
      expect(after).toMatchObject({
        ...{ active: 'B', os_version: VERSION, 'B.label': 'ROOT-B', 'env.saved': 'B', managed: 'yes' },
        ...{ fallback: 'proven', 'A.device': `/dev/${prefix}2`, 'journal.phase': 'committed' },
      });
    },
  );

  it('writes no slot whose device is another one, or is mounted; once that is put right, it does', async () => {
    const [first, second] = await wayToArmed();
    const write: Act = ['write', { target: 'B' }];
    const ends = await onNode(LAYOUTS[0]!, [
      first!,
      second!,
      { host: 'mv "$ROOT/dev/sda3" "$ROOT/dev/kept"; cp -a "$ROOT/dev/sda4" "$ROOT/dev/sda3"' },
      write,
      { host: 'rm "$ROOT/dev/sda3"; mv "$ROOT/dev/kept" "$ROOT/dev/sda3"; mount "$FOLDER/p3" "$FOLDER/seen"' },
      write,
      ['observe', {}],
      { host: 'umount "$FOLDER/seen"' },
      write,
    ]);
    expect(ends.map(({ ended }) => ended)).toEqual([
      'ok',
      'ok',
      'ok',
      'unsafe-target',
      'ok',
      'unsafe-target',
      'ok',
      'ok',
      'ok',
    ]);
    expect(ends[3]?.stderr).toMatch(/^\/dev\/sda3 is not the device \d+:\d+ that sysfs says it is\n$/);
    expect(ends[5]?.stderr).toBe('/dev/sda3 is mounted: findmnt -S /dev/sda3 shows where\n');
    expect(ends[6]?.values['B.content']).toBe('unbootable');
  });
});
