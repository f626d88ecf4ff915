import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { startImageServer } from '../../src/lab/image-server.ts';
import { labPaths, writeSpec, writeSshFiles } from '../../src/lab/lab-files.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { ROOT } from '../lab/lab-bed.ts';
import { type Credentials, credentials } from './artifacts.ts';
import { startCluster } from './cluster.ts';
import { type BedNode, commandsIn, Node, type NodeBed, type NodeMachine } from './node.ts';

export interface BedOptions {
  /** worker-1 and so on; 1 unless told. */
  nodes?: number;
  /** The lab's unless told. */
  api?: 'real-if-there' | 'lab';
  /** How the nodes fetch images; http unless told: ciphers cost an emulated machine much. */
  scheme?: 'http' | 'https';
}

/** Nodes as the nodes of a cluster, an image server, and the built kubeos that reaches them by real SSH. */
export interface AssembledBed<M extends NodeMachine> extends NodeBed<BedNode<M>> {
  /** Serves the image from now on; its address as the nodes reach it. */
  serve(image: SystemImage): Promise<string>;
  /** Serves the image, and writes a spec that leads to it; what it says of itself unless told otherwise. */
  spec(image: SystemImage, says?: { version?: string }): Promise<string>;
}

/** Where the nodes of a bed stand. */
export interface Ground<M extends NodeMachine> {
  /** What the nodes call this machine. */
  host: string;
  /** Makes a port of this machine's 127.0.0.1 one of `host`, where it is not yet. */
  lead?: (port: number) => Promise<void>;
  /** What a command is run by that reaches the nodes, with its arguments. */
  through?: readonly string[];
  machine(node: Node<M>, place: Place): Promise<M & { stop(): Promise<void> }>;
}

export interface Place extends Credentials {
  /** The bed's folder. */
  dir: string;
  name: string;
  /** From 0 on. */
  index: number;
}

/** What is undone when a bed is given up, the last first. */
export type Undo = (() => Promise<unknown>)[];

/** Waits until all nodes are up. Needs the built CLI: `npm run build`. Whatever goes wrong, nothing is left behind. */
export async function assemble<M extends NodeMachine>(
  options: BedOptions,
  groundOf: (undo: Undo) => Promise<Ground<M>>,
): Promise<AssembledBed<M>> {
  if (!existsSync(path.join(ROOT, 'dist/main.js'))) throw new Error('kubeos is not built: npm run build');
  const undo: Undo = [];
  const stop = async (): Promise<void> => {
    for (const one of undo.splice(0).reverse()) await one();
  };
  try {
    return { ...(await assembleOn(options, await groundOf(undo), undo)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assembleOn<M extends NodeMachine>(
  options: BedOptions,
  ground: Ground<M>,
  undo: Undo,
): Promise<Omit<AssembledBed<M>, 'stop'>> {
  const dir = await mkdtemp(path.join(tmpdir(), 'kubeos-vm-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  const keys = await credentials();
  const paths = labPaths(dir);
  const cluster = await startCluster(options.api ?? 'lab');
  undo.push(() => cluster.stop());
  await ground.lead?.(portOf(/server: (\S+)/.exec(cluster.kubeconfig)?.[1] ?? must('the address of the API')));
  const images = await serveImages(options, ground, { dir, undo, pki: keys.pki });
  const nodes: Node<M>[] = [];
  for (let index = 0; index < (options.nodes ?? 1); index++) {
    const name = `worker-${index + 1}`;
    const node = new Node<M>(dir, name, cluster, ground.through);
    const machine = await ground.machine(node, { ...keys, dir, name, index });
    undo.push(() => machine.stop());
    node.machine = machine;
    nodes.push(node);
  }
  const entries = nodes.map(async ({ name, machine: { address, port } }) => {
    const [type = '', key = ''] = (await keys.hostKey(name)).publicLine.split(' ');
    return { name, address, port, hostKey: `${type} ${key}` };
  });
  await writeFile(paths.identity, keys.client.privateKey, { mode: 0o600 });
  await writeFile(paths.kubeconfig, cluster.kubeconfig, { mode: 0o600 });
  await writeSshFiles(paths, await Promise.all(entries));
  const commands = commandsIn(dir, ground.through);
  undo.push(() => commands.end());
  await Promise.all(nodes.map((node) => node.untilUp()));
  return {
    ...{ dir, cluster, nodes, ...images, start: commands.start, kubeos: (args) => commands.start(args).done },
    node: (name) => nodes.find((node) => node.name === name) ?? must(name),
  };
}

async function serveImages(
  { scheme = 'http' }: BedOptions,
  { host, lead }: Pick<Ground<NodeMachine>, 'host' | 'lead'>,
  { dir, undo, pki }: { dir: string; undo: Undo; pki: Credentials['pki'] },
): Promise<Pick<AssembledBed<NodeMachine>, 'serve' | 'spec'>> {
  const paths = labPaths(dir);
  await mkdir(paths.images);
  const images = await startImageServer({ folder: paths.images, pki });
  undo.push(() => images.close());
  await lead?.(portOf(images.urls[scheme]));
  const serve = async (image: SystemImage): Promise<string> => {
    const name = path.basename(path.dirname(image.path)) + path.basename(image.path).replace(/^root/, '');
    if (!existsSync(path.join(paths.images, name))) await symlink(image.path, path.join(paths.images, name));
    return `${images.urls[scheme].replace('127.0.0.1', host)}/${name}`;
  };
  const spec = async (image: SystemImage, says: { version?: string } = {}): Promise<string> => {
    const url = await serve(image);
    const named = { ...image, path: path.basename(url), version: says.version ?? image.version };
    await writeSpec(paths.spec, 'upgrade-disk.yaml', named, path.dirname(url));
    const text = await readFile(paths.spec, 'utf8');
    if (scheme === 'http') await writeFile(paths.spec, text.replace('flagSafe: false', 'flagSafe: true'));
    return paths.spec;
  };
  return { serve, spec };
}

const portOf = (url: string): number => Number(new URL(url).port);

function must(what: string): never {
  throw new Error(`it is not there: ${what}`);
}
