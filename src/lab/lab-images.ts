import path from 'node:path';
import { type SystemImage, buildSystemImage } from './system-image.ts';
import { buildSystemTar, compressImage } from './system-tar.ts';
import { findTool } from './tools.ts';

/** What a lab may be told of its images. */
export interface LabImageOptions {
  /**
   * What the nodes run at first, and what the image server has as an image and as a tar; `KubeOS 1.0.0`, `1.1.0` and
   * `1.2.0` unless told.
   */
  versions?: { now: string; update: string; tar?: string };
  /** Bytes of a system image; 16 MiB unless told. A slot is a quarter bigger. */
  imageBytes?: number;
}

/** What a lab's nodes run at first, and what its image server has. */
export interface LabImages {
  now: SystemImage;
  /** An ext4 image. */
  update: SystemImage;
  /** A tar, compressed with gzip, of the version after that. */
  tar: SystemImage;
}

const MIB = 1024 * 1024;
const VERSIONS = { now: 'KubeOS 1.0.0', update: 'KubeOS 1.1.0', tar: 'KubeOS 1.2.0' };

/** Makes them in the folder of the image server: plain, and compressed as far as this machine can. */
export async function buildLabImages(folder: string, options: LabImageOptions): Promise<LabImages> {
  const versions = { ...VERSIONS, ...options.versions };
  const sizeBytes = options.imageBytes ?? 16 * MIB;
  const out = (version: string, ending: string): string =>
    path.join(folder, `${version.toLowerCase().replace(/[^a-z0-9.]+/g, '-')}.${ending}`);
  const build = (version: string): Promise<SystemImage> =>
    buildSystemImage({ version, out: out(version, 'img'), sizeBytes });
  const update = await build(versions.update);
  const plain = await buildSystemTar({ version: versions.tar, out: out(versions.tar, 'tar') });
  if ((await findTool('zstd')) !== undefined) await compressImage(update, 'zstd', out(versions.update, 'img.zst'));
  const tar = await compressImage(plain, 'gzip', out(versions.tar, 'tar.gz'));
  return { now: await build(versions.now), update, tar };
}
