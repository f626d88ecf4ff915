import { expect, test } from 'vitest';
import { isEmptySelector, selects, type LabelSelector } from '../../../src/cluster/label-selector.ts';

const labels = { app: 'db', tier: '' };
const rule = (key: string, operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist', values?: string[]): LabelSelector => ({
  matchExpressions: [{ key, operator, ...(values === undefined ? {} : { values }) }],
});

test.each<[LabelSelector, boolean]>([
  [{}, true],
  [{ matchLabels: { app: 'db' } }, true],
  [{ matchLabels: { app: 'db', tier: '' } }, true],
  [{ matchLabels: { app: 'db', zone: 'a' } }, false],
  [rule('app', 'In', ['x', 'db']), true],
  [rule('app', 'In', ['x']), false],
  [rule('zone', 'In', ['x']), false],
  [rule('app', 'NotIn', ['x']), true],
  [rule('app', 'NotIn', ['db']), false],
  // As in Kubernetes: a label that is not there is not in the list.
  [rule('zone', 'NotIn', ['a']), true],
  [rule('tier', 'Exists'), true],
  [rule('zone', 'Exists'), false],
  [rule('zone', 'DoesNotExist'), true],
  [rule('tier', 'DoesNotExist'), false],
  [{ matchLabels: { app: 'db' }, ...rule('zone', 'Exists') }, false],
])('%j selects: %s', (selector, expected) => {
  expect(selects(selector, labels)).toBe(expected);
});

test('an empty selector is one without any requirement', () => {
  expect(isEmptySelector({})).toBe(true);
  expect(isEmptySelector({ matchLabels: {}, matchExpressions: [] })).toBe(true);
  expect(isEmptySelector({ matchLabels: { a: 'b' } })).toBe(false);
});
