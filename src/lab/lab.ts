import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Deny, type LabApi, startApi } from './api/index.ts';
import { type ClientEnd, nodeOfClient } from './client-node.ts';
import type { FaultKind } from './faults.ts';
import type { LabGate } from './gate.ts';
import { assertReachable, nodeIdentity } from './identity.ts';
import { type DownloadFault, type ImageServer, startImageServer } from './image-server.ts';
import { writeInside } from './inside.ts';
import { type LabPaths, type SshEntry, labPaths, writeEnv, writeSpec, writeSshFiles } from './lab-files.ts';
import { makeLabFolder } from './lab-folder.ts';
import { type LabImageOptions, buildLabImages } from './lab-images.ts';
import { LabNode, type LabNodeStatus, type NodeTimings } from './lab-node.ts';
import { type MachineOptions, createMachine } from './machine.ts';
import { type Pki, makePki } from './pki.ts';
import { addSampleWorkload, blockDrain, unblockDrain } from './sample-workload.ts';
import { serverVersion } from './server-version.ts';
import { makeKeyPair } from './ssh-server.ts';
import type { SystemImage } from './system-image.ts';
import { assertLabCanRun, installNodeTools } from './tools.ts';
import { PreflightError } from '../errors.ts';

export interface LabOptions extends LabImageOptions {
  /** The lab's folder; made where it is missing. */
  dir: string;
  /** How many workers, beside the one control plane; 5 unless told. */
  workers?: number;
  timings?: Partial<NodeTimings>;
  /** Pods, budgets and a DaemonSet to drain; true unless told. */
  sampleWorkload?: boolean;
  firmware?: MachineOptions['firmware'];
  /** Which rights the API refuses; none unless told. */
  deny?: Deny;
  /** Where all commands and requests stop: for tests. */
  gate?: LabGate;
  /** Where a line about what happens in the lab goes. */
  log?: (line: string) => void;
}

export interface LabStatus {
  dir: string;
  nodes: readonly LabNodeStatus[];
}

/** A running lab. */
export interface Lab {
  readonly dir: string;
  readonly paths: LabPaths;
  readonly api: LabApi;
  readonly images: ImageServer;
  readonly pki: Pki;
  readonly update: SystemImage;
  /** Throws a PreflightError where there is no such node. */
  node(name: string): LabNode;
  readonly nodes: readonly LabNode[];
  status(): LabStatus;
  setFault(node: string, kind: FaultKind): Promise<void>;
  /** All faults of the node where no kind is given; a machine that is down is powered on. */
  clearFault(node: string, kind?: FaultKind): Promise<void>;
  /** Ends all its servers and every process of its nodes. The folder stays. */
  stop(): Promise<void>;
}

const DEFAULT_TIMINGS: NodeTimings = {
  shutdownMs: 200,
  bootMs: 1500,
  startMs: 500,
  heartbeatMs: 1000,
  graceMs: 5000,
};
const LOOK_MS = 50;
const MIB = 1024 * 1024;
const SLOW_BYTES_PER_SECOND = MIB;

/**
 * Starts a simulated cluster in this process. Rejects with a PreflightError where this machine cannot play one, and
 * leaves nothing running where it fails.
 */
export async function startLab(options: LabOptions): Promise<Lab> {
  await assertLabCanRun();
  const dir = path.resolve(options.dir);
  await makeLabFolder(dir);
  await assertReachable(dir, nodeIdentity());
  const undo: (() => Promise<void>)[] = [];
  try {
    return await assemble({ ...options, dir }, undo);
  } catch (error) {
    for (const one of undo.reverse()) await one();
    throw error;
  }
}

async function assemble(options: LabOptions, undo: (() => Promise<void>)[]): Promise<Lab> {
  const { dir } = options;
  const paths = labPaths(dir);
  const nodes: LabNode[] = [];
  await installNodeTools(paths.bin);
  const pki = await makePki(paths.pki);
  const systems = await buildLabImages(paths.images, options);
  const images = await startImageServer({
    folder: paths.images,
    pki,
    faultFor: (client) => downloadFault(nodes, client),
  });
  undo.push(() => images.close());
  const token = randomBytes(24).toString('hex');
  const tls = { key: pki.server.key, cert: pki.server.cert, ca: pki.ca };
  const api = await startApi({
    host: '127.0.0.1',
    tls,
    tokens: new Map([[token, 'kubernetes-admin']]),
    version: await serverVersion(),
    ...(options.deny === undefined ? {} : { deny: options.deny }),
    ...(options.gate === undefined ? {} : { gate: options.gate }),
  });
  undo.push(() => api.stop());
  const workers = options.workers ?? 5;
  const client = makeKeyPair('kubeos-lab');
  undo.push(() => stopAll(nodes));
  const entries = await startNodes({ options, paths, pki, api, nodes, system: systems.now, key: client.publicLine });
  if (options.sampleWorkload !== false) addSampleWorkload(api, workers);
  await writeFile(paths.identity, client.privateKey, { mode: 0o600 });
  await writeFile(paths.kubeconfig, api.kubeconfig(token), { mode: 0o600 });
  await writeSshFiles(paths, entries);
  await writeSpec(paths.spec, 'upgrade-disk.yaml', systems.update, images.urls.https);
  await writeSpec(paths.tarSpec, 'upgrade-tar.yaml', systems.tar, images.urls.https);
  await writeEnv(dir);
  const looking = setInterval(() => nodes.forEach((node) => node.look()), LOOK_MS);
  undo.push(() => {
    clearInterval(looking);
    return Promise.resolve();
  });
  return handle({ dir, paths, api, images, pki, update: systems.update, nodes }, undo);
}

type LabParts = Pick<Lab, 'dir' | 'paths' | 'api' | 'images' | 'pki' | 'update' | 'nodes'>;

function handle(parts: LabParts, undo: (() => Promise<void>)[]): Lab {
  const node = (name: string): LabNode => {
    const found = parts.nodes.find((one) => one.name === name);
    if (found !== undefined) return found;
    const names = parts.nodes.map((one) => one.name).join(', ');
    throw new PreflightError(`the lab has no node ${name}`, { next: `take one of these: ${names}` });
  };
  let stopped: Promise<void> | undefined;
  return {
    ...parts,
    node,
    status: () => ({ dir: parts.dir, nodes: parts.nodes.map((one) => one.status()) }),
    setFault: async (name, kind) => {
      await node(name).setFault(kind);
      if (kind === 'drain-blocked' || kind === 'drain-impossible') {
        blockDrain(parts.api, name, kind === 'drain-impossible');
        await parts.api.settled();
      }
    },
    clearFault: async (name, kind) => {
      await node(name).clearFault(kind);
      if (kind === undefined || kind === 'drain-blocked') unblockDrain(parts.api, name, false);
      if (kind === undefined || kind === 'drain-impossible') unblockDrain(parts.api, name, true);
    },
    stop: () => {
      stopped ??= (async () => {
        for (const one of [...undo].reverse()) await one();
      })();
      return stopped;
    },
  };
}

interface NodesSetup {
  options: LabOptions;
  paths: LabPaths;
  pki: Pki;
  api: LabApi;
  /** Filled with the nodes as they come up. */
  nodes: LabNode[];
  system: SystemImage;
  key: string;
}

async function startNodes(setup: NodesSetup): Promise<SshEntry[]> {
  const workers = setup.options.workers ?? 5;
  const names = ['cp-1', ...Array.from({ length: workers }, (_, index) => `worker-${index + 1}`)];
  const entries: SshEntry[] = [];
  for (const [index, name] of names.entries()) entries.push(await startNode(setup, name, index));
  return entries;
}

async function startNode(setup: NodesSetup, name: string, index: number): Promise<SshEntry> {
  const { options, paths, pki, api, nodes, system, key } = setup;
  const controlPlane = index === 0;
  // All of 127.0.0.0/8 is this machine: so each node has an address of its own, without anybody's leave.
  const address = `127.77.${(index + 10) >> 8}.${(index + 10) & 255}`;
  const host = makeKeyPair(name);
  const machine = await createMachine({
    dir: path.join(paths.nodes, name),
    system,
    slotBytes: Math.ceil((system.bytes * 1.25) / MIB) * MIB,
    ...(options.firmware === undefined ? {} : { firmware: options.firmware }),
  });
  for (const file of [pki.caFile, pki.client.certFile, pki.client.keyFile]) {
    const copy = path.join('etc/KubeOS/certs', path.basename(file));
    await writeInside(machine.root, copy, await readFile(file), { owner: machine.identity, mode: 0o600 });
  }
  const node = new LabNode({
    name,
    machine,
    binDir: paths.bin,
    address,
    hostKey: host.privateKey,
    authorizedKeys: [key],
    api,
    timings: { ...DEFAULT_TIMINGS, ...options.timings },
    ca: pki.ca,
    expiredCertificate: async () => {
      return (await pki.issue({ name: `expired-${name}`, purpose: 'client', expired: true })).cert;
    },
    log: options.log ?? (() => undefined),
    ...(options.gate === undefined ? {} : { gate: options.gate }),
    ...(controlPlane ? { onPower: (up: boolean) => (up ? api.resume() : api.pause()) } : {}),
  });
  nodes.push(node);
  const addresses = [{ type: 'InternalIP', address }];
  await node.start((info) => api.addNode({ name, addresses, architecture: 'amd64', controlPlane, ...info }));
  const [type = '', publicKey = ''] = host.publicLine.split(' ');
  return { name, address, port: node.ssh.port, hostKey: `${type} ${publicKey}` };
}

async function stopAll(nodes: readonly LabNode[]): Promise<void> {
  await Promise.all(nodes.map((node) => node.stop()));
}

/** What the image server is to do wrong for the node at the other end. */
async function downloadFault(nodes: readonly LabNode[], client: ClientEnd): Promise<DownloadFault | undefined> {
  const troubled = nodes.filter(({ faults }) =>
    faults.list().some((kind) => kind.endsWith('-download') || kind === 'download-cut'),
  );
  if (troubled.length === 0) return undefined;
  const dir = await nodeOfClient(
    client,
    troubled.map((node) => node.machine.dir),
  );
  const node = troubled.find((one) => one.machine.dir === dir);
  if (node === undefined) return undefined;
  return {
    corrupt: node.faults.strike('corrupt-download'),
    cut: node.faults.strike('download-cut'),
    ...(node.faults.strike('slow-download') ? { bytesPerSecond: SLOW_BYTES_PER_SECOND } : {}),
  };
}
