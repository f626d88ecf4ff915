import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RECORD_ANNOTATION } from '../../src/cluster/node-facts.ts';
import { startApi } from '../../src/lab/api/index.ts';
import { makePki } from '../../src/lab/pki.ts';
import { serverVersion } from '../../src/lab/server-version.ts';
import { newestRealApi, startRealApi } from '../contract/envtest.ts';
import { Kubelets } from '../contract/kubelets.ts';
import { ask, type Endpoint, type Status } from '../lab/api-client.ts';

/** What a node's kubelet tells the API server when it comes up. */
export interface Booted {
  name: string;
  address: string;
  bootId: string;
  osImage: string;
  kernelVersion: string;
  ready: boolean;
}

export interface NodeState {
  osImage: string;
  ready: boolean;
  cordoned: boolean;
  /** The step of the run's annotation; undefined where there is none. */
  step: string | undefined;
}

/** A cluster whose nodes are virtual machines: an API server, and stand-ins for their kubelets. */
export interface VmCluster {
  /** A kubeconfig's text. */
  readonly kubeconfig: string;
  boot(node: Booted): Promise<void>;
  /** Nothing is heard of the node from now on. */
  lose(name: string): void;
  node(name: string): Promise<NodeState>;
  stop(): Promise<void>;
}

/** The newest real API server that KUBEBUILDER_ASSETS names where it names one, else the lab's. */
export async function startCluster(kind: 'real-if-there' | 'lab'): Promise<VmCluster> {
  const newest = kind === 'lab' ? undefined : newestRealApi();
  return newest === undefined ? startLabCluster() : startRealCluster(newest.assets);
}

async function startRealCluster(assets: string): Promise<VmCluster> {
  const api = await startRealApi(assets, { controllers: true });
  const kubelets = new Kubelets({ url: api.url, token: api.token('admin') });
  return {
    kubeconfig: await readFile(await api.kubeconfig('admin'), 'utf8'),
    boot: (node) => kubelets.boot(node),
    lose: (name) => kubelets.lose(name),
    node: (name) => stateOf({ url: api.url, token: api.token('admin') }, name),
    stop: async () => {
      await kubelets.stop();
      await api.close();
    },
  };
}

const BEAT_MS = 1000;

async function startLabCluster(): Promise<VmCluster> {
  const folder = await mkdtemp(path.join(tmpdir(), 'kubeos-vm-api-'));
  const { ca, server } = await makePki(folder);
  const tls = { key: server.key, cert: server.cert, ca };
  const tokens = new Map([['t', 'kubernetes-admin']]);
  const api = await startApi({ host: '127.0.0.1', tls, tokens, version: await serverVersion() });
  const alive = new Set<string>();
  const beating = setInterval(() => alive.forEach((name) => api.heartbeat(name)), BEAT_MS);
  return {
    kubeconfig: api.kubeconfig('t'),
    boot: (node) => {
      const { name, address, ready, ...said } = node;
      if (api.get('nodes', '', name) === undefined) {
        api.addNode({ name, addresses: [{ type: 'InternalIP', address }], architecture: 'amd64', ...said });
      }
      api.setNode(name, { ...said, ready, ...(ready ? {} : { reason: 'KubeletNotReady' }) });
      api.heartbeat(name);
      alive.add(name);
      return Promise.resolve();
    },
    lose: (name) => {
      if (alive.delete(name)) api.setNode(name, { ready: false });
    },
    node: (name) => stateOf({ url: api.url, ca, token: 't' }, name),
    stop: async () => {
      clearInterval(beating);
      await api.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function stateOf(api: Endpoint, name: string): Promise<NodeState> {
  const { code, json, text } = await ask(api, 'GET', `/api/v1/nodes/${name}`);
  if (code !== 200) throw new Error(`node ${name}: HTTP ${code}: ${text.slice(0, 300)}`);
  const { metadata, spec, status }: Status = json;
  const { nodeInfo, conditions } = status as {
    nodeInfo: { osImage: string };
    conditions?: { type: string; status: string }[];
  };
  const record = metadata?.annotations?.[RECORD_ANNOTATION];
  return {
    osImage: nodeInfo.osImage,
    ready: conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') === true,
    cordoned: spec?.['unschedulable'] === true,
    step: record === undefined ? undefined : (JSON.parse(record) as { step: string }).step,
  };
}
