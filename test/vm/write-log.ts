import { type FileHandle, open } from 'node:fs/promises';

/** The magic number and version of a write log's superblock (Linux, drivers/md/dm-log-writes.c). */
const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
const SECTOR = 512;
const FLUSH = 1;
const DISCARD = 4;

/** One entry of a log of block writes: what was written, or that all before it was flushed. */
export interface LogEntry {
  flush: boolean;
  /** Bytes from the start of the disk. */
  at: number;
  length: number;
  /** Where its data stands in the log; undefined where there is none: a discard reads as zeroes. */
  data: number | undefined;
}

/**
 * The entries of a log that QEMU's blklogwrites wrote with sectors of 512 bytes, in order: as many as its superblock
 * counts, which is brought up to date at every flush.
 * @throws Error where it is no such log
 */
export async function readWriteLog(file: string): Promise<LogEntry[]> {
  const log = await open(file, 'r');
  try {
    const head = await bytesAt(log, 0, 32);
    if (head.length < 32 || head.readBigUInt64LE(0) !== MAGIC || head.readBigUInt64LE(8) !== VERSION) {
      throw new Error(`${file} is no write log`);
    }
    if (head.readUInt32LE(24) !== SECTOR) throw new Error(`${file} does not count in sectors of ${SECTOR} bytes`);
    const count = Number(head.readBigUInt64LE(16));
    const entries: LogEntry[] = [];
    let offset = SECTOR;
    while (entries.length < count) {
      const raw = await bytesAt(log, offset, 32);
      if (raw.length < 32) throw new Error(`${file} ends within entry ${entries.length} of ${count}`);
      const flags = Number(raw.readBigUInt64LE(16));
      const length = Number(raw.readBigUInt64LE(8)) * SECTOR;
      const dataBytes = (flags & DISCARD) === 0 ? length : 0;
      offset += SECTOR;
      const at = Number(raw.readBigUInt64LE(0)) * SECTOR;
      entries.push({ flush: (flags & FLUSH) !== 0, at, length, data: dataBytes > 0 ? offset : undefined });
      offset += dataBytes;
    }
    return entries;
  } finally {
    await log.close();
  }
}

async function bytesAt(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}
