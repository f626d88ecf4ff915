import { describe, expect, test } from 'vitest';
import type { PlanEntry } from '../../../src/rollout/plan-types.ts';
import { inTurn } from '../../../src/rollout/turns.ts';

const entry = (node: string, more: Partial<PlanEntry> = {}): PlanEntry => ({
  node,
  now: 'KubeOS 1.0.0',
  assignment: { operation: 'upgrade', version: 'KubeOS 2', replaced: '', from: 'A', target: 'B', sha256: '' },
  firstStep: 'stage',
  adopt: false,
  fellBackEarlier: false,
  alreadyDown: false,
  canary: false,
  drain: { pods: 3, obstacles: [] },
  notes: [],
  ...more,
});
const down = { alreadyDown: true };
const EMPTY = { pods: 0, obstacles: [] };

describe('the turns of nodes', () => {
  const all = [
    entry('up'),
    entry('draining', { ...down, firstStep: 'drain' }),
    entry('drained', { ...down, firstStep: 'drain', drain: EMPTY }),
    entry('by-hand', { firstStep: 'prove', adopt: true }),
    entry('committed', { ...down, firstStep: 'uncordon' }),
    entry('trial', { ...down, firstStep: 'prove' }),
  ];
  const turns = (canary: number): string[] =>
    inTurn(all, canary).map((one) => (one.canary ? `${one.node}, alone` : one.node));

  test('give service back first', () => {
    expect(turns(0)).toEqual(['committed', 'trial', 'drained', 'draining', 'up', 'by-hand']);
  });

  test('a trial that is to be finished counts as a canary', () => {
    expect(turns(1)).toEqual(turns(0));
    expect(turns(2)).toEqual(['committed', 'trial', 'drained, alone', 'draining', 'up', 'by-hand']);
  });

  test('without one the first nodes are canaries', () => {
    const made = inTurn([entry('b'), entry('a', down), entry('c')], 2);
    expect(made.map(({ node, canary }) => [node, canary])).toEqual([
      ['a', true],
      ['b', true],
      ['c', false],
    ]);
  });
});
