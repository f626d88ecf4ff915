import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { nodeIdentity } from './identity.ts';
import { type SystemImage, type SystemImageOptions, fillTree, sha256OfFile } from './system-image.ts';
import { runTool } from './tools.ts';

/** How an image is compressed; each is the name of the tool too. */
export type Compression = 'gzip' | 'xz' | 'zstd';

const MIB = 1024 * 1024;

/**
 * Makes a tar of the same system as `buildSystemImage`. Its files belong to the uid that the lab's nodes run as, who can
 * give them to nobody else; it has none of what takes privilege, and no hard links, which the double of mount loses.
 */
export async function buildSystemTar(options: Omit<SystemImageOptions, 'sizeBytes' | 'label'>): Promise<SystemImage> {
  await mkdir(path.dirname(options.out), { recursive: true });
  const tree = await mkdtemp(`${options.out}.tree-`);
  try {
    await chmod(tree, 0o755);
    await fillTree(tree, options, options.paddingBytes ?? MIB);
    const { uid, gid } = nodeIdentity() ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const owner = ['--numeric-owner', `--owner=node:${uid}`, `--group=node:${gid}`, '--mode=u+rwX,go-w'];
    await runTool('tar', ['--create', `--file=${options.out}`, '--format=gnu', ...owner, `--directory=${tree}`, '.']);
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
  return describeImage(options.out, options.version);
}

/** Compresses an image into `out`, beside the one that is there. */
export async function compressImage(image: SystemImage, how: Compression, out: string): Promise<SystemImage> {
  const suffix = `.kubeos-${how}`;
  const option = how === 'zstd' ? ['-q', '-f', '-o', `${image.path}${suffix}`] : ['-k', '-f', `--suffix=${suffix}`];
  await runTool(how, [...option, image.path]);
  await rename(`${image.path}${suffix}`, out);
  return describeImage(out, image.version);
}

async function describeImage(file: string, version: string): Promise<SystemImage> {
  return { path: file, version, sha256: await sha256OfFile(file), bytes: (await stat(file)).size };
}
