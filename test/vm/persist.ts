import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ReplayedDisk } from './replay.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const ZEROES = Buffer.alloc(MIB);

/** The partition /persist as Linux finds it after a power cut: its file system's journal is replayed, on a copy. */
export class PersistImage {
  readonly #copy: string;
  /** What keeps it from being mounted. */
  readonly problems: readonly string[];

  private constructor(copy: string, problems: readonly string[]) {
    this.#copy = copy;
    this.problems = problems;
  }

  static async of(disk: ReplayedDisk, area: { at: number; length: number }): Promise<PersistImage> {
    const copy = `${disk.path}.persist`;
    await copyOut(disk, area, copy);
    const code = await run('e2fsck', ['-p', '-E', 'journal_only', copy]).then(
      () => 0,
      (error: unknown) => (error as { code: number }).code,
    );
    // 1: the journal was replayed, as a mount does it.
    return new PersistImage(copy, code > 1 ? [`/persist cannot be mounted (e2fsck ends with ${code})`] : []);
  }

  /** A file's bytes; undefined where it is not there. */
  async bytes(file: string): Promise<Buffer | undefined> {
    const options = { encoding: 'buffer', maxBuffer: 128 * MIB } as const;
    const { stdout, stderr } = await run('debugfs', ['-R', `cat ${file}`, this.#copy], options);
    return stderr.includes('File not found') ? undefined : stdout;
  }

  async text(file: string): Promise<string | undefined> {
    return (await this.bytes(file))?.toString('latin1');
  }

  async sha256(file: string): Promise<string | undefined> {
    const bytes = await this.bytes(file);
    return bytes === undefined ? undefined : createHash('sha256').update(bytes).digest('hex');
  }

  /** The `key=value` lines of a file; undefined where it is not there. A file without any gives an empty map. */
  async fields(file: string): Promise<ReadonlyMap<string, string> | undefined> {
    const lines = (await this.text(file))?.split('\n').filter((line) => line.includes('='));
    if (lines === undefined) return undefined;
    return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  }
}

/** With holes where there are zeroes: most of it. */
async function copyOut(disk: ReplayedDisk, area: { at: number; length: number }, out: string): Promise<void> {
  const file = await open(out, 'w');
  try {
    await file.truncate(area.length);
    for (let at = 0; at < area.length; at += MIB) {
      const bytes = await disk.read(area.at + at, MIB);
      if (!bytes.equals(ZEROES)) await file.write(bytes, 0, MIB, at);
    }
  } finally {
    await file.close();
  }
}
