import { afterEach, describe } from 'vitest';
import type { BedNodeChange, BedNodeState, ClusterBed } from '../contract/cluster-bed.ts';
import { describeLock } from '../contract/cluster-lock-suite.ts';
import { describeMarks, describeNodes, describeWatch, type ClusterSetup } from '../contract/cluster-suite.ts';
import { SimClient } from './client.ts';
import { system } from './machine.ts';
import { SimCluster } from './sim-cluster.ts';
import { NO_LEASE, SimWorld, type SimNode } from './world.ts';

/** As much of a bed as nodes, marks, watches and the lock need: the drains of simulated pods are simpler than real ones. */
type SimBed = Omit<
  ClusterBed,
  'addPod' | 'deletePod' | 'endPod' | 'podsOn' | 'addDaemonSet' | 'addBudget' | 'allowDisruptions'
>;

function makeBed(): SimBed {
  const world = new SimWorld([]);
  const stop = world.clock.runAlways();
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const edit = async (act: () => void): Promise<void> => {
    act();
    world.changed();
    await turn();
  };
  return {
    connect: (options) => {
      const cluster = new SimCluster(new SimClient(world, 'bed'), (options?.lockSeconds ?? 60) * 1000);
      return Promise.resolve(Object.assign(cluster, { disconnect: () => Promise.resolve() }));
    },
    addNode: ({ name, address = '10.0.0.1', ...change }) =>
      edit(() => {
        const node = world.addNode(name, system('KubeOS 1.0.0'));
        node.addresses = [
          { type: 'InternalIP', address },
          { type: 'Hostname', address: name },
        ];
        node.bootId = `boot-of-${name}`;
        node.notReadyBecause = 'KubeletNotReady: container runtime is down';
        node.lease = { mark: undefined };
        apply(node, change);
      }),
    changeNode: (name, change) => edit(() => apply(world.node(name), change)),
    removeNode: (name) => edit(() => world.nodes.delete(name)),
    readNode: (name) => Promise.resolve(stateOf(world.node(name))),
    addOsResource: (os) => edit(() => world.osResources.push(os)),
    beat: (name, renewedAt) => edit(() => (world.node(name).lease = { mark: String(renewedAt) })),
    readLock: () => {
      const { holder, held, token, durationMs, renewedAt } = world.lease;
      const lock = { holder: held ? holder : '', token, durationSeconds: durationMs / 1000, renewedAt };
      return Promise.resolve(token === 0 ? undefined : lock);
    },
    writeLock: ({ holder, token, durationSeconds, renewedAt }) =>
      edit(() => {
        const durationMs = durationSeconds * 1000;
        world.lease = { ...world.lease, holder, held: holder !== '', token, durationMs, renewedAt };
      }),
    now: () => Promise.resolve(world.clock.now()),
    annotateLock: () => edit(() => undefined),
    deleteLock: () => edit(() => (world.lease = { ...NO_LEASE })),
    clear: () => edit(() => world.nodes.clear()),
    close: () => {
      stop();
      return Promise.resolve();
    },
  };
}

function apply(node: SimNode, { labels, annotations, unschedulable, ready, osImage }: BedNodeChange): void {
  node.labels = merge(node.labels, labels);
  node.annotations = merge(node.annotations, annotations);
  node.cordoned = unschedulable ?? node.cordoned;
  node.ready = ready ?? node.ready;
  node.osImage = osImage ?? node.osImage;
}

function merge(old: Record<string, string>, change: Record<string, string | null> = {}): Record<string, string> {
  const merged = Object.entries({ ...old, ...change }).filter((entry): entry is [string, string] => entry[1] !== null);
  return Object.fromEntries(merged);
}

const stateOf = ({ cordoned, labels, annotations }: SimNode): BedNodeState => ({
  unschedulable: cordoned,
  labels,
  annotations: { ...annotations },
  taints: [],
});

describe('cluster: the simulated one', () => {
  let bed: SimBed | undefined;
  const made = (): SimBed => (bed ??= makeBed());
  const setup: ClusterSetup = {
    bed: () => made() as ClusterBed,
    connect: (options) => made().connect(options),
  };
  afterEach(async () => {
    await bed?.close();
    bed = undefined;
  });

  describeNodes(setup);
  describeMarks(setup);
  describeWatch(setup);
  describeLock(setup);
});
