import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { constants, copyFile, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { readGrubenv } from '../../src/lab/grubenv.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { composeScript } from '../../src/remote/compose.ts';
import { quote } from '../../src/remote/quote.ts';
import { diskOf } from './artifacts.ts';
import type { VmBed, VmNode } from './bed.ts';
import { LIBRARY, type Mutant, MUTANTS, type Part, textOf, withLibrary } from './mutants.ts';
import { PersistImage } from './persist.ts';
import { AREAS, grubReads, HEAD_BYTES, placeIn, touches } from './power-cuts.ts';
import { ReplayedDisk } from './replay.ts';
import type { LogEntry } from './write-log.ts';

export type ProbeName = keyof typeof PROBES;

const MIB = 1024 * 1024;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

interface Probing {
  image: SystemImage;
  url: string;
  /** The same image, compressed. */
  packed: { image: SystemImage; url: string };
  /** A script's text, with the mutation in it where there is one. */
  text: (part: Part) => string;
  /** Another one each time. */
  count: number;
}

interface Probe {
  /** Brings the node where the probe can show something, without any mutation. */
  prepare?: (probing: Probing) => string;
  /** What is run on the node: a script for its shell. */
  script: (probing: Probing) => string;
  /** What a cut may do wrong before these writes, the next that were flushed, are all on the disk. */
  during?: (disk: ReplayedDisk, writes: readonly LogEntry[], probing: Probing) => Promise<string[]>;
  /** What is wrong with a disk on which only what had been flushed arrived. */
  judge: (disk: ReplayedDisk, probing: Probing) => Promise<string[]>;
}

/** Nothing but the scripts flushes any more: file systems commit by themselves every few seconds. */
const QUIET = `set -e
for folder in /persist /boot/grub2; do mount -o remount,commit=100000 $folder; done
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
`;

const OWN = { run: 'probe', token: 1 };
const call = (library: string, main: string): string => `${library}\nmain() { ${main}; }\n{ main </dev/null; }\n`;
const step = (name: string, args: Record<string, string | number>): string =>
  composeScript(withLibrary(textOf(name)), { ...OWN, ...args });

const begin = ({ version, sha256 }: SystemImage): string =>
  step('begin', { operation: 'upgrade', version, replaced: 'x', sha256, from: 'A', target: 'B' });

const stage = (library: string, url: string, { sha256 }: SystemImage): string =>
  composeScript(`${library}\n${textOf('stage')}`, {
    ...OWN,
    ...{ url, sha256, flagsafe: 'true', cacert: '', clientcert: '', clientkey: '' },
  });

const WITHOUT_ARTIFACT = 'rm -rf /persist/KubeOS-Update /persist/kubeos/artifact; sync';
const EMPTY_SLOT = 'dd if=/dev/zero of=/dev/vda3 bs=1M count=9 oflag=direct conv=fsync 2>/dev/null';
/** A rename over an old file makes ext4 write out the new one by itself (auto_da_alloc); a first write has none to replace. */
const WITHOUT_HEAD = 'rm -f /persist/kubeos/head-B';
/** Each script ends its shell. */
const inTurn = (...scripts: string[]): string => scripts.map((script) => `(\n${script}\n)`).join('\n');

const readyToWrite = (image: SystemImage, url: string): string =>
  inTurn(EMPTY_SLOT, WITHOUT_HEAD, begin(image), stage(LIBRARY, url, image), 'sync');
const write = (text: Probing['text']): string =>
  composeScript(`${text('library')}\n${text('write')}`, { ...OWN, target: 'B' });

async function judgeBody(disk: ReplayedDisk, image: SystemImage): Promise<string[]> {
  const bytes = await readFile(image.path);
  const persist = await PersistImage.of(disk, AREAS.persist);
  const kept = await persist.bytes('/kubeos/head-B');
  const body = await disk.sha256(AREAS.B.at + HEAD_BYTES, bytes.length - HEAD_BYTES);
  return [
    ...(kept?.equals(bytes.subarray(0, HEAD_BYTES)) === true ? [] : ['the head of the image is not kept']),
    ...(body === sha256(bytes.subarray(HEAD_BYTES)) ? [] : ['slot B does not hold the rest of the image']),
  ];
}

/** A record of what was written, in the same epoch as what was: a cut may leave the record alone. */
function recordedTooEarly(writes: readonly LogEntry[]): string[] {
  const last = writes.findLastIndex((entry) => touches(entry, 'B'));
  const early = last >= 0 && writes.slice(last).some((entry) => touches(entry, 'persist'));
  return early ? ['something is recorded before slot B is flushed'] : [];
}

const FOREIGN = '# of somebody else\n';
const MANAGED_ENDS = '# kubeos managed boot: ends\n';

/**
 * GRUB, told of a managed trial, must find it, whatever a cut left of the writes; and a node that comes up must find the
 * old file or the new one, though its journal was committed at the worst moment.
 */
async function judgeManaged(disk: ReplayedDisk, writes: readonly LogEntry[]): Promise<string[]> {
  const found = new Set<string>();
  const boot = await PersistImage.of(disk, AREAS.boot);
  const kept = (await boot.text('/custom.cfg')) ?? 'none';
  if (kept !== FOREIGN && !isManaged(kept))
    found.add(`custom.cfg is neither the old nor the new one: ${kept.length} bytes`);
  const here = writes.filter((entry) => touches(entry, 'boot'));
  for (const one of here) {
    for (const left of [[one], here.filter((other) => other !== one)]) {
      await disk.tryOut(left.map((entry) => ({ write: entry, bytes: entry.length })));
      const trial = readGrubenv(await grubReads(disk.path, '/grubenv'))?.get('kubeos_trial');
      const custom = (await grubReads(disk.path, '/custom.cfg')).toString('latin1');
      await disk.restore();
      if (trial !== undefined && !isManaged(custom)) found.add('GRUB is told of a managed trial, and finds none');
    }
  }
  return [...found];
}

const isManaged = (text: string): boolean => text.startsWith(FOREIGN) && text.endsWith(MANAGED_ENDS);

/** As a file system's journal is committed every few seconds: right after a rename, say. */
const COMMIT_AFTER_RENAME = 'mv() { command mv "$@"; echo x >/boot/grub2/other; sync /boot/grub2/other; }; ';

function managedBoot(before: string): Probe {
  return {
    prepare: () =>
      `grub2-editenv /boot/grub2/grubenv unset kubeos_trial; rm -f /persist/kubeos/custom.cfg; echo '${FOREIGN.trimEnd()}' >/boot/grub2/custom.cfg; sync`,
    script: ({ text }) =>
      call(
        text('library'),
        // The node has no grub2-script-check.
        `${before}script_check() { echo true; }; mkdir -p "$RUN" "$STATE"; need_env; manage_boot true; write_env A B`,
      ),
    during: judgeManaged,
    judge: async (disk) => {
      const trial = readGrubenv(await grubReads(disk.path, '/grubenv'))?.get('kubeos_trial');
      return trial === 'B' ? [] : ['the environment does not name the trial'];
    },
  };
}

const PROBES = {
  'put file': {
    script: ({ text, count }) =>
      call(text('library'), `mkdir -p "$STATE"; put_file "$STATE/probe" ${quote(`value=${count}\n`)}`),
    judge: async (disk, { count }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      const value = (await persist.fields('/kubeos/probe'))?.get('value');
      return value === String(count) ? [] : [`the file says ${String(value)} instead of ${count}`];
    },
  },
  'remove file': {
    prepare: () => call(LIBRARY, 'mkdir -p "$STATE"; put_file "$STATE/probe" value=0'),
    script: ({ text }) => call(text('library'), 'remove_file "$STATE/probe"'),
    judge: async (disk) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      return (await persist.fields('/kubeos/probe')) === undefined ? [] : ['the file is still there'];
    },
  },
  environment: {
    prepare: ({ count }) => `grub2-editenv /boot/grub2/grubenv set probe=${count} next_entry=; sync`,
    script: ({ text }) => call(text('library'), 'mkdir -p "$RUN"; need_env; write_env A B'),
    judge: async (disk, { count }) => {
      const [env, backup] = [await grubReads(disk.path, '/grubenv'), await grubReads(disk.path, '/grubenv.bak')];
      const next = readGrubenv(env)?.get('next_entry');
      const kept = readGrubenv(backup);
      return [
        ...(next === 'B' ? [] : [`GRUB reads next_entry=${String(next)} instead of B`]),
        ...(kept?.get('probe') === String(count) && (kept.get('next_entry') ?? '') === ''
          ? []
          : ['the backup is not there']),
      ];
    },
  },
  stage: {
    prepare: ({ image }) => inTurn(WITHOUT_ARTIFACT, begin(image)),
    script: ({ text, url, image }) => stage(text('library'), url, image),
    judge: async (disk, { image }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      const sum = await persist.sha256('/KubeOS-Update/update.img');
      return sum === image.sha256 ? [] : ['the artifact is not whole'];
    },
  },
  write: {
    prepare: ({ image, url }) => readyToWrite(image, url),
    script: ({ text }) => write(text),
    judge: (disk, { image }) => judgeBody(disk, image),
  },
  'write compressed': {
    prepare: ({ packed }) => readyToWrite(packed.image, packed.url),
    script: ({ text }) => write(text),
    during: (_disk, writes) => Promise.resolve(recordedTooEarly(writes)),
    judge: (disk, { image }) => judgeBody(disk, image),
  },
  head: {
    script: ({ text, count }) =>
      call(
        text('library'),
        `mkdir -p "$RUN"; need_layout; echo probe-${count} >"$RUN/probe"; overwrite_head B "$RUN/probe"`,
      ),
    judge: async (disk, { count }) => {
      const head = await disk.read(AREAS.B.at, 16);
      return head.toString('latin1').startsWith(`probe-${count}\n`) ? [] : ['slot B does not have the head'];
    },
  },
  'managed boot': managedBoot(''),
  'managed boot, then a commit': managedBoot(COMMIT_AFTER_RENAME),
  'managed boot removed': {
    prepare: () =>
      `rm -f /persist/kubeos/custom.cfg\n${call(LIBRARY, ': >/boot/grub2/custom.cfg; mkdir -p "$RUN"; need_env; manage_boot true')}\nsync`,
    script: ({ text }) => call(text('library'), 'mkdir -p "$RUN"; need_env; remove_managed'),
    judge: async (disk) => {
      const boot = await PersistImage.of(disk, AREAS.boot);
      return (await boot.bytes('/custom.cfg')) === undefined ? [] : ['custom.cfg is still there'];
    },
  },
  reboot: {
    // The trial's checks and the reboot itself are not what is asked for here.
    script: ({ text, count }) =>
      `logger -t kubeos -- probe-${count}\n` +
      composeScript(
        `${text('library')}\n${text('reboot')}\ncheck_trial() { log probe-${count}; }\norder_reboot() { :; }\n`,
        { ...OWN, purpose: 'trial' },
      ),
    judge: async (disk, { count }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      const text = await persist.text('/var/log/messages');
      return text?.includes(`probe-${count}`) === true ? [] : ['the log does not hold what was logged'];
    },
  },
  'forced reboot': {
    // Neither orderly way is there, and the forced ones are not taken.
    script: ({ text, count }) =>
      call(
        text('library'),
        `systemctl() { return 1; }; reboot() { return 1; }; logger() { :; }; echo probe-${count} >/persist/probe; eval "$REBOOT"`,
      ),
    judge: async (disk, { count }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      return (await persist.text('/probe')) === `probe-${count}\n` ? [] : ['what was written is not there'];
    },
  },
} satisfies Record<string, Probe>;

/** What a probe found, with a mutation or without. */
export interface ProbeFound {
  probe: ProbeName;
  mutant: Mutant | undefined;
  problems: string[];
}

/** Plays each probe as the scripts are, and once for each mutant. */
export async function probeFsyncs(bed: VmBed, node: VmNode): Promise<ProbeFound[]> {
  const image = await smallImage(bed);
  const url = await bed.serve(image);
  const packed = await packedOf(bed, image);
  const played: { found: ProbeFound; probing: Probing; from: number; place: number }[] = [];
  const play = async (probe: ProbeName, mutant: Mutant | undefined): Promise<void> => {
    const probing = { image, url, packed, text: textWith(mutant), count: played.length + 1 };
    const { prepare, script }: Probe = PROBES[probe];
    if (prepare !== undefined) await node.ssh(prepare(probing));
    const from = await placeIn(node);
    await node.ssh(script(probing));
    played.push({ found: { probe, mutant, problems: [] }, probing, from, place: await placeIn(node) });
  };
  await node.ssh(QUIET);
  for (const probe of Object.keys(PROBES) as ProbeName[]) await play(probe, undefined);
  for (const mutant of MUTANTS) await play(mutant.probe, mutant);
  await node.machine.powerOff();
  const copy = path.join(bed.dir, 'probed.raw');
  await copyFile(await diskOf({ name: node.name, firmware: 'bios', style: 'label' }), copy, constants.COPYFILE_FICLONE);
  const disk = await ReplayedDisk.open(copy, node.machine.writeLog());
  try {
    for (const { found, probing, from, place } of played) {
      const { during, judge }: Probe = PROBES[found.probe];
      await disk.applyFlushed(from);
      await disk.applyFlushed(place, async (writes) => {
        if (during !== undefined) found.problems.push(...(await during(disk, writes, probing)));
      });
      found.problems.push(...(await judge(disk, probing)));
    }
  } finally {
    await disk.close();
  }
  return played.map(({ found }) => found);
}

/**
 * Nobody boots it: a file system, and bytes that no disk has by itself. Behind its head it is as long as some of dd's
 * blocks: GNU dd forces a last one that is shorter to the disk unasked (its iwrite, where it writes with O_DIRECT).
 */
async function smallImage(bed: VmBed): Promise<SystemImage> {
  const folder = path.join(bed.dir, 'small');
  const file = path.join(folder, 'root.img');
  await mkdir(path.join(folder, 'tree'), { recursive: true });
  await writeFile(path.join(folder, 'tree/bytes'), randomBytes(3 * MIB));
  await writeFile(file, '');
  const bytes = HEAD_BYTES + 8 * MIB;
  await truncate(file, bytes);
  await promisify(execFile)('mkfs.ext4', ['-q', '-F', '-b', '4096', '-d', path.join(folder, 'tree'), file]);
  return { path: file, version: 'KubeOS 1.1.0', sha256: sha256(await readFile(file)), bytes };
}

async function packedOf(bed: VmBed, image: SystemImage): Promise<Probing['packed']> {
  const file = path.join(bed.dir, 'packed/root.img');
  await mkdir(path.dirname(file));
  const bytes = await promisify(gzip)(await readFile(image.path), { level: 1 });
  await writeFile(file, bytes);
  const packed = { ...image, path: file, sha256: sha256(bytes), bytes: bytes.length };
  return { image: packed, url: await bed.serve(packed) };
}

function textWith(mutant: Mutant | undefined): Probing['text'] {
  return (part) => {
    const text = part === 'library' ? LIBRARY : textOf(part);
    if (mutant?.in !== part) return text;
    const pieces = text.split(mutant.take);
    if (pieces.length !== 2) throw new Error(`not once in ${part}: ${mutant.take}`);
    return pieces.join(mutant.put);
  };
}
