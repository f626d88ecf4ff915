import { expect, test } from 'vitest';
import { nodeSchema, readRecord, RECORD_ANNOTATION } from '../../../src/cluster/node-facts.ts';

const annotated = (token: number): ReturnType<typeof readRecord> => {
  const record = { run: 'r', token, operation: 'upgrade', version: 'KubeOS 2.0.0', step: 'stage', cordon: 'none' };
  const annotations = { [RECORD_ANNOTATION]: JSON.stringify(record) };
  return readRecord(nodeSchema.parse({ metadata: { name: 'w', uid: 'u', resourceVersion: '1', annotations } }));
};

test('an annotation with a token that would use up all there are is not believed', () => {
  expect(annotated(1_000_000).record).toMatchObject({ token: 1_000_000 });
  expect(annotated(2 ** 31 - 1)).toEqual({ recordProblem: expect.stringContaining('token') as string });
});
