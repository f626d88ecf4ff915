import { expect, test } from 'vitest';
import { nodeSchema, readRecord, RECORD_ANNOTATION, toClusterNode } from '../../../src/cluster/node-facts.ts';

const annotated = (token: number): ReturnType<typeof readRecord> => {
  const record = { run: 'r', token, operation: 'upgrade', version: 'KubeOS 2.0.0', step: 'stage', cordon: 'none' };
  const annotations = { [RECORD_ANNOTATION]: JSON.stringify(record) };
  return readRecord(nodeSchema.parse({ metadata: { name: 'w', uid: 'u', resourceVersion: '1', annotations } }));
};

test('an annotation with a token that would use up all there are is not believed', () => {
  expect(annotated(1_000_000).record).toMatchObject({ token: 1_000_000 });
  expect(annotated(2 ** 31 - 1)).toEqual({ recordProblem: expect.stringContaining('token') as string });
});

const nodeWith = (status: object, spec: object = {}): ReturnType<typeof toClusterNode> =>
  toClusterNode(nodeSchema.parse({ metadata: { name: 'w', uid: 'u', resourceVersion: '1' }, spec, status }));

test('a kubelet is silent where the cluster does not know whether the node is Ready', () => {
  const ready = (status: string) => nodeWith({ conditions: [{ type: 'Ready', status }] }).kubeletSilent;
  expect([ready('True'), ready('False'), ready('Unknown'), nodeWith({}).kubeletSilent]).toEqual([
    undefined,
    undefined,
    true,
    undefined,
  ]);
});

test("only taints that keep pods away are told, and none of Kubernetes' own", () => {
  const taints = [
    { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' },
    { key: 'node.kubernetes.io/not-ready', effect: 'NoExecute' },
    { key: 'node.cloudprovider.kubernetes.io/uninitialized', effect: 'NoSchedule' },
    { key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' },
    { key: 'team', value: 'db', effect: 'NoExecute' },
    { key: 'soft', effect: 'PreferNoSchedule' },
    { key: 'repair', effect: 'NoSchedule' },
  ];
  expect(nodeWith({}, { taints }).taints).toEqual(['team=db:NoExecute', 'repair:NoSchedule']);
  expect(nodeWith({}).taints).toBeUndefined();
});
