import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ProbeName } from './fsyncs.ts';

const SCRIPTS = fileURLToPath(new URL('../../src/remote/scripts/', import.meta.url));

/** A script by its name, as it was written: what runs on a node was made smaller first. */
export const textOf = (name: string): string => readFileSync(path.join(SCRIPTS, `${name}.sh`), 'utf8');

export const SCRIPT_NAMES: readonly string[] = readdirSync(SCRIPTS)
  .filter((name) => name.endsWith('.sh'))
  .map((name) => name.slice(0, -3));

export const LIBRARY = SCRIPT_NAMES.filter((name) => /^lib(-.*)?$/.test(name))
  .sort((one, other) => Number(other === 'lib') - Number(one === 'lib'))
  .map(textOf)
  .join('\n');

export const withLibrary = (own: string): string => `${LIBRARY}\n${own}`;

export type Part = 'library' | 'write' | 'reboot';

/** One fsync of the node scripts, by the text that is taken out, and the probe that must then fail. */
export interface Mutant {
  in: Part;
  /** Stands exactly once in that part. */
  take: string;
  put: string;
  probe: ProbeName;
}

/** The fsyncs of the node scripts. What a probe has reported must be on the disk, whatever is not flushed. */
export const MUTANTS: readonly Mutant[] = [
  { in: 'library', take: 'dd of="$1.new" conv=fsync', put: 'dd of="$1.new"', probe: 'put file' },
  {
    in: 'library',
    take: `die state "cannot replace $1"\n\tsync_path "\${1%/*}"`,
    put: 'die state "cannot replace $1"',
    probe: 'put file',
  },
  {
    in: 'library',
    take: `die state "cannot remove $1"\n\tsync_path "\${1%/*}"`,
    put: 'die state "cannot remove $1"',
    probe: 'remove file',
  },
  {
    in: 'library',
    take: `die boot-environment "cannot write $ENV_PATH.bak"\n\tsync_file_system "$file"`,
    put: 'die boot-environment "cannot write $ENV_PATH.bak"',
    probe: 'environment',
  },
  {
    in: 'library',
    take: 'bs=1024 count=1 conv=notrunc,fsync',
    put: 'bs=1024 count=1 conv=notrunc',
    probe: 'environment',
  },
  { in: 'library', take: 'of="$kept.new" conv=fsync', put: 'of="$kept.new"', probe: 'write' },
  {
    in: 'library',
    take: `die state "cannot replace $kept"\n\tsync_path "$STATE"`,
    put: 'die state "cannot replace $kept"',
    probe: 'write',
  },
  {
    in: 'library',
    take: 'bs="$HEAD_BYTES" count=1 conv=notrunc,fsync',
    put: 'bs="$HEAD_BYTES" count=1 conv=notrunc',
    probe: 'head',
  },
  { in: 'library', take: 'sync_path "$IMAGE.part"', put: ':', probe: 'stage' },
  { in: 'write', take: 'bs=4M conv=notrunc,fsync', put: 'bs=4M conv=notrunc', probe: 'write' },
  {
    in: 'library',
    take: '4194304))" conv=notrunc,fsync',
    put: '4194304))" conv=notrunc',
    probe: 'write compressed',
  },
  { in: 'library', take: 'sync_file_system "$2.new"', put: ':', probe: 'managed boot, then a commit' },
  { in: 'library', take: 'sync_file_system "$2" ||', put: ': ||', probe: 'managed boot' },
  { in: 'library', take: 'sync_file_system "${file%/*}"', put: ':', probe: 'managed boot removed' },
  { in: 'library', take: 'sync >/dev/null 2>&1 9>&- &', put: ': &', probe: 'reboot' },
  { in: 'library', take: '\tsync &\n', put: '\t: &\n', probe: 'forced reboot' },
];

/** The others, by a text that stands exactly once in all scripts, and why no cut can tell whether they are there. */
export const NOT_TOLD: readonly { take: string; because: string }[] = [
  {
    take: 'sync_path "$UPDATE"',
    because: "the journal of /persist is forced to the disk once more with the artifact's record",
  },
  { take: 'gentle sync "$@"', because: 'it only begins early what the flush at the end completes' },
  {
    take: 'sync -f "$RUN/mount"',
    because: 'it waits for what another one began, so that the slot can be unmounted; nothing is reported after it',
  },
  {
    take: 'sync_file_system "$SLOT_ROOT"',
    because: 'the unmounting behind it writes the same; here an error still has somebody whom it is told',
  },
  {
    take: 'sync_path "$(slot_path "$TARGET")"',
    because: 'an ext4 that is unmounted has flushed its disk by itself; not every file system promises it',
  },
];
