import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { copyFile, constants, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { composeScript } from '../../src/remote/compose.ts';
import { quote } from '../../src/remote/quote.ts';
import { readGrubenv } from '../../src/lab/grubenv.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { diskOf } from './artifacts.ts';
import type { VmBed, VmNode } from './bed.ts';
import { PersistImage } from './persist.ts';
import { AREAS, grubReads, placeIn } from './power-cuts.ts';
import { ReplayedDisk } from './replay.ts';

const SCRIPTS = fileURLToPath(new URL('../../src/remote/scripts/', import.meta.url));
// As they were written: what runs on a node was made smaller first.
const textOf = (name: string): string => readFileSync(path.join(SCRIPTS, `${name}.sh`), 'utf8');
const LIBRARY = [
  'lib',
  ...readdirSync(SCRIPTS)
    .filter((name) => /^lib-.*\.sh$/.test(name))
    .map((name) => name.slice(0, -3)),
]
  .map(textOf)
  .join('\n');

const withLibrary = (own: string): string => `${LIBRARY}\n${own}`;

type Part = 'library' | 'stage' | 'write' | 'reboot';
type ProbeName = keyof typeof PROBES;

/** One fsync of the node scripts, by the text that is taken out, and the probe that must then fail. */
export interface Mutant {
  in: Part;
  /** Stands exactly once in that part. */
  take: string;
  put: string;
  probe: ProbeName;
}

/**
 * The fsyncs of the node scripts. What a probe has reported must be on the disk, whatever is not flushed. One is not
 * among them, since no cut can tell: the folder of the artifact is flushed once more with the artifact's record.
 */
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
    take: 'bs="$HEAD_BYTES" count=1 conv=notrunc,fsync',
    put: 'bs="$HEAD_BYTES" count=1 conv=notrunc',
    probe: 'head',
  },
  { in: 'stage', take: 'sync_path "$IMAGE.part"', put: ':', probe: 'stage' },
  { in: 'write', take: 'bs=4M conv=notrunc,fsync', put: 'bs=4M conv=notrunc', probe: 'write' },
  { in: 'reboot', take: 'then sync; fi', put: 'then :; fi', probe: 'reboot' },
];

const HEAD_BYTES = 4096;
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

interface Probing {
  bed: VmBed;
  node: VmNode;
  image: SystemImage;
  url: string;
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
  /** What is wrong with a disk on which only what had been flushed arrived. */
  judge: (disk: ReplayedDisk, probing: Probing) => Promise<string[]>;
}

const OWN = { run: 'probe', token: 1 };
const call = (library: string, main: string): string => `${library}\nmain() { ${main}; }\n{ main </dev/null; }\n`;
const step = (name: string, args: Record<string, string | number>): string =>
  composeScript(withLibrary(textOf(name)), { ...OWN, ...args });

const begin = ({ image }: Probing): string =>
  step('begin', {
    ...{ operation: 'upgrade', version: image.version, replaced: 'x', sha256: image.sha256, from: 'A', target: 'B' },
  });

const stage = ({ url, image, text }: Probing): string =>
  composeScript(withLibrary(text('stage')), {
    ...OWN,
    ...{ url, sha256: image.sha256, flagsafe: 'true', cacert: '', clientcert: '', clientkey: '' },
  });

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
    prepare: (probing) => `rm -rf /persist/KubeOS-Update /persist/kubeos/artifact; sync\n${begin(probing)}`,
    script: stage,
    judge: async (disk, { image }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      const sum = await persist.sha256('/KubeOS-Update/update.img');
      return sum === image.sha256 ? [] : ['the artifact is not whole'];
    },
  },
  write: {
    prepare: (probing) =>
      `dd if=/dev/zero of=/dev/vda3 bs=1M count=60 oflag=direct conv=fsync 2>/dev/null\n(\n${begin(probing)}\n)\n${stage({ ...probing, text: textOf })}`,
    script: ({ text }) => composeScript(`${text('library')}\n${text('write')}`, { ...OWN, target: 'B' }),
    judge: async (disk, { image }) => {
      const bytes = await readFile(image.path);
      const persist = await PersistImage.of(disk, AREAS.persist);
      const kept = await persist.bytes('/kubeos/head-B');
      const body = await disk.sha256(AREAS.B.at + HEAD_BYTES, image.bytes - HEAD_BYTES);
      return [
        ...(kept?.equals(bytes.subarray(0, HEAD_BYTES)) === true ? [] : ['the head of the image is not kept']),
        ...(body === sha256(bytes.subarray(HEAD_BYTES)) ? [] : ['slot B does not hold the rest of the image']),
      ];
    },
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
  reboot: {
    // The trial's checks and the reboot itself are not what is asked for here.
    script: ({ text, count }) =>
      `logger -t kubeos -- probe-${count}\n` +
      composeScript(withLibrary(`${text('reboot')}\ncheck_trial() { log probe-${count}; }\norder_reboot() { :; }\n`), {
        ...OWN,
        purpose: 'trial',
      }),
    judge: async (disk, { count }) => {
      const persist = await PersistImage.of(disk, AREAS.persist);
      const text = await persist.text('/var/log/messages');
      return text?.includes(`probe-${count}`) === true ? [] : ['the log does not hold what was logged'];
    },
  },
} satisfies Record<string, Probe>;

/** What a probe found, with a mutation or without. */
export interface ProbeFound {
  probe: ProbeName;
  mutant: Mutant | undefined;
  problems: string[];
}

/** Plays each probe as the scripts are, and each mutant several times, as something else may flush meanwhile. */
export async function probeFsyncs(bed: VmBed, node: VmNode, image: SystemImage, url: string): Promise<ProbeFound[]> {
  const played: { found: ProbeFound; probing: Probing; place: number }[] = [];
  const play = async (probe: ProbeName, mutant: Mutant | undefined): Promise<void> => {
    const probing = { bed, node, image, url, text: textWith(mutant), count: played.length + 1 };
    const { prepare, script }: Probe = PROBES[probe];
    if (prepare !== undefined) await node.ssh(prepare(probing));
    await node.ssh(script(probing));
    const place = await placeIn(node);
    played.push({ found: { probe, mutant, problems: [] }, probing, place });
  };
  for (const probe of Object.keys(PROBES) as ProbeName[]) await play(probe, undefined);
  for (const mutant of MUTANTS) {
    const times = mutant.probe === 'stage' || mutant.probe === 'write' ? 2 : 4;
    for (let time = 0; time < times; time++) await play(mutant.probe, mutant);
  }
  await node.machine.powerOff();
  const copy = path.join(bed.dir, 'probed.raw');
  await copyFile(await diskOf({ name: node.name, firmware: 'bios', style: 'label' }), copy, constants.COPYFILE_FICLONE);
  const disk = await ReplayedDisk.open(copy, node.machine.writeLog());
  try {
    for (const { found, probing, place } of played) {
      await disk.applyFlushed(place);
      found.problems.push(...(await PROBES[found.probe].judge(disk, probing)));
    }
  } finally {
    await disk.close();
  }
  return played.map(({ found }) => found);
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
