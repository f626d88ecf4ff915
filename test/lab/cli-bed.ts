import { copyFile, constants, mkdir, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { RECORD_ANNOTATION } from '../../src/cluster/node-facts.ts';
import { catalogOf } from '../../src/lab/api/kinds.ts';
import type { KubeObject } from '../../src/lab/api/index.ts';
import type { JsonObject } from '../../src/lab/api/objects.ts';
import { makeGrubenv } from '../../src/lab/grubenv.ts';
import type { LabOptions } from '../../src/lab/lab.ts';
import { handOver } from '../../src/lab/node-tree.ts';
import { type SystemImage, buildSystemImage } from '../../src/lab/system-image.ts';
import { STEPS, type Step } from '../../src/rollout/steps.ts';
import { main } from '../../src/main.ts';
import { type Finished, type KubeosOptions, type LabBed, startBed, until } from './lab-bed.ts';

/** What `-o json` prints, as far as the tests look. */
export interface Doc {
  kind: string;
  exitCode: number;
  exitName: string;
  counts: Record<string, number>;
  nodes: NodeDoc[];
  entries: {
    node: string;
    canary: boolean;
    alreadyDown: boolean;
    notes: string[];
    via?: string;
    trust?: { basis: string };
  }[];
  already: { node: string; notes: string[] }[];
  leftOut: { node: string; because: string }[];
  notStarted: { node: string; findings: { what: string }[] }[];
  refusals: { what: string; reason?: string; next?: string }[];
  notes: { what: string }[];
  direction: string;
  maxUnavailable: number;
  stopped?: string;
  logDir?: string;
  standing?: string;
  lastRun?: { run: string; running: boolean; unfinished: string[]; holder: string };
  error: { name: string; what: string; reason?: string; next?: string };
}

export interface NodeDoc {
  node: string;
  outcome: string;
  /** What it runs at the end of a run. */
  now?: string;
  osVersion: string;
  active?: 'A' | 'B';
  state: string;
  nextBoot?: 'A' | 'B';
  deadManMs?: number;
  cordoned: boolean;
  ready: boolean;
  fallback?: { verdict: string; because: string };
  otherSlot?: { slot: string; content: string; version?: string; failedTrial: boolean };
  run?: { step: string; cordon: string; live: boolean };
  journal?: { phase: string; run: string };
  step?: string;
  what?: string;
  left?: string;
  reason?: string;
  next?: string;
  logTail: string[];
  noticed?: string[];
  problems: { what: string }[];
}

/** Fields of a spec to set; `undefined` takes the line away. */
export type SpecChanges = Readonly<Record<string, string | number | boolean | undefined>>;

/** A lab with the built kubeos, and what tests of whole commands need. */
export interface CliBed extends LabBed {
  /** An image that the lab's server has; made once. `name` tells two images of one version apart. */
  image(version: string, name?: string): Promise<SystemImage>;
  /** Writes a spec that leads to this version, and tells its path. */
  spec(version: string, changes?: SpecChanges, name?: string): Promise<string>;
  /** Runs a command with `-o json` and parses what it prints. */
  json(args: readonly string[], options?: KubeosOptions): Promise<Doc & { stderr: string }>;
  /** `kubeos status -o json`: one node's part. */
  look(node: string): Promise<NodeDoc>;
  /** The step that the run's annotation names. */
  stepOf(node: string): string | undefined;
  /** Resolves once the annotation names this step, or one after it. */
  untilStep(node: string, step: Step): Promise<void>;
  isCordoned(node: string): boolean;
  /** As `kubectl cordon` and `kubectl uncordon`. */
  cordon(node: string, cordoned: boolean): void;
  /** Brings nodes back to what they were when the lab began: slot A, nothing remembered, in service. */
  fresh(...nodes: string[]): Promise<void>;
}

const NODES = catalogOf('v1.34.4').byName('nodes');

/** A bed whose nodes have nothing to evict, unless told. */
export async function startCliBed(options: Partial<LabOptions> = {}): Promise<CliBed> {
  const bed = await startBed({ workers: 2, sampleWorkload: false, ...options });
  const { lab } = bed;
  const pristine = await keepPristine(bed);
  const images = new Map<string, Promise<SystemImage>>();
  const image = (version: string, name = version): Promise<SystemImage> => {
    const made = images.get(name) ?? makeImage(bed, version, name);
    images.set(name, made);
    return made;
  };
  const nodeObject = (name: string): KubeObject => {
    const found = lab.api.get('nodes', '', name);
    if (found === undefined) throw new Error(`the lab has no node ${name}`);
    return found;
  };
  const stepOf = (node: string): string | undefined => {
    const text = nodeObject(node).metadata.annotations?.[RECORD_ANNOTATION];
    return text === undefined ? undefined : (JSON.parse(text) as { step: string }).step;
  };
  const json = async (args: readonly string[], more?: KubeosOptions): Promise<Doc & { stderr: string }> => {
    const { stdout, stderr, code } = await bed.kubeos([...args, '-o', 'json'], more);
    const doc = JSON.parse(stdout) as Doc;
    if (doc.exitCode !== code) throw new Error(`it says exit ${doc.exitCode} and ends with ${String(code)}: ${stderr}`);
    return { ...doc, stderr };
  };
  return {
    ...bed,
    image,
    json,
    stepOf,
    spec: async (version, changes = {}, name = version) => {
      const { path: file, sha256 } = await image(version, name);
      const imageurl = `${lab.images.urls.https}/${path.basename(file)}`;
      return writeSpec(bed, { osversion: version, imageurl, checksum: sha256, ...changes });
    },
    look: async (node) => {
      const { nodes } = await json(['status']);
      return must(nodes.find((one) => one.node === node));
    },
    untilStep: (node, step) =>
      until(
        () => STEPS.indexOf(stepOf(node) as Step) >= STEPS.indexOf(step),
        () => `${node} never came to ${step}, but to ${String(stepOf(node))}`,
      ),
    isCordoned: (node) => nodeObject(node).spec?.['unschedulable'] === true,
    cordon: (node, cordoned) => {
      const { spec: before, ...rest } = nodeObject(node);
      const spec = { ...before, unschedulable: true };
      if (!cordoned) delete (spec as JsonObject)['unschedulable'];
      lab.api.store.replace(NODES, { ...rest, spec });
    },
    fresh: async (...names) => {
      await Promise.all(names.map((name) => makeFresh(bed, pristine, name)));
    },
  };
}

/** Runs a command line in this process: quick, for the many that end before they reach any node. One at a time. */
export async function runMain(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input = '',
): Promise<Finished> {
  const text = { stdout: '', stderr: '' };
  const sink = (which: keyof typeof text) => ({ write: (piece: string) => ((text[which] += piece), true) });
  const stdin = Readable.from([Buffer.from(input)]) as unknown as NodeJS.ReadStream;
  const before = process.env;
  // Where a flag's variable is read.
  process.env = { ...env };
  try {
    const code = await main(args, { stdin, stdout: sink('stdout'), stderr: sink('stderr'), env });
    return { code, signal: null, ...text };
  } finally {
    process.env = before;
  }
}

/** The value, which the test knows to be there. */
export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('it is not there');
  return value;
}

/** The one node of a result. */
export const nodeOf = (doc: Pick<Doc, 'nodes'>, name: string): NodeDoc =>
  must(doc.nodes.find(({ node }) => node === name));

/** Every line of a run's log folder, by file. */
export async function readLogs(dir: string): Promise<Record<string, string>> {
  const names = await readdir(dir);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(path.join(dir, name), 'utf8')] as const)),
  );
}

async function makeImage(bed: LabBed, version: string, name: string): Promise<SystemImage> {
  const out = path.join(bed.lab.paths.images, `${name.replaceAll(/[^\w.]+/g, '-')}-made.img`);
  return buildSystemImage({ version, out, sizeBytes: bed.lab.update.bytes });
}

let specs = 0;

async function writeSpec(bed: LabBed, changes: SpecChanges): Promise<string> {
  let text = await readFile(bed.lab.paths.spec, 'utf8');
  for (const [field, value] of Object.entries(changes)) {
    const line = new RegExp(`^  ${field}: .*\n`, 'm');
    const wanted = value === undefined ? '' : `  ${field}: ${value}\n`;
    text = line.test(text) ? text.replace(line, wanted) : text + wanted;
  }
  specs += 1;
  const file = path.join(bed.folder, `spec-${specs}.yaml`);
  await writeFile(file, text);
  return file;
}

async function keepPristine(bed: LabBed): Promise<string> {
  const folder = path.join(bed.folder, 'pristine');
  await mkdir(folder);
  const { machine } = must(bed.lab.nodes.at(-1));
  for (const slot of ['A', 'B'] as const) {
    await copyFile(machine.device(slot), path.join(folder, slot), constants.COPYFILE_FICLONE);
  }
  return folder;
}

async function makeFresh({ lab }: LabBed, pristine: string, name: string): Promise<void> {
  const node = lab.node(name);
  const { machine } = node;
  await lab.clearFault(name);
  await lab.setFault(name, 'power-off');
  for (const slot of ['A', 'B'] as const) await copyFile(path.join(pristine, slot), machine.device(slot));
  const persist = path.join(machine.root, 'persist');
  for (const entry of await readdir(persist)) await rm(path.join(persist, entry), { recursive: true });
  await truncate(path.join(machine.root, 'var/log/messages'), 0);
  await writeFile(machine.grubenv, makeGrubenv([['saved_entry', 'A']]));
  await handOver(machine.grubenv, machine.identity);
  await lab.clearFault(name);
  const bootId = (await readFile(path.join(machine.root, 'proc/sys/kernel/random/boot_id'), 'utf8')).trim();
  const reported = (): unknown => (lab.api.get('nodes', '', name)?.status?.['nodeInfo'] as { bootID: string }).bootID;
  await until(() => reported() === bootId);
  const { metadata, spec: before, ...rest } = must(lab.api.get('nodes', '', name));
  const left = Object.entries(metadata.annotations ?? {}).filter(([key]) => key !== RECORD_ANNOTATION);
  const annotations = Object.fromEntries(left);
  const spec = { ...before };
  delete spec['unschedulable'];
  lab.api.store.replace(NODES, { ...rest, metadata: { ...metadata, annotations }, spec });
}
