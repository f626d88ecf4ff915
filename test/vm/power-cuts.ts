import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, copyFile, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { readGrubenv } from '../../src/lab/grubenv.ts';
import type { Running } from '../lab/lab-bed.ts';
import { diskOf } from './artifacts.ts';
import type { VmBed, VmNode } from './bed.ts';
import { untilStep } from './node.ts';
import { PersistImage } from './persist.ts';
import { type Epoch, leftOf, randomOf, ReplayedDisk } from './replay.ts';
import type { LogEntry } from './write-log.ts';

const MIB = 1024 * 1024;

/** s_magic (Linux, fs/ext4/ext4.h). */
const EXT4_MAGIC = 0xef53;

/** Where build/disk.sh puts the partitions of a BIOS disk. */
export const AREAS = {
  boot: { at: MIB, length: 34 * MIB },
  A: { at: 35 * MIB, length: 64 * MIB },
  B: { at: 99 * MIB, length: 64 * MIB },
  persist: { at: 163 * MIB, length: 128 * MIB },
} as const;
type Slot = 'A' | 'B';

/** An image behind its head, which bears the slot's own label once it is there. */
export interface Body {
  bytes: number;
  sha256: string;
}
export const HEAD_BYTES = 4096;

/** That of a raw image; undefined for what is unpacked into a file system of the node's own making. */
export async function bodyOf(image: string): Promise<Body | undefined> {
  const bytes = await readFile(image);
  if (bytes.length < HEAD_BYTES || bytes.readUInt16LE(1024 + 0x38) !== EXT4_MAGIC) return undefined;
  const body = bytes.subarray(HEAD_BYTES);
  return { bytes: body.length, sha256: createHash('sha256').update(body).digest('hex') };
}

/** What the cuts of one boot's writes showed. */
export interface CutsFound {
  /** How many disks were rebuilt and judged. */
  disks: number;
  /** How many of them had an epoch's writes in part. */
  partial: number;
  /** What GRUB would have booted, and how often. */
  boots: Record<Slot, number>;
  /** What was wrong, each with the place of the cut. */
  broken: string[];
}

/** A part of one boot's log, and what had been promised by then. */
export interface Recording {
  /** Which boot of the machine, from 1 on. */
  start: number;
  /** The log's length when the part began, in bytes, and when it ended; to the log's end where that is not told. */
  from: number;
  to?: number;
  /** From these lengths of the log on, only this environment may be on the disk. */
  promises: readonly { from: number; env: string }[];
}

/** The length of the present write log: a place in it. */
export async function placeIn(node: VmNode): Promise<number> {
  return (await stat(node.machine.writeLog())).size;
}

/** Follows an upgrade from a step on, and notes where in the write logs it was. Resolves once it is committed. */
export async function record(
  { bed, node, run }: { bed: VmBed; node: VmNode; run: Running },
  from: 'write' | 'arm',
): Promise<Recording[]> {
  await untilStep(bed, node.name, from);
  const written = { start: node.machine.starts, from: await placeIn(node) };
  await untilStep(bed, node.name, 'reboot');
  const armed = { from: await placeIn(node), env: 'saved=A next=B' };
  await untilStep(bed, node.name, 'prove');
  const proven = { start: node.machine.starts, from: await placeIn(node) };
  // The last step is over in a moment.
  await untilStep(bed, node.name, 'uncordon', run);
  const committed = { from: await placeIn(node), env: 'saved=B next=' };
  return [
    { ...written, promises: [armed] },
    { ...proven, promises: [committed] },
  ];
}

/**
 * Rebuilds disks that end between two flushes, with what a power cut leaves of the later writes, and judges each. The
 * machine must be off.
 * @param count how many disks, over all recordings
 * @param body what slot B must hold wherever GRUB boots it, where that is known byte for byte
 */
export async function judgeCuts(
  bed: VmBed,
  node: VmNode,
  recordings: readonly Recording[],
  { count, seed, body }: { count: number; seed: number; body?: Body | undefined },
): Promise<CutsFound> {
  const found: CutsFound = { disks: 0, partial: 0, boots: { A: 0, B: 0 }, broken: [] };
  const copy = path.join(bed.dir, 'replayed.raw');
  await copyFile(await diskOf({ name: node.name, firmware: 'bios', style: 'label' }), copy, constants.COPYFILE_FICLONE);
  const random = randomOf(seed);
  for (let start = 1; start <= node.machine.starts; start++) {
    const disk = await ReplayedDisk.open(copy, node.machine.writeLog(start));
    try {
      const recording = recordings.find((one) => one.start === start);
      const share = Math.ceil(count / recordings.length);
      if (recording === undefined) await disk.apply(disk.entries.filter(({ length }) => length > 0));
      else await new Judge(disk, recording, found, body).judge(share, random);
    } finally {
      await disk.close();
    }
  }
  return found;
}

/** That nothing of an epoch is left is seen by itself. */
function somethingLeft(epoch: Epoch, random: () => number): ReturnType<typeof leftOf> {
  for (let tries = 0; tries < 20; tries++) {
    const left = leftOf(epoch, random);
    if (left.length > 0) return left;
  }
  return [];
}

class Judge {
  readonly #disk: ReplayedDisk;
  readonly #recording: Recording;
  readonly #found: CutsFound;
  readonly #body: Body | undefined;
  /** Writes to slot B in the whole log, and how many of them are on the disk for good. */
  readonly #allOfB: number;
  #durableOfB = 0;

  constructor(disk: ReplayedDisk, recording: Recording, found: CutsFound, body: Body | undefined) {
    this.#disk = disk;
    this.#body = body;
    this.#recording = recording;
    this.#found = found;
    this.#allOfB = disk.entries.filter((entry) => touches(entry, 'B')).length;
  }

  async judge(count: number, random: () => number): Promise<void> {
    const epochs = this.#disk.epochs();
    const { from, to = Infinity } = this.#recording;
    const within = epochs.filter((epoch) => this.#endOf(epoch) > from && this.#startOf(epoch) < to);
    const stride = Math.max(1, Math.floor(within.length / count));
    const judged = within.filter((_, index) => (within.length - 1 - index) % stride === 0);
    const perEpoch = Math.ceil(count / Math.max(1, judged.length));
    for (const epoch of epochs) {
      if (epoch.writes.some((write) => touches(write, 'A'))) this.#broken(epoch, 'slot A was written to');
      if (!judged.includes(epoch)) {
        await this.#forGood(epoch);
        continue;
      }
      const before = await this.#environment();
      await this.#disk.tryOut(whole(epoch.writes));
      const after = await this.#environment();
      await this.#disk.restore();
      for (let index = 0; index < perEpoch; index++) {
        const left = index === 0 && this.#found.disks % 2 === 0 ? [] : somethingLeft(epoch, random);
        await this.#disk.tryOut(left);
        await this.#judgeOne(epoch, left, [before, after]);
        await this.#disk.restore();
      }
      await this.#forGood(epoch);
    }
  }

  async #forGood(epoch: Epoch): Promise<void> {
    await this.#disk.apply(epoch.writes);
    this.#durableOfB += epoch.writes.filter((write) => touches(write, 'B')).length;
  }

  async #judgeOne(
    epoch: Epoch,
    left: readonly { write: LogEntry; bytes: number }[],
    allowed: readonly string[],
  ): Promise<void> {
    const found = this.#found;
    found.disks += 1;
    if (left.length > 0) found.partial += 1;
    const env = await this.#environment();
    if (!allowed.includes(env) || env.startsWith('not one')) {
      this.#broken(epoch, `the environment is ${env}, neither ${allowed.join(' nor ')}`);
    }
    const promised = this.#recording.promises.find(({ from }) => this.#startOf(epoch) > from);
    if (promised !== undefined && env !== promised.env) {
      this.#broken(epoch, `the environment is ${env}, but ${promised.env} had been reported`);
    }
    const boots = /next=B|saved=B next=$/.test(env) ? 'B' : 'A';
    found.boots[boots] += 1;
    const kept = left.filter(({ write, bytes }) => touches(write, 'B') && bytes === write.length).length;
    const torn = left.some(({ write, bytes }) => touches(write, 'B') && bytes < write.length);
    const state = torn ? 'part' : this.#stateOfB(kept);
    if (boots === 'B' && !(state === 'whole' && (await this.#holdsBody()))) {
      this.#broken(epoch, 'slot B boots, and is not what was verified');
    }
    await this.#judgeLabels(epoch, boots);
    const persist = await PersistImage.of(this.#disk, AREAS.persist);
    for (const problem of await problemsOf(persist, env, state)) this.#broken(epoch, problem);
  }

  async #holdsBody(): Promise<boolean> {
    if (this.#body === undefined) return true;
    const { bytes, sha256 } = this.#body;
    return (await this.#disk.sha256(AREAS.B.at + HEAD_BYTES, bytes)) === sha256;
  }

  #stateOfB(kept: number): 'untouched' | 'part' | 'whole' {
    const there = this.#durableOfB + kept;
    if (there === this.#allOfB) return 'whole';
    return there === 0 ? 'untouched' : 'part';
  }

  /** GRUB finds a slot's kernel by its label: another slot with the same one may be taken for it. */
  async #judgeLabels(epoch: Epoch, boots: Slot): Promise<void> {
    const labels = { A: await this.#labelOf('A'), B: await this.#labelOf('B') };
    const other = boots === 'A' ? 'B' : 'A';
    if (labels[boots] !== `ROOT-${boots}`) this.#broken(epoch, `slot ${boots} boots, and is labelled ${labels[boots]}`);
    if (labels[other] === `ROOT-${boots}`)
      this.#broken(epoch, `slot ${other} bears the label of slot ${boots}, which boots`);
  }

  async #labelOf(slot: Slot): Promise<string> {
    const bytes = await this.#disk.read(AREAS[slot].at + 1024, 1024);
    // s_magic at 0x38, s_volume_name at 0x78 (Linux, fs/ext4/ext4.h).
    return bytes.readUInt16LE(0x38) === EXT4_MAGIC ? bytes.toString('latin1', 0x78, 0x88).replace(/\0.*$/s, '') : '';
  }

  async #environment(): Promise<string> {
    const block = await grubReads(this.#disk.path, '/grubenv');
    const variables = readGrubenv(block);
    if (variables === undefined) return `not one (${block.length} bytes)`;
    return `saved=${variables.get('saved_entry') ?? ''} next=${variables.get('next_entry') ?? ''}`;
  }

  #broken(epoch: Epoch, what: string): void {
    this.#found.broken.push(`boot ${this.#recording.start}, after entry ${epoch.first}: ${what}`);
  }

  /** The log's length where the epoch begins, and where it ends. */
  #startOf(epoch: Epoch): number {
    return this.#disk.entries
      .slice(0, epoch.first)
      .reduce((sum, { length, data }) => sum + 512 + (data === undefined ? 0 : length), 512);
  }

  #endOf(epoch: Epoch): number {
    return this.#startOf(epoch) + epoch.writes.reduce((sum, { length }) => sum + 512 + length, 512);
  }
}

/** A file of the boot partition as GRUB's own code reads it: without the file system's journal. */
export async function grubReads(disk: string, file: string): Promise<Buffer> {
  const args = [disk, 'cat', `(loop0,msdos1)${file}`];
  const { stdout } = await promisify(execFile)('grub-fstest', args, { encoding: 'buffer', maxBuffer: MIB }).catch(
    () => ({ stdout: Buffer.alloc(0) }),
  );
  return stdout;
}

/** What the node's own files say must agree with what is on the disk. */
async function problemsOf(
  persist: PersistImage,
  env: string,
  stateOfB: 'untouched' | 'part' | 'whole',
): Promise<string[]> {
  const problems = [...persist.problems];
  const journal = await persist.fields('/kubeos/journal');
  const slotB = await persist.fields('/kubeos/slot-B');
  const phase = journal?.get('phase');
  const left = journal?.get('armed_boot_id') ?? '';
  if (journal !== undefined && phase === undefined) problems.push('the journal is not whole');
  if (env.includes('next=B') && phase !== 'armed' && !(phase === 'verified' && left !== '')) {
    problems.push(`armed, but the journal says ${String(phase)}`);
  }
  if (stateOfB === 'part' && slotB?.get('state') !== 'dirty') {
    problems.push(`slot B is in part, but its record says ${String(slotB?.get('state'))}`);
  }
  return problems;
}

export const touches = ({ at, length }: LogEntry, area: keyof typeof AREAS): boolean =>
  length > 0 && at < AREAS[area].at + AREAS[area].length && at + length > AREAS[area].at;

const whole = (writes: readonly LogEntry[]) => writes.map((write) => ({ write, bytes: write.length }));
