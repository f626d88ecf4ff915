import { execFile } from 'node:child_process';
import { chmod, mkdtemp, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readExt4File, readSuperblock } from '../../src/lab/ext4.ts';
import { type Machine, type MachineOptions, createMachine } from '../../src/lab/machine.ts';
import { makeExt4 } from '../../src/lab/system-image.ts';
import { type MissingPart, type SystemImage, buildSystemImage, sha256OfFile } from '../../src/lab/system-image.ts';

const exec = promisify(execFile);
const MIB = 1024 * 1024;

let folder: string;
let oldSystem: SystemImage;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-machine-'));
  await chmod(folder, 0o755);
  oldSystem = await build('KubeOS 1.0.0');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function build(version: string, more: { missing?: MissingPart; label?: string } = {}): Promise<SystemImage> {
  count += 1;
  return buildSystemImage({ version, out: path.join(folder, `image-${count}`), sizeBytes: 3 * MIB, ...more });
}

async function machine(options: Partial<MachineOptions> = {}): Promise<Machine> {
  count += 1;
  return createMachine({ dir: path.join(folder, `node-${count}`), system: oldSystem, slotBytes: 4 * MIB, ...options });
}

/** Puts an image on a slot as dd does. */
async function write(target: Machine, slot: 'A' | 'B', image: SystemImage): Promise<void> {
  const device = await open(target.device(slot), 'r+');
  await device.write(await readFile(image.path), 0);
  await device.close();
}

describe('a system image', () => {
  it('is an ext4 file system with the parts of a KubeOS root', async () => {
    const image = await build('KubeOS 3.2.1');
    expect(image.bytes).toBe(3 * MIB);
    expect(await sha256OfFile(image.path)).toBe(image.sha256);
    expect(await readSuperblock(image.path)).toMatchObject({ label: 'ROOT-A' });
    expect((await readExt4File(image.path, '/usr/lib/os-release'))?.toString()).toContain('PRETTY_NAME="KubeOS 3.2.1"');
    expect(await readExt4File(image.path, '/etc/os-release')).toBeUndefined();
    await exec('/usr/sbin/e2fsck', ['-fn', image.path]);
  });
});

describe('a machine at its first boot', () => {
  it.each(['uefi', 'bios'] as const)('runs slot A with %s', async (firmware) => {
    const node = await machine({ firmware });
    const boot = await node.boot();
    expect(boot).toMatchObject({ kind: 'up', slot: 'A', trial: false, version: 'KubeOS 1.0.0' });
    const read = async (file: string): Promise<string> => readFile(path.join(node.root, file), 'utf8');
    expect(await read('proc/self/mountinfo')).toMatch(/^22 1 254:2 \/ \/ ro.* \/dev\/vda2 ro$/m);
    expect(await read('usr/lib/os-release')).toContain('KubeOS 1.0.0');
    expect(await read('sys/class/block/vda3/partition')).toBe('3\n');
    expect(await read('sys/class/block/vda3/size')).toBe(`${(4 * MIB) / 512}\n`);
    expect(await read('proc/cmdline')).toContain('root=PARTUUID=');
    expect((await read('proc/sys/kernel/random/boot_id')).trim()).toBe(boot.kind === 'up' ? boot.bootId : '');
    expect(await readSuperblock(node.device('A'))).toMatchObject({ label: 'ROOT-A' });
    expect(await readSuperblock(node.device('B'))).toMatchObject({ label: 'ROOT-B' });
  });

  it('empties /run and /tmp and keeps /persist and /var', async () => {
    const node = await machine();
    await node.boot();
    for (const file of ['run/x', 'tmp/x', 'persist/x', 'var/x']) await writeFile(path.join(node.root, file), 'x');
    await node.boot();
    for (const gone of ['run/x', 'tmp/x']) await expect(readFile(path.join(node.root, gone))).rejects.toThrow('ENOENT');
    for (const kept of ['persist/x', 'var/x']) expect(await readFile(path.join(node.root, kept), 'utf8')).toBe('x');
  });

  it('has a new boot id after every boot', async () => {
    const node = await machine();
    const ids = [await node.boot(), await node.boot()].map((boot) => (boot.kind === 'up' ? boot.bootId : ''));
    expect(new Set(ids).size).toBe(2);
  });
});

describe('GRUB’s choice', () => {
  let node: Machine;
  beforeEach(async () => {
    node = await machine();
    await write(node, 'B', await build('KubeOS 1.1.0', { label: 'ROOT-B' }));
  });

  it.each([
    { saved: 'A', next: '', boots: 'A', then: 'A' },
    { saved: 'B', next: '', boots: 'B', then: 'B' },
    { saved: 'A', next: 'B', boots: 'B', then: 'A' },
    { saved: 'B', next: 'A', boots: 'A', then: 'B' },
    { saved: 'KubeOS-B', next: '', boots: 'B', then: 'B' },
    { saved: '1', next: '0', boots: 'A', then: 'B' },
    { saved: '', next: '', boots: 'A', then: 'A' },
    { saved: 'nonsense', next: '', boots: 'A', then: 'A' },
  ])('saved_entry=$saved next_entry=$next boots $boots, then $then', async ({ saved, next, boots, then }) => {
    await node.setGrubVariables({ saved_entry: saved, next_entry: next, boot_success: '1' });
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: boots, trial: next !== '' });
    const variables = await node.grubVariables();
    expect(variables?.get('next_entry')).toBe('');
    expect(variables?.get('saved_entry')).toBe(saved);
    expect(variables?.get('boot_success')).toBe('0');
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: then, trial: false });
  });

  it('is A, and nothing is saved, where the environment is damaged', async () => {
    await node.setGrubVariables({ saved_entry: 'B' });
    await truncate(node.grubenv, 1025);
    const before = await readFile(node.grubenv);
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: 'A' });
    expect(await readFile(node.grubenv)).toEqual(before);
    await rm(node.grubenv);
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: 'A' });
  });
});

describe('a trial that goes wrong', () => {
  async function onTrial(image: SystemImage): Promise<Machine> {
    const node = await machine();
    await node.boot();
    await write(node, 'B', image);
    await node.setGrubVariables({ saved_entry: 'A', next_entry: 'B' });
    return node;
  }

  it.each(['kernel', 'initramfs'] as const)(
    'stays at GRUB’s prompt without %s, until its power is cycled',
    async (missing) => {
      const node = await onTrial(await build('KubeOS 1.1.0', { missing, label: 'ROOT-B' }));
      expect(await node.boot()).toMatchObject({ kind: 'down', attempts: [{ kind: 'stuck', slot: 'B' }] });
      expect(await node.boot()).toMatchObject({ kind: 'up', slot: 'A', version: 'KubeOS 1.0.0' });
    },
  );

  it('comes back in the old slot by itself where init is missing', async () => {
    const node = await onTrial(await build('KubeOS 1.1.0', { missing: 'init', label: 'ROOT-B' }));
    expect(await node.boot()).toMatchObject({
      kind: 'up',
      slot: 'A',
      trial: false,
      attempts: [
        { kind: 'panic', slot: 'B' },
        { kind: 'up', slot: 'A' },
      ],
    });
  });

  it('finds no kernel where the image was written without the slot’s label', async () => {
    const node = await onTrial(await build('KubeOS 1.1.0'));
    expect(await node.boot()).toMatchObject({ kind: 'down', message: expect.stringContaining('ROOT-B') as string });
  });

  it('needs no label where the entries name partitions', async () => {
    const node = await machine({ kernelSearch: 'partition' });
    await write(node, 'B', await build('KubeOS 1.1.0'));
    await node.setGrubVariables({ next_entry: 'B' });
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: 'B', version: 'KubeOS 1.1.0' });
  });

  it('is stuck with an empty slot', async () => {
    const node = await machine();
    await node.setGrubVariables({ next_entry: 'B' });
    expect(await node.boot()).toMatchObject({ kind: 'down', attempts: [{ kind: 'stuck', slot: 'B' }] });
  });

  it('is stuck with a kernel of another architecture', async () => {
    const node = await machine({ architecture: 'aarch64' });
    expect(await node.boot()).toMatchObject({ kind: 'down', message: 'GRUB: error: invalid magic number.' });
  });

  it('loops for ever where the committed slot panics, which counts as down', async () => {
    const node = await onTrial(await build('KubeOS 1.1.0', { missing: 'init', label: 'ROOT-B' }));
    await node.setGrubVariables({ saved_entry: 'B', next_entry: '' });
    expect(await node.boot()).toMatchObject({ kind: 'down', message: 'the machine resets again and again' });
  });

  it('panics or hangs on a fault, though its image is good', async () => {
    const node = await onTrial(await build('KubeOS 1.1.0', { label: 'ROOT-B' }));
    expect(await node.boot({ trialPanics: true })).toMatchObject({ kind: 'up', slot: 'A' });
    await node.setGrubVariables({ next_entry: 'B' });
    expect(await node.boot({ trialHangs: true })).toMatchObject({ kind: 'down' });
    expect(await node.boot()).toMatchObject({ kind: 'up', slot: 'A' });
  });
});

describe('a node’s processes', () => {
  it('all end with its power, detached ones too, and nobody else’s', async () => {
    const node = await machine();
    const other = await machine();
    const bin = path.join(folder, `bin-${count}`);
    await exec('mkdir', [bin]);
    for (const tool of ['setsid', 'sleep']) await symlink(`/usr/bin/${tool}`, path.join(bin, tool));
    const options = { env: node.env(bin), ...(node.identity ?? {}) };
    await exec('/bin/sh', ['-c', 'setsid sleep 600 >/dev/null 2>&1 </dev/null & sleep 600 >/dev/null 2>&1 &'], options);
    await exec('/bin/sh', ['-c', 'setsid sleep 600 >/dev/null 2>&1 </dev/null &'], { ...options, env: other.env(bin) });
    expect(await node.processes()).toHaveLength(2);
    await node.boot();
    expect(await node.processes()).toEqual([]);
    expect(await other.processes()).toHaveLength(1);
    await other.killAll();
    expect(await other.processes()).toEqual([]);
  });
});

describe('an empty slot', () => {
  it('is made by makeExt4 with its label', async () => {
    const out = path.join(folder, 'empty');
    await makeExt4({ out, sizeBytes: 2 * MIB, label: 'ROOT-B' });
    expect((await readSuperblock(out))?.label).toBe('ROOT-B');
  });
});
