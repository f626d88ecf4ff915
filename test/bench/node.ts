import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { composeScript, type ScriptArguments } from '../../src/remote/compose.ts';
import { SCRIPTS, type StepScript } from '../../src/remote/scripts/index.ts';
import { file, serve } from '../scripts/image-server.ts';
import type { BenchOptions } from './main.ts';
import { watchMemory, type Peak } from './memory.ts';
import { median, spread, table, type Section } from './page.ts';
import { runOnNode, type Step } from './private-node.ts';
import { makeRaw, makeSystem, MIB, type Artifact } from './system.ts';

const IMAGE_MIB = 1024;
/** What KubeOS's own image tools make of each root partition, for an image of 1 GiB. */
const SLOT_TIMES = 2.5;
/** 50,000 files in 1 GiB. */
const MANY_PER_MIB = 48.9;
const AIM = { bare: 1.15, upstream: { raw: 0.75, tar: 0.5 }, memoryMib: 32 };

type Kind = 'raw' | 'tar';
const KINDS = ['raw', 'tar'] as const;
type Artifacts = Readonly<Record<Kind, Artifact>>;

/** One way to bring an image onto the slot. */
interface Way {
  name: string;
  steps: readonly Step[];
}

/**
 * stage, write and verify as a node runs them, against the same work in bare commands, and against the order of KubeOS's
 * own agent, which takes a tar only; in turn, round by round, on one node of loop devices.
 */
export async function node({ image = IMAGE_MIB, rounds, say }: BenchOptions): Promise<Section> {
  if (process.getuid?.() !== 0) throw new Error('this needs root, for loop devices and mounts of its own');
  const dir = await mkdtemp(join(tmpdir(), 'kubeos-bench-'));
  try {
    const manyFiles = Math.round(image * MANY_PER_MIB);
    say(`making a system for a raw image of ${image} MiB, and one of ${manyFiles} files`);
    const system = await makeSystem(await mkdtemp(join(dir, 'system-')), image * MIB);
    const many = await makeSystem(await mkdtemp(join(dir, 'many-')), image * MIB, manyFiles);
    const raw = await makeRaw(system, join(dir, 'system.img'), image * MIB);
    const artifacts = { raw, tar: system.tar };
    const served: Record<string, Artifact> = { '/raw': raw, '/tar': system.tar, '/many': many.tar };
    const server = await serve((request, response) => {
      file(served[request.url ?? '']?.file ?? '')(request, response);
    });
    try {
      const bed = { dir, slotMib: Math.round(image * SLOT_TIMES), persistMib: Math.round(image * SLOT_TIMES * 3), say };
      const taken = await race(await waysFor(system.version, artifacts, server.url), rounds, bed);
      const peaks = await memory(
        {
          raw: kubeosSteps(system.version, raw, `${server.url}/raw`),
          tar: kubeosSteps(system.version, system.tar, `${server.url}/tar`),
          many: kubeosSteps(many.version, many.tar, `${server.url}/many`),
        },
        bed,
      );
      return section({
        artifacts,
        members: [system.members, many.members],
        taken,
        peaks,
        rounds,
        image,
        slotMib: bed.slotMib,
      });
    } finally {
      await server.close();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

interface Bed {
  dir: string;
  slotMib: number;
  persistMib: number;
  say: (line: string) => void;
}

// ---------------------------------------------------------------------------------------------------------- the ways

/** Before each way: a node that knows of no image, and a slot whose blocks were all given back. */
const RESET = `cd "$FOLDER/root"
rm -rf persist/kubeos persist/KubeOS-Update run/kubeos
mkdir -p persist/KubeOS-Update run/kubeos
bytes=$(blockdev --getsize64 "$SLOT")
fallocate --punch-hole --length "$bytes" "$FOLDER/b.img"
fallocate --length "$bytes" "$FOLDER/b.img"
blockdev --flushbufs "$SLOT"
sync -f persist`;

/** A run's steps are jobs, which is where they note how far they are. */
const job: Step = { name: 'job', text: 'mkdir "$FOLDER/root/run/kubeos/job"', beside: true };

const MEASURED = ['stage', 'write', 'verify'] as const;
const reset: Step = { name: 'reset', text: RESET, beside: true };

function kubeosSteps(version: string, { sha256 }: Artifact, url: string): readonly Step[] {
  const assignment = { operation: 'upgrade', version, sha256, target: 'B' };
  const calls: readonly (readonly [StepScript, ScriptArguments])[] = [
    ['begin', { ...assignment, replaced: 'KubeOS 1.0.0', from: 'A' }],
    ['stage', { url, sha256, flagsafe: true }],
    ['write', { target: 'B' }],
    ['verify', assignment],
  ];
  const steps = calls.map(([script, args]) => ({
    name: script,
    text: composeScript(SCRIPTS[script], { run: 'bench', token: 1, ...args }),
  }));
  return [reset, ...steps.flatMap((step) => (step.name === 'begin' ? [step, job] : [step]))];
}

async function waysFor(version: string, artifacts: Artifacts, url: string): Promise<readonly Way[]> {
  const beside = async (script: string, kind: Kind): Promise<readonly Step[]> => {
    const given = `URL='${url}/${kind}'\nBYTES=${artifacts[kind].bytes}\nFILE=$FOLDER/root/persist/KubeOS-Update/file\n`;
    return [reset, { name: 'all', text: given + (await readFile(`test/bench/node/${script}`, 'utf8')), beside: true }];
  };
  return [
    { name: 'kubeos raw', steps: kubeosSteps(version, artifacts.raw, `${url}/raw`) },
    { name: 'bare raw', steps: await beside('bare-raw.sh', 'raw') },
    { name: 'kubeos tar', steps: kubeosSteps(version, artifacts.tar, `${url}/tar`) },
    { name: 'bare tar', steps: await beside('bare-tar.sh', 'tar') },
    { name: 'upstream tar', steps: await beside('upstream.sh', 'tar') },
  ];
}

// ------------------------------------------------------------------------------------------------------- the measuring

/** Milliseconds by the name of a way and of a step, a value a round. */
type Taken = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

/** A first round warms up. In every other round the ways go the other way round, since each finds what the last one left. */
async function race(ways: readonly Way[], rounds: number, { dir, slotMib, persistMib, say }: Bed): Promise<Taken> {
  const taken = new Map<string, Map<string, number[]>>(ways.map(({ name }) => [name, new Map()]));
  const queue = Array.from({ length: rounds + 1 }, (_, round) =>
    (round % 2 === 0 ? ways : [...ways].reverse()).map((way) => ({ ...way, round })),
  ).flat();
  let at = 0;
  let done = 0;
  let sum = 0;
  const onEnd = (step: Step, ms: number): void => {
    const way = queue[at];
    if (way === undefined) return;
    const counts = (MEASURED as readonly string[]).includes(step.name) || step.name === 'all';
    if (counts) sum += ms;
    if (counts && way.round > 0) {
      const steps = taken.get(way.name);
      steps?.set(step.name, [...(steps.get(step.name) ?? []), ms]);
    }
    if (++done < way.steps.length) return;
    say(`${way.round === 0 ? 'warming up' : `round ${way.round}`}: ${way.name} ${(sum / 1000).toFixed(2)} s`);
    [at, done, sum] = [at + 1, 0, 0];
  };
  const folder = await mkdtemp(join(dir, 'race-'));
  await runOnNode(
    queue.flatMap(({ steps }) => steps),
    { folder, slotMib, persistMib, onEnd },
  );
  await rm(folder, { recursive: true });
  return taken;
}

/** The peak of each measured step, by what is brought and by the step. */
type Peaks = Readonly<Record<string, Readonly<Record<string, Peak>>>>;

async function memory(
  runs: Readonly<Record<string, readonly Step[]>>,
  { dir, slotMib, persistMib, say }: Bed,
): Promise<Peaks> {
  const peaks: Record<string, Record<string, Peak>> = {};
  for (const [name, steps] of Object.entries(runs)) {
    let watch: ReturnType<typeof watchMemory> | undefined;
    const found: Record<string, Peak> = {};
    const folder = await mkdtemp(join(dir, 'memory-'));
    await runOnNode(steps, {
      ...{ folder, slotMib, persistMib },
      onBegin: (_, pid) => (watch = watchMemory(pid)),
      onEnd: (step) => {
        const peak = watch?.end();
        if (peak === undefined || !(MEASURED as readonly string[]).includes(step.name)) return;
        found[step.name] = peak;
        say(`memory of ${name}, ${step.name}: ${mib(peak.bytes)} MiB (KiB: ${peak.holders})`);
      },
    });
    peaks[name] = found;
    await rm(folder, { recursive: true });
  }
  return peaks;
}

const mib = (bytes: number): string => (bytes / MIB).toFixed(1);

// -------------------------------------------------------------------------------------------------------- the section

interface Found {
  artifacts: Artifacts;
  /** Of the tar that is raced, and of the one with many files. */
  members: readonly [number, number];
  taken: Taken;
  peaks: Peaks;
  rounds: number;
  image: number;
  slotMib: number;
}

function section({ artifacts, members: [members, many], taken, peaks, rounds, image, slotMib }: Found): Section {
  const steps = (way: string): ReadonlyMap<string, readonly number[]> => taken.get(way) ?? new Map();
  const seconds = (way: string): readonly number[] =>
    Array.from({ length: rounds }, (_, round) =>
      [...steps(way).values()].reduce((sum, values) => sum + (values[round] ?? Number.NaN) / 1000, 0),
    );
  const against = (kind: Kind, other: string): number => median(seconds(`kubeos ${kind}`)) / median(seconds(other));
  const ratios = KINDS.map((kind) => ({
    kind,
    bare: against(kind, `bare ${kind}`),
    upstream: against(kind, 'upstream tar'),
  }));
  const row = (kind: Kind): string[] => {
    const part = (step: string): string => (median(steps(`kubeos ${kind}`).get(step) ?? []) / 1000).toFixed(2);
    const ratio = ratios.find((one) => one.kind === kind);
    return [
      `${kind}, ${Math.round(artifacts[kind].bytes / MIB)} MiB`,
      `${spread(seconds(`kubeos ${kind}`))}: ${MEASURED.map(part).join(' + ')}`,
      spread(seconds(`bare ${kind}`)),
      spread(seconds('upstream tar')),
      (ratio?.bare ?? Number.NaN).toFixed(2),
      (ratio?.upstream ?? Number.NaN).toFixed(2),
    ];
  };
  const most = Math.max(...Object.values(peaks).flatMap((all) => Object.values(all).map(({ bytes }) => bytes))) / MIB;
  const memoryRow = (name: string, shown: string): string[] => [
    shown,
    ...MEASURED.map((step) => mib(peaks[name]?.[step]?.bytes ?? Number.NaN)),
  ];
  const judged = (value: number, aim: number): string =>
    `at most ${aim} (${value.toFixed(2)}: ${value <= aim ? 'reached' : 'missed'})`;
  const met =
    most <= AIM.memoryMib &&
    ratios.every(({ kind, bare, upstream }) => bare <= AIM.bare && upstream <= AIM.upstream[kind]);
  const text = [
    `\`npm run bench -- node --image ${image} --rounds ${rounds}\`: slots of ${slotMib} MiB, the tar of ${members} members; seconds, medians, and from the least to the most.`,
    '',
    table(
      ['image', 'kubeos: stage + write + verify', '(a) bare', '(b) upstream', 'kubeos / (a)', 'kubeos / (b)'],
      KINDS.map(row),
    ),
    '',
    ...ratios.map(
      ({ kind, bare, upstream }) =>
        `Aim, ${kind}: ${judged(bare, AIM.bare)} of (a), ${judged(upstream, AIM.upstream[kind])} of (b).`,
    ),
    '',
    'The most memory of a step, MiB:',
    '',
    table(
      ['image', ...MEASURED],
      [
        memoryRow('raw', `raw, ${Math.round(artifacts.raw.bytes / MIB)} MiB`),
        memoryRow('tar', `tar, ${members} members`),
        memoryRow('many', `tar, ${many} members`),
      ],
    ),
    '',
    `Aim: under ${AIM.memoryMib} MiB (${most.toFixed(1)}: ${most <= AIM.memoryMib ? 'reached' : 'missed'}).`,
  ].join('\n');
  return { name: 'node', text, met };
}
