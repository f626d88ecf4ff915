import { createCipheriv } from 'node:crypto';
import { mkdir, open, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fillTree, sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';

/** A root file system as a tar. */
export interface System {
  version: string;
  tree: string;
  tar: Artifact;
  /** Members of the tar. */
  members: number;
}

export interface Artifact {
  file: string;
  sha256: string;
  bytes: number;
}

export const MIB = 1024 * 1024;
/** A small KubeOS root has some 20,000 files in 1 GiB; most of its bytes are in few of them. */
const FILES_PER_MIB = 20;
const SMALL = [170, 420, 900, 1500, 2300, 3600, 4100, 6200, 9500, 14_000, 23_000, 61_000];
const FILES_PER_FOLDER = 12;
/** What ext4 needs beside the files' bytes. */
const FILLED = 0.88;

/** Makes a system that fits into an image of so many bytes: many small files, few big ones, links; the same each time. */
export async function makeSystem(
  dir: string,
  bytes: number,
  files = Math.round((bytes / MIB) * FILES_PER_MIB),
): Promise<System> {
  const version = 'KubeOS 1.1.0';
  const tree = join(dir, 'tree');
  await mkdir(tree, { mode: 0o755 });
  await fillTree(tree, { version, out: tree }, 0);
  await fillFolders(tree, files, Math.floor(bytes * FILLED));
  const tar = join(dir, 'system.tar');
  await runTool('tar', ['-C', tree, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-cf', tar, '.']);
  const { stdout } = await runTool('tar', ['-tf', tar]);
  return { version, tree, tar: await artifactOf(tar), members: stdout.toString().split('\n').length - 1 };
}

/** Makes an ext4 image of it, as KubeOS up to 1.0.6 had them. */
export async function makeRaw({ tree, members }: System, file: string, bytes: number): Promise<Artifact> {
  await writeFile(file, '');
  const options = ['-q', '-F', '-m', '0', '-L', 'ROOT-A', '-O', '^metadata_csum_seed', '-d', tree];
  await runTool('mkfs.ext4', [...options, '-N', String(members + 4096), file, String(Math.floor(bytes / 1024))]);
  return artifactOf(file);
}

async function artifactOf(file: string): Promise<Artifact> {
  return { file, sha256: await sha256OfFile(file), bytes: (await stat(file)).size };
}

async function fillFolders(tree: string, count: number, bytes: number): Promise<void> {
  const noise = makeNoise();
  let [left, folder] = [bytes, ''];
  for (let index = 0; index < count; index++) {
    if (index % FILES_PER_FOLDER === 0) {
      folder = join(tree, 'usr/share', `group-${index % 40}`, `package-${index}`);
      await mkdir(folder, { recursive: true, mode: 0o755 });
      await symlink(`../package-${index}/file-${index}`, join(folder, 'current'));
    }
    const size = SMALL[(index * 7) % SMALL.length] ?? 0;
    const from = (index * 4099) % (noise.length - size);
    await writeFile(join(folder, `file-${index}`), noise.subarray(from, from + size), { mode: 0o644 });
    left -= Math.ceil(size / 4096) * 4096;
  }
  for (let index = 0; left > 0; index++) {
    const size = Math.min(left, ((index % 5) + 1) * 12 * MIB);
    await writeNoise(join(tree, index === 0 ? 'boot/vmlinuz' : `usr/bin/program-${index}`), size, noise);
    left -= size;
  }
}

/** Bytes that no file system and no disk can make less of, the same each time. */
function makeNoise(): Buffer {
  return createCipheriv('aes-128-ctr', Buffer.alloc(16, 7), Buffer.alloc(16)).update(Buffer.alloc(16 * MIB));
}

/** Makes a file of such bytes. */
export async function writeNoise(file: string, size: number, noise = makeNoise()): Promise<void> {
  const handle = await open(file, 'w', 0o755);
  for (let left = size; left > 0; left -= noise.length) await handle.write(noise, 0, Math.min(left, noise.length));
  await handle.close();
}
