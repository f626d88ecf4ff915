import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { type LogEntry, readWriteLog } from './write-log.ts';

const STEP = 1024 * 1024;

/** A seeded source of numbers in [0, 1): mulberry32. */
export type Random = () => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** The writes between two flushes: none of them is sure to be on the disk, each may be, whole or torn. */
export interface Epoch {
  /** Of the log's entries: the first of these writes. */
  first: number;
  writes: readonly LogEntry[];
}

/** A disk in a plain file, brought forward by the entries of a log, and back again. */
export class ReplayedDisk {
  readonly path: string;
  readonly #disk: FileHandle;
  readonly #log: FileHandle;
  readonly entries: readonly LogEntry[];
  #applied = 0;
  #undo: { at: number; bytes: Buffer }[] = [];

  private constructor(path: string, disk: FileHandle, log: FileHandle, entries: readonly LogEntry[]) {
    this.path = path;
    this.#disk = disk;
    this.#log = log;
    this.entries = entries;
  }

  /** `path` holds the disk as it was when the log began; it is changed. */
  static async open(path: string, log: string): Promise<ReplayedDisk> {
    return new ReplayedDisk(path, await open(path, 'r+'), await open(log, 'r'), await readWriteLog(log));
  }

  epochs(): Epoch[] {
    const epochs: Epoch[] = [];
    let writes: LogEntry[] = [];
    let first = 0;
    for (const [index, entry] of this.entries.entries()) {
      if (entry.length > 0) writes.push(entry);
      if (!entry.flush) continue;
      epochs.push({ first, writes });
      writes = [];
      first = index + 1;
    }
    epochs.push({ first, writes });
    return epochs;
  }

  /** For good. */
  async apply(writes: readonly LogEntry[]): Promise<void> {
    for (const write of writes) await this.#put(write.at, await this.#dataOf(write));
  }

  /**
   * For good, on from where the last call ended: what had been flushed when the log was `place` bytes long.
   * @param before told of the writes between two flushes, before these are there
   */
  async applyFlushed(place: number, before?: (writes: readonly LogEntry[]) => Promise<void>): Promise<void> {
    let length = 512;
    for (const [index, entry] of this.entries.entries()) {
      length += 512 + (entry.data === undefined ? 0 : entry.length);
      if (length > place) break;
      if (!entry.flush || index < this.#applied) continue;
      const writes = this.entries.slice(this.#applied, index + 1).filter((one) => one.length > 0);
      await before?.(writes);
      await this.apply(writes);
      this.#applied = index + 1;
    }
  }

  /** Until `restore`: of each write, so many of its first bytes. */
  async tryOut(writes: readonly { write: LogEntry; bytes: number }[]): Promise<void> {
    for (const { write, bytes } of writes) {
      const data = (await this.#dataOf(write)).subarray(0, bytes);
      this.#undo.push({ at: write.at, bytes: await this.read(write.at, data.length) });
      await this.#put(write.at, data);
    }
  }

  async restore(): Promise<void> {
    for (const { at, bytes } of this.#undo.splice(0).reverse()) await this.#put(at, bytes);
  }

  async read(at: number, length: number): Promise<Buffer> {
    const { buffer } = await this.#disk.read(Buffer.alloc(length), 0, length, at);
    return buffer;
  }

  async sha256(at: number, length: number): Promise<string> {
    const hash = createHash('sha256');
    for (let done = 0; done < length; done += STEP)
      hash.update(await this.read(at + done, Math.min(STEP, length - done)));
    return hash.digest('hex');
  }

  async close(): Promise<void> {
    await this.#disk.close();
    await this.#log.close();
  }

  async #put(at: number, bytes: Buffer): Promise<void> {
    await this.#disk.write(bytes, 0, bytes.length, at);
  }

  async #dataOf(write: LogEntry): Promise<Buffer> {
    const bytes = Buffer.alloc(write.length);
    if (write.data !== undefined) await this.#log.read(bytes, 0, bytes.length, write.data);
    return bytes;
  }
}

/** What a power cut left of an epoch's writes: a prefix of them had been issued, and of those each was kept or lost. */
export function leftOf(epoch: Epoch, random: Random): { write: LogEntry; bytes: number }[] {
  const issued = epoch.writes.slice(0, Math.floor(random() * (epoch.writes.length + 1)));
  const keep = random();
  return issued
    .filter(() => random() < keep)
    .map((write) => {
      const sectors = write.length / 512;
      // One in eight is torn: disks write sectors whole, and nothing else.
      const kept = random() < 0.125 ? Math.floor(random() * (sectors + 1)) : sectors;
      return { write, bytes: kept * 512 };
    });
}
