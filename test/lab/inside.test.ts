import { chmod, link, mkdir, mkdtemp, readFile, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as inside from '../../src/lab/inside.ts';
import { type Machine, createMachine } from '../../src/lab/machine.ts';
import { buildSystemImage } from '../../src/lab/system-image.ts';

const exec = promisify(execFile);
const MIB = 1024 * 1024;

let folder: string;
let tree: string;
let outside: string;
let precious: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-inside-'));
  await chmod(folder, 0o755);
  tree = path.join(folder, 'tree');
  outside = path.join(folder, 'outside');
  precious = path.join(outside, 'precious');
  await mkdir(path.join(tree, 'a'), { recursive: true });
  await mkdir(outside);
  await writeFile(precious, 'work of years');
});

afterEach(async () => {
  // Whatever a test did, nothing beside the tree has changed.
  expect(await readFile(precious, 'utf8')).toBe('work of years');
  expect(await readdir(outside)).toEqual(['precious']);
  await rm(folder, { recursive: true, force: true });
});

describe('what the lab does inside a tree that others own', () => {
  it('replaces a link instead of following it', async () => {
    const file = path.join(tree, 'a/file');
    await symlink(precious, file);
    await inside.writeInside(tree, 'a/file', 'text');
    expect(await readFile(file, 'utf8')).toBe('text');
    await rm(file);
    await link(precious, file);
    await inside.writeInside(tree, '/a/file', 'more');
    expect(await readFile(file, 'utf8')).toBe('more');
  });

  it.each([
    ['a link', (place: string) => symlink(precious, place)],
    ['another name of a file', (place: string) => link(precious, place)],
    ['a pipe', (place: string) => exec('mkfifo', [place])],
  ])('neither adds to %s nor writes over it', async (_what, plant) => {
    await plant(path.join(tree, 'a/file'));
    await expect(inside.appendInside(tree, 'a/file', 'x')).rejects.toThrow();
    await expect(inside.overwriteInside(tree, 'a/file', Buffer.from('x'))).rejects.toThrow();
  });

  it('goes through no folder that is a link', async () => {
    await symlink(outside, path.join(tree, 'b'));
    const why = `${path.join(tree, 'b')} is a link`;
    await expect(inside.writeInside(tree, 'b/precious', 'x')).rejects.toThrow(why);
    await expect(inside.appendInside(tree, 'b/precious', 'x')).rejects.toThrow(why);
    await expect(inside.makeFolderInside(tree, 'b/c')).rejects.toThrow(why);
    await expect(inside.linkInside(tree, 'b/precious', 'x')).rejects.toThrow(why);
    await expect(inside.removeInside(tree, 'b/precious')).rejects.toThrow(why);
    await expect(inside.emptyInside(tree, 'b')).rejects.toThrow(why);
    await expect(inside.writeInside(path.join(tree, 'b'), 'precious', 'x')).rejects.toThrow(why);
    await expect(inside.writeInside(tree, 'a/../../outside/precious', 'x')).rejects.toThrow('not a path inside');
  });

  it('makes folders, files and links, adds, writes over and empties', async () => {
    await inside.makeFolderInside(tree, 'x/y');
    await inside.appendInside(tree, 'x/y/log', 'one ');
    await inside.appendInside(tree, 'x/y/log', 'two');
    await inside.overwriteInside(tree, 'x/y/log', Buffer.from('ONE'));
    await inside.linkInside(tree, 'x/link', 'y/log');
    expect(await readFile(path.join(tree, 'x/link'), 'utf8')).toBe('ONE two');
    await inside.emptyInside(tree, 'x');
    expect(await readdir(path.join(tree, 'x'))).toEqual([]);
    await inside.removeInside(tree, 'x/none');
  });
});

describe('a machine whose commands left links in its tree', () => {
  let machine: Machine;

  beforeEach(async () => {
    const system = await buildSystemImage({
      version: 'KubeOS 1.0.0',
      out: path.join(folder, 'image'),
      sizeBytes: 3 * MIB,
    });
    machine = await createMachine({ dir: path.join(folder, 'node'), system, slotBytes: 4 * MIB });
  });

  it('boots, and writes its own files only', async () => {
    for (const file of ['proc/cmdline', 'usr/lib/os-release', 'sys/devices/virtual/block/vda/size']) {
      await rm(path.join(machine.root, file), { force: true });
      await symlink(precious, path.join(machine.root, file));
    }
    expect(await machine.boot()).toMatchObject({ kind: 'up' });
    expect(await readFile(path.join(machine.root, 'usr/lib/os-release'), 'utf8')).toContain('KubeOS 1.0.0');
  });

  it.each(['run', 'tmp', 'proc', 'sys/class', 'boot/efi/EFI'])('does not boot with %s led elsewhere', async (where) => {
    await rename(path.join(machine.root, where), path.join(machine.root, 'moved'));
    const target = where === 'boot/efi/EFI' ? path.join(machine.root, 'moved') : outside;
    await symlink(target, path.join(machine.root, where));
    await expect(machine.boot()).rejects.toThrow(`${path.join(machine.root, where)} is a link`);
  });

  it('sets GRUB’s variables in a file of its own', async () => {
    await rm(machine.grubenv);
    await symlink(precious, machine.grubenv);
    await machine.setGrubVariables({ saved_entry: 'B' });
    expect(machine.savedSlot()).toBe('B');
  });

  it.runIf(process.getuid?.() === 0)('keeps its own files in state/ from its commands', async () => {
    const ids = { uid: 64613, gid: 64613 };
    const { stateDir } = machine;
    const sh = (script: string) => exec('/bin/sh', ['-c', script], { ...ids, cwd: machine.root });
    await sh(`: >"${stateDir}/reboot"; echo x >>"${stateDir}/journal"; echo y >>"${stateDir}/journal"`);
    await expect(sh(`rm -f "${stateDir}/console.log"`)).rejects.toThrow();
    await expect(sh(`mv "${stateDir}/machine.json" "${stateDir}/moved"`)).rejects.toThrow();
    await expect(sh(`mv "${stateDir}" "${machine.dir}/moved"`)).rejects.toThrow();
    await machine.boot();
    expect((await stat(path.join(machine.root, 'proc/cmdline'))).uid).toBe(ids.uid);
  });
});
