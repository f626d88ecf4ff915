import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { runTool } from './tools.ts';

export type Architecture = 'x86_64' | 'aarch64';

/** A part of a system that an image can lack, so that tests see what happens then. */
export type MissingPart = 'kernel' | 'initramfs' | 'os-release' | 'init' | 'flock';

export interface SystemImageOptions {
  /** PRETTY_NAME of the system, as `KubeOS 1.1.0`. */
  version: string;
  /** The image file to make. */
  out: string;
  /** Bytes of the whole image; 8 MiB unless told. */
  sizeBytes?: number;
  /** Bytes of incompressible filling in the file system; half the image unless told. */
  paddingBytes?: number;
  missing?: MissingPart;
  architecture?: Architecture;
  /** What `uname -r` says under this system. */
  kernelRelease?: string;
  /** File-system label; `ROOT-A` unless told, since image tools copy the finished slot A. */
  label?: string;
}

export interface SystemImage {
  path: string;
  version: string;
  sha256: string;
  bytes: number;
}

/** What the node scripts ask of a system before they boot it; nothing runs it here. */
export const SYSTEM_TOOLS: readonly string[] = (
  'sh findmnt dd od tr stat date mkdir mv rm cp cat head tail sed awk df flock sync sleep uname cmp tee grep readlink ' +
  'mount umount blockdev sha256sum grub2-editenv reboot setsid e2fsck xfs_repair'
).split(' ');

const MIB = 1024 * 1024;
const MIN_BYTES = 2 * MIB;

/**
 * Makes a real ext4 image with what a KubeOS root holds as far as GRUB, the node scripts and the lab look: kernel,
 * initramfs, os-release and init. Throws a RangeError below 2 MiB, and an Error with mkfs's words where it fails.
 */
export async function buildSystemImage(options: SystemImageOptions): Promise<SystemImage> {
  const sizeBytes = options.sizeBytes ?? 8 * MIB;
  if (sizeBytes < MIN_BYTES) throw new RangeError(`a system image needs at least ${MIN_BYTES} bytes`);
  await mkdir(path.dirname(options.out), { recursive: true });
  const tree = await mkdtemp(`${options.out}.tree-`);
  try {
    await fillTree(tree, options, options.paddingBytes ?? Math.floor(sizeBytes / 2));
    await makeExt4({ out: options.out, sizeBytes, label: options.label ?? 'ROOT-A', tree });
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
  return {
    path: options.out,
    version: options.version,
    sha256: await sha256OfFile(options.out),
    bytes: (await stat(options.out)).size,
  };
}

/** Makes an ext4 file system in a file, empty or with the content of a folder. */
export async function makeExt4(target: {
  out: string;
  sizeBytes: number;
  label: string;
  tree?: string;
}): Promise<void> {
  await rm(target.out, { force: true });
  await writeFile(target.out, '');
  await truncate(target.out, target.sizeBytes);
  const content = target.tree === undefined ? [] : ['-d', target.tree];
  const options = ['-q', '-F', '-m', '0', '-O', '^has_journal', '-E', 'root_owner=0:0', '-L', target.label];
  await runTool('mkfs.ext4', [...options, ...content, target.out]);
}

/** SHA-256 of a file, 64 lower-case hex digits. */
export async function sha256OfFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** A kernel file that GRUB would accept for this architecture. */
export function kernelFile(release: string, architecture: Architecture): Buffer {
  const bytes = Buffer.alloc(64 * 1024);
  if (architecture === 'x86_64') {
    // Linux's x86 boot protocol: 0xAA55 at 0x1FE and "HdrS" at 0x202.
    bytes.writeUInt16LE(0xaa55, 0x1fe);
    bytes.write('HdrS', 0x202, 'latin1');
  } else {
    // Linux's arm64 boot protocol: "ARM\x64" at 56.
    bytes.write('ARM\x64', 56, 'latin1');
  }
  bytes.write(`kernel ${release}\0`, 0x400, 'latin1');
  return bytes;
}

/** Which architecture GRUB would take a kernel for, and its release; undefined where GRUB refuses it. */
export function readKernelFile(bytes: Buffer): { architecture: Architecture; release: string } | undefined {
  const release = /^kernel ([^\0]+)\0/.exec(bytes.toString('latin1', 0x400, 0x500))?.[1] ?? 'unknown';
  if (
    bytes.length > 0x206 &&
    bytes.readUInt16LE(0x1fe) === 0xaa55 &&
    bytes.toString('latin1', 0x202, 0x206) === 'HdrS'
  ) {
    return { architecture: 'x86_64', release };
  }
  if (bytes.toString('latin1', 56, 60) === 'ARM\x64') return { architecture: 'aarch64', release };
  return undefined;
}

/** The start of a 64-bit ELF program for this architecture. */
export function elfFile(architecture: Architecture): Buffer {
  const bytes = Buffer.alloc(4096);
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(bytes);
  bytes.writeUInt16LE(2, 16);
  // e_machine: EM_X86_64 is 62, EM_AARCH64 is 183.
  bytes.writeUInt16LE(architecture === 'x86_64' ? 62 : 183, 18);
  return bytes;
}

/** The architecture of an ELF program; undefined where it is none that the lab knows. */
export function readElfArchitecture(bytes: Buffer): Architecture | undefined {
  if (bytes.length < 20 || bytes.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
  const machine = bytes.readUInt16LE(18);
  if (machine === 62) return 'x86_64';
  return machine === 183 ? 'aarch64' : undefined;
}

/** Fills a folder with a system: what GRUB, the node scripts and the lab look at, and filling. */
export async function fillTree(
  tree: string,
  options: Omit<SystemImageOptions, 'sizeBytes' | 'label'>,
  paddingBytes: number,
): Promise<void> {
  const architecture = options.architecture ?? 'x86_64';
  const release = options.kernelRelease ?? `5.10.0-${options.version.replace(/^KubeOS /, '')}.oe2209.${architecture}`;
  for (const folder of [
    'boot',
    'usr/bin',
    'usr/sbin',
    'usr/lib/systemd',
    'usr/share',
    'etc',
    'persist',
    'dev',
    'proc',
    'sys',
    'run',
    'tmp',
    'var',
  ]) {
    await mkdir(path.join(tree, folder), { recursive: true });
  }
  for (const folder of ['bin', 'sbin', 'lib']) await symlink(`usr/${folder}`, path.join(tree, folder));
  const put = async (file: string, content: string | Buffer): Promise<void> =>
    writeFile(path.join(tree, file), content);
  if (options.missing !== 'kernel') await put('boot/vmlinuz', kernelFile(release, architecture));
  if (options.missing !== 'initramfs') await put('boot/initramfs.img', Buffer.alloc(32 * 1024, 'initramfs '));
  if (options.missing !== 'os-release') await put('usr/lib/os-release', osRelease(options.version));
  if (options.missing !== 'init') {
    await put('usr/lib/systemd/systemd', elfFile(architecture));
    await symlink('../lib/systemd/systemd', path.join(tree, 'usr/sbin/init'));
  }
  for (const tool of SYSTEM_TOOLS) {
    if (tool !== options.missing) await put(`usr/bin/${tool}`, elfFile(architecture).subarray(0, 64));
  }
  await writeNoise(path.join(tree, 'usr/share/filling'), paddingBytes);
}

/** KubeOS's image tools remove /etc/os-release and write /usr/lib/os-release. */
function osRelease(version: string): string {
  const id = version.replace(/^KubeOS /, '');
  return `NAME="KubeOS"\nID=kubeos\nVERSION_ID="${id}"\nPRETTY_NAME="${version}"\n`;
}

async function writeNoise(file: string, bytes: number): Promise<void> {
  function* noise(): Generator<Buffer> {
    for (let left = bytes; left > 0; left -= MIB) yield randomFillSync(Buffer.alloc(Math.min(left, MIB)));
  }
  await pipeline(Readable.from(noise()), createWriteStream(file));
}
