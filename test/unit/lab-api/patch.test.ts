import { describe, expect, it } from 'vitest';
import { serverSideApply } from '../../../src/lab/api/apply.ts';
import type { Json, JsonObject } from '../../../src/lab/api/objects.ts';
import { jsonPatch, mergePatch } from '../../../src/lab/api/patch.ts';
import { ApiError } from '../../../src/lab/api/status-errors.ts';
import { strategicMergePatch } from '../../../src/lab/api/strategic.ts';

const codeOf = (act: () => unknown): number | undefined => {
  try {
    act();
  } catch (error) {
    if (error instanceof ApiError) return error.code;
    throw error;
  }
  return undefined;
};

describe('a JSON merge patch', () => {
  it.each<[Json, Json, Json]>([
    [{ a: 1 }, { b: 2 }, { a: 1, b: 2 }],
    [{ a: 1, b: 2 }, { a: null }, { b: 2 }],
    [{ a: { b: 1, c: 2 } }, { a: { b: null } }, { a: { c: 2 } }],
    [{ a: [1, 2] }, { a: [3] }, { a: [3] }],
    [{}, { a: { b: null, c: 1 } }, { a: { c: 1 } }],
  ])('%j with %j is %j', (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });
});

describe('a JSON patch', () => {
  const target = { list: [1, 2], map: { 'a/b': 1, 'c~d': 2 } };
  it.each<[Json, Json]>([
    [[{ op: 'add', path: '/list/-', value: 3 }], { ...target, list: [1, 2, 3] }],
    [[{ op: 'add', path: '/list/0', value: 0 }], { ...target, list: [0, 1, 2] }],
    [[{ op: 'remove', path: '/list/0' }], { ...target, list: [2] }],
    [[{ op: 'replace', path: '/map/a~1b', value: 9 }], { ...target, map: { 'a/b': 9, 'c~d': 2 } }],
    [[{ op: 'remove', path: '/map/c~0d' }], { ...target, map: { 'a/b': 1 } }],
    [[{ op: 'move', from: '/list', path: '/moved' }], { map: target.map, moved: [1, 2] }],
    [[{ op: 'copy', from: '/list/1', path: '/one' }], { ...target, one: 2 }],
    [[{ op: 'test', path: '/list/1', value: 2 }], target],
  ])('%j', (patch, result) => {
    expect(jsonPatch(target, patch)).toEqual(result);
    expect(target.list).toEqual([1, 2]);
  });

  it.each<Json>([
    { op: 'test', path: '/list/1', value: 3 },
    { op: 'remove', path: '/nope' },
    { op: 'replace', path: '/nope', value: 1 },
    { op: 'add', path: '/list/9', value: 1 },
    { op: 'add', path: '/nope/deep', value: 1 },
    { op: 'add', path: 'list', value: 1 },
    { op: 'add', path: '/list/-' },
    { op: 'turn', path: '/list' },
  ])('that cannot be done is a 422: %j', (operation) => {
    expect(codeOf(() => jsonPatch(target, [operation]))).toBe(422);
  });
});

describe('a strategic merge patch', () => {
  it.each<[string, Json, Json, Json]>([
    [
      'merges conditions by type',
      { conditions: [{ type: 'A', status: 'True', reason: 'x' }] },
      {
        conditions: [
          { type: 'A', status: 'False' },
          { type: 'B', status: 'True' },
        ],
      },
      {
        conditions: [
          { type: 'A', status: 'False', reason: 'x' },
          { type: 'B', status: 'True' },
        ],
      },
    ],
    ['replaces taints whole', { taints: [{ key: 'a' }] }, { taints: [{ key: 'b' }] }, { taints: [{ key: 'b' }] }],
    [
      'deletes an element by its key',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { containers: [{ name: 'a', $patch: 'delete' }] },
      { containers: [{ name: 'b' }] },
    ],
    [
      'replaces a list on demand',
      { env: [{ name: 'a' }] },
      { env: [{ name: 'b' }, { $patch: 'replace' }] },
      { env: [{ name: 'b' }] },
    ],
    [
      'replaces a map on demand',
      { labels: { a: 'b' } },
      { labels: { $patch: 'replace', c: 'd' } },
      { labels: { c: 'd' } },
    ],
    ['keeps named keys only', { v: { a: 1, b: 2 } }, { v: { $retainKeys: ['b', 'c'], c: 3 } }, { v: { b: 2, c: 3 } }],
    ['joins finalizers', { finalizers: ['a'] }, { finalizers: ['b', 'a'] }, { finalizers: ['a', 'b'] }],
    [
      'drops values',
      { finalizers: ['a', 'b'] },
      { '$deleteFromPrimitiveList/finalizers': ['a'] },
      { finalizers: ['b'] },
    ],
    [
      'orders a list',
      { containers: [{ name: 'a' }, { name: 'b' }] },
      { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }] },
      { containers: [{ name: 'b' }, { name: 'a' }] },
    ],
  ])('%s', (_, target, patch, result) => {
    expect(strategicMergePatch(target, patch)).toEqual(result);
  });

  it('refuses an element without its key', () => {
    expect(codeOf(() => strategicMergePatch({}, { containers: [{ image: 'x' }] }))).toBe(400);
  });
});

describe('server-side apply', () => {
  const apply = (
    current: JsonObject,
    config: JsonObject,
    more: Partial<Parameters<typeof serverSideApply>[0]> = {},
  ): Json => serverSideApply({ current, config, last: undefined, others: [], force: false, custom: false, ...more });

  it('sets its fields and leaves the others', () => {
    expect(apply({ spec: { a: 1, b: 2 } }, { spec: { a: 3 } })).toEqual({ spec: { a: 3, b: 2 } });
  });

  it('removes what its manager applied before, but not what another applied too', () => {
    const last = { spec: { a: 1, b: 2 }, containers: [{ name: 'x' }, { name: 'y' }] };
    const current = structuredClone(last);
    const config = { spec: {}, containers: [{ name: 'y' }] };
    const others: [string, JsonObject][] = [['other', { spec: { b: 2 } }]];
    expect(apply(current, config, { last, others })).toEqual({ spec: { b: 2 }, containers: [{ name: 'y' }] });
  });

  it("is a 409 over another manager's value, unless forced", () => {
    const others: [string, JsonObject][] = [['other', { spec: { a: 1 } }]];
    expect(codeOf(() => apply({ spec: { a: 1 } }, { spec: { a: 2 } }, { others }))).toBe(409);
    expect(apply({ spec: { a: 1 } }, { spec: { a: 2 } }, { others, force: true })).toEqual({ spec: { a: 2 } });
  });
});
