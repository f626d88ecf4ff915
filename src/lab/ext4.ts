import { open } from 'node:fs/promises';
import { runTool } from './tools.ts';

/** What stands in an ext4 superblock, at byte 1024 of the device. */
export interface Superblock {
  label: string;
  /** As blkid prints it. */
  uuid: string;
}

/** The superblock of a device or image; undefined where there is no ext file system. */
export async function readSuperblock(device: string): Promise<Superblock | undefined> {
  const file = await open(device, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(1024), 0, 1024, 1024);
    // s_magic at 0x38, s_uuid at 0x68, s_volume_name at 0x78 (Linux, fs/ext4/ext4.h).
    if (bytesRead < 1024 || buffer.readUInt16LE(0x38) !== 0xef53) return undefined;
    const hex = buffer.toString('hex', 0x68, 0x78);
    const label = buffer.toString('latin1', 0x78, 0x88);
    return {
      label: label.replace(/\0.*$/s, ''),
      uuid: hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'),
    };
  } finally {
    await file.close();
  }
}

/** A file's bytes out of an unmounted ext4 device; undefined where it is not there or cannot be read. */
export async function readExt4File(device: string, file: string): Promise<Buffer | undefined> {
  // debugfs ends with 0 even where it found nothing: only its standard error tells, after the line with its version.
  const { stdout, stderr } = await runTool('debugfs', ['-R', `cat ${file}`, device]);
  const complaints = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('debugfs 1.'));
  return complaints.length === 0 ? stdout : undefined;
}

/** PRETTY_NAME of an os-release text; undefined where it has none. */
export function prettyName(osRelease: string): string | undefined {
  const value = /^PRETTY_NAME=(.*)$/m.exec(osRelease)?.[1];
  return value?.replace(/^(["'])(.*)\1$/, '$2');
}
