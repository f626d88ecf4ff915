import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { POD_ANNOTATIONS, type LabApi } from '../../src/lab/api/index.ts';
import { conditionOf, isReady, listAt, textAt, type KubeObject } from '../../src/lab/api/objects.ts';
import { ask, startLabServer, worker, type LabServer } from './api-client.ts';

let lab: LabServer;
let api: LabApi;
beforeEach(async () => {
  lab = await startLabServer();
  api = lab.api;
  for (const name of ['w-1', 'w-2']) api.addNode(worker(name));
});
afterEach(() => lab.close());

const pods = (): readonly KubeObject[] => api.list('pods', 'shop');
const nodesOf = (list: readonly KubeObject[]): string[] => list.map((pod) => textAt(pod, 'spec', 'nodeName')).sort();
const remove = (pod: string) => ask(lab.endpoint, 'DELETE', `/api/v1/namespaces/shop/pods/${pod}`);
const budget = (name: string) => api.get('poddisruptionbudgets', 'shop', name)?.status;

describe("the lab's pods", () => {
  test('are spread over the workers and kept off the control plane, but for those of a DaemonSet', async () => {
    api.addNode({ ...worker('cp-1'), controlPlane: true });
    api.addWorkload({ kind: 'ReplicaSet', namespace: 'shop', name: 'web', replicas: 4 });
    api.addWorkload({ kind: 'DaemonSet', namespace: 'kube-system', name: 'agent' });
    await api.settled();
    expect(nodesOf(pods())).toEqual(['w-1', 'w-1', 'w-2', 'w-2']);
    expect(nodesOf(api.list('pods', 'kube-system'))).toEqual(['cp-1', 'w-1', 'w-2']);
    expect(pods().every(isReady)).toBe(true);
    api.addNode(worker('w-3'));
    await api.settled();
    expect(nodesOf(api.list('pods', 'kube-system'))).toEqual(['cp-1', 'w-1', 'w-2', 'w-3']);
  });

  test('that are deleted are replaced on a node that may take them; a bare one is not', async () => {
    api.addWorkload({ kind: 'Deployment', namespace: 'shop', name: 'web', replicas: 2 });
    api.addPod({ namespace: 'shop', name: 'lone', node: 'w-1' });
    await api.settled();
    await ask(lab.endpoint, 'PATCH', '/api/v1/nodes/w-1', {
      ...{ body: { spec: { unschedulable: true } }, type: 'application/merge-patch+json' },
    });
    for (const pod of pods()) if (textAt(pod, 'spec', 'nodeName') === 'w-1') await remove(pod.metadata.name);
    await api.settled();
    expect(nodesOf(pods())).toEqual(['w-2', 'w-2']);
  });

  test('of a StatefulSet come back under their own name, apart from each other where they must', async () => {
    api.addWorkload({ kind: 'StatefulSet', namespace: 'shop', name: 'db', replicas: 3, spread: true });
    await api.settled();
    expect(pods().map((pod) => pod.metadata.name)).toEqual(['db-0', 'db-1', 'db-2']);
    const waiting = pods().find((pod) => textAt(pod, 'spec', 'nodeName') === '');
    expect(conditionOf(waiting!, 'PodScheduled')?.reason).toBe('Unschedulable');
    const before = api.get('pods', 'shop', 'db-0')?.metadata.uid;
    await remove('db-0');
    await api.settled();
    expect(api.get('pods', 'shop', 'db-0')?.metadata.uid).not.toBe(before);
  });

  test('end when they say so, at the latest with their grace period', async () => {
    const day = { [POD_ANNOTATIONS.endMs]: '86400000' };
    api.addPod({ namespace: 'shop', name: 'slow', node: 'w-1', annotations: day });
    api.addPod({ namespace: 'shop', name: 'short', node: 'w-1', annotations: day, terminationGracePeriodSeconds: 1 });
    await vi.waitFor(() => expect(pods().every(isReady)).toBe(true), 10_000);
    await Promise.all([remove('slow'), remove('short')]);
    await vi.waitFor(() => expect(api.get('pods', 'shop', 'short')).toBeUndefined(), 5000);
    expect(api.get('pods', 'shop', 'slow')?.metadata.deletionTimestamp).toBeDefined();
    expect(api.removeNow('pods', 'shop', 'slow')).toBe(true);
  });

  test('that are never Ready count in no budget', async () => {
    const annotations = { [POD_ANNOTATIONS.ready]: 'false' };
    api.addWorkload({ kind: 'ReplicaSet', namespace: 'shop', name: 'web', replicas: 2, annotations });
    api.addBudget({ namespace: 'shop', name: 'web', minAvailable: 1 });
    await api.settled();
    expect(budget('web')).toMatchObject({ currentHealthy: 0, desiredHealthy: 1, disruptionsAllowed: 0 });
  });
});

describe("the lab's nodes", () => {
  test('that fall silent take their pods out of service, and end no pod until they are back', async () => {
    api.addWorkload({ kind: 'ReplicaSet', namespace: 'shop', name: 'web', replicas: 2 });
    api.addBudget({ namespace: 'shop', name: 'web', maxUnavailable: 1 });
    await api.settled();
    expect(budget('web')).toMatchObject({ disruptionsAllowed: 1 });
    api.setNode('w-1', { ready: false });
    await api.settled();
    expect(budget('web')).toMatchObject({ currentHealthy: 1, disruptionsAllowed: 0 });
    const [lost] = pods().filter((pod) => textAt(pod, 'spec', 'nodeName') === 'w-1');
    expect(isReady(lost!)).toBe(false);
    await remove(lost!.metadata.name);
    await api.settled();
    expect(api.get('pods', 'shop', lost!.metadata.name)?.metadata.deletionTimestamp).toBeDefined();
    api.setNode('w-1', { ready: true, osImage: 'KubeOS 2.0.0', bootId: 'next' });
    await api.settled();
    expect(api.get('pods', 'shop', lost!.metadata.name)).toBeUndefined();
    expect(budget('web')).toMatchObject({ currentHealthy: 2, disruptionsAllowed: 1 });
    expect(api.get('nodes', '', 'w-1')?.status?.['nodeInfo']).toMatchObject({
      osImage: 'KubeOS 2.0.0',
      bootID: 'next',
    });
  });

  test('say why they are not ready, and bear the taints of it', async () => {
    const state = (name: string): unknown[] => {
      const node = api.get('nodes', '', name)!;
      const { status, reason } = conditionOf(node, 'Ready')!;
      return [status, reason, ...listAt(node, 'spec', 'taints').map((taint) => textAt(taint, 'key'))];
    };
    api.setNode('w-1', { ready: false });
    api.setNode('w-2', { ready: false, reason: 'KubeletNotReady', message: 'container runtime is down' });
    await api.settled();
    const [unreachable, notReady] = ['node.kubernetes.io/unreachable', 'node.kubernetes.io/not-ready'];
    expect(state('w-1')).toEqual(['Unknown', 'NodeStatusUnknown', unreachable, unreachable]);
    expect(state('w-2')).toEqual(['False', 'KubeletNotReady', notReady, notReady]);
    api.setNode('w-1', { ready: true });
    await api.settled();
    expect(state('w-1')).toEqual(['True', 'KubeletReady']);
  });

  test('beat: each renewal of the Lease is later than the last', () => {
    const renewed = (): string => textAt(api.get('leases', 'kube-node-lease', 'w-1'), 'spec', 'renewTime');
    const beats = [renewed()];
    for (let i = 0; i < 3; i++) {
      api.heartbeat('w-1');
      beats.push(renewed());
    }
    expect(beats).toEqual([...new Set(beats)].sort());
    expect(beats[0]).toMatch(/\.\d{6}Z$/);
  });

  test('that are removed take pods and Lease with them', async () => {
    api.addPod({ namespace: 'shop', name: 'lone', node: 'w-1' });
    await api.settled();
    api.removeNode('w-1');
    await api.settled();
    expect([pods(), api.get('leases', 'kube-node-lease', 'w-1')]).toEqual([[], undefined]);
  });
});

describe("the lab's budgets", () => {
  test.each([
    [{ minAvailable: 2 }, { expectedPods: 4, desiredHealthy: 2, disruptionsAllowed: 2 }],
    [{ minAvailable: '51%' }, { expectedPods: 4, desiredHealthy: 3, disruptionsAllowed: 1 }],
    [{ maxUnavailable: 1 }, { expectedPods: 4, desiredHealthy: 3, disruptionsAllowed: 1 }],
    [{ maxUnavailable: '30%' }, { expectedPods: 4, desiredHealthy: 2, disruptionsAllowed: 2 }],
    [{ maxUnavailable: 0 }, { expectedPods: 4, desiredHealthy: 4, disruptionsAllowed: 0 }],
    [{ minAvailable: 9 }, { expectedPods: 4, desiredHealthy: 9, disruptionsAllowed: 0 }],
  ])('%j over four healthy pods', async (rule, status) => {
    api.addWorkload({ kind: 'ReplicaSet', namespace: 'shop', name: 'web', replicas: 4 });
    api.addBudget({ namespace: 'shop', name: 'web', ...rule });
    await api.settled();
    expect(budget('web')).toMatchObject({ currentHealthy: 4, ...status });
  });
});
