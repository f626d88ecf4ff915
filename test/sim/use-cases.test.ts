import { expect, test } from 'vitest';
import { reportInsecure } from '../../src/rollout/insecure.ts';
import { requestForRollback, requestForSpec, type RequestOptions } from '../../src/rollout/requests.ts';
import type { UpgradeSpec } from '../../src/validate/index.ts';
import { SimClient } from './client.ts';
import { digestOf, system } from './machine.ts';
import { give, UPGRADE } from './scenario.ts';
import { SimCluster } from './sim-cluster.ts';
import { SimRemote } from './sim-remote.ts';
import { SimWorld } from './world.ts';

const spec: UpgradeSpec = {
  opstype: 'upgrade',
  osversion: 'KubeOS 2.0.0',
  maxunavailable: 3,
  image: { type: 'disk', url: 'https://ann:secret@10.0.0.5/a.img', sha256: digestOf('KubeOS 2.0.0'), flagSafe: false },
  evictpodforce: true,
  nodeselector: { kind: 'no-label' },
};

test("an insecure address is written to the log of each node that is to be upgraded, and to no other's", async () => {
  const world = new SimWorld();
  world.addNode('worker-4', system('KubeOS 2.0.0'));
  world.fault('worker-2').refusesSsh = true;
  const client = new SimClient(world, 'run');
  const ports = { cluster: new SimCluster(client), remote: new SimRemote(client) };
  const report = await world.clock.run(reportInsecure(ports, spec, { includeControlPlane: false }, 'it is insecure'));
  expect(report).toEqual({
    told: ['worker-1', 'worker-3'],
    unreached: [{ node: 'worker-2', because: 'the node does not answer' }],
  });
  expect(world.logs).toEqual([
    { node: 'worker-1', message: 'it is insecure' },
    { node: 'worker-3', message: 'it is insecure' },
  ]);
});

test('a request from a spec: its budget, its force, its selector, and an address without its credentials', () => {
  const made = requestForSpec(spec, { ...UPGRADE, selection: { includeControlPlane: true } });
  expect(made).toMatchObject({
    goal: { operation: 'upgrade', version: 'KubeOS 2.0.0' },
    maxUnavailable: { kind: 'count', count: 1 },
    drain: { force: true, deleteEmptyDirData: true },
    selection: { includeControlPlane: true, nodeselector: { kind: 'no-label' } },
  });
  expect(JSON.stringify(made.image?.type === 'disk' ? made.image.shownUrl : '')).not.toContain('secret');
  const withoutFlag: RequestOptions = { ...UPGRADE, selection: { includeControlPlane: false } };
  delete withoutFlag.maxUnavailable;
  expect(requestForSpec(spec, withoutFlag).maxUnavailable).toEqual({ kind: 'count', count: 3 });
  expect(requestForRollback(withoutFlag, true)).toMatchObject({
    goal: { operation: 'rollback', toOtherSlot: true },
    maxUnavailable: { kind: 'count', count: 1 },
  });
});

test('a plan that refuses, or has nothing to do, takes no lock', async () => {
  const world = new SimWorld(['worker-1'], system('KubeOS 2.0.0'));
  const ran = await give(world);
  expect(ran.result?.exitCode).toBe(0);
  expect(world.lease.token).toBe(0);
  const major = {
    goal: { operation: 'upgrade' as const, version: 'KubeOS 3.0.0', toOtherSlot: false },
    allowMajor: false,
  };
  const refused = await give(new SimWorld(), { request: major });
  expect(refused.result).toMatchObject({ exitCode: 4, stopped: expect.stringContaining('major') as string });
});

test('a tag that is moved while a run lasts brings no node another image than the first one got', async () => {
  const reference = 'registry/kubeos:2.0.0';
  const sha256 = digestOf('KubeOS 2.0.0');
  const image = { type: 'docker' as const, artifact: { engine: 'docker' as const, reference, sha256 } };
  const world = new SimWorld();
  world.tags.set(reference, ['1'.repeat(64), '2'.repeat(64)]);
  const { result, events } = await give(world, { request: { image } });
  expect(result?.results.map(({ node, outcome, step }) => [node, outcome, step])).toEqual([
    ['worker-1', 'upgraded', undefined],
    ['worker-2', 'failed', 'stage'],
    ['worker-3', 'not started', undefined],
  ]);
  const told = events.flatMap((event) => (event.type === 'step-done' && event.step === 'stage' ? [event.detail] : []));
  expect(told).toEqual([expect.stringContaining(`out of the image sha256:${'1'.repeat(64)}`)]);
});

test('nodes that pulled at once, and got two images by one tag, do not both go on', async () => {
  const reference = 'registry/kubeos:2.0.0';
  const sha256 = digestOf('KubeOS 2.0.0');
  const image = { type: 'docker' as const, artifact: { engine: 'docker' as const, reference, sha256 } };
  const world = new SimWorld(['worker-1', 'worker-2']);
  world.tags.set(reference, ['1'.repeat(64), '2'.repeat(64)]);
  const pace = { canary: 0, maxUnavailable: { kind: 'count' as const, count: 2 }, maxFailures: 0 };
  const { result } = await give(world, { request: { image, ...pace } });
  expect(result?.results.map(({ outcome }) => outcome).sort()).toEqual(['failed', 'upgraded']);
});

test('every event of a run names a step of a node that was started, and the end comes last', async () => {
  const { events } = await give(new SimWorld());
  expect(events[0]?.type).toBe('rollout-started');
  expect(events.at(-1)?.type).toBe('rollout-done');
  const started = new Set<string>();
  for (const event of events) {
    if (event.type === 'node-started') started.add(event.node);
    if (event.type === 'step-started' || event.type === 'step-done') expect(started).toContain(event.node);
  }
  const steps = events.flatMap((event) =>
    event.type === 'step-done' && event.node === 'worker-1' ? [event.step] : [],
  );
  expect(steps).toEqual(['stage', 'write', 'verify', 'drain', 'arm', 'reboot', 'prove', 'commit', 'uncordon']);
  const at = events.map((event) => event.at);
  expect(at).toEqual([...at].sort((a, b) => a - b));
});
