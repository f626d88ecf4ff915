import { describe, expect, it } from 'vitest';
import { pace } from '../../../src/report/pace.ts';
import { entry, plan } from './fixtures.ts';

const onTrial = entry('worker-1', 0, { alreadyDown: true, firstStep: 'prove' });
const canary = (name: string): ReturnType<typeof entry> => entry(name, 7, { canary: true });

describe('the pace of a plan', () => {
  it.each([
    ['a canary', [canary('worker-1'), entry('worker-2', 7)], '; worker-1 goes first, alone'],
    ['two canaries', [canary('worker-1'), canary('worker-2')], '; worker-1, worker-2 go first, one at a time'],
    ['one node', [canary('worker-1')], ''],
    ['a node on trial', [onTrial, entry('worker-2', 7)], '; what is on trial for this version goes first, all at once'],
    [
      'more canaries than nodes on trial',
      [onTrial, canary('worker-2')],
      '; what is on trial for this version goes first, all at once; worker-2 goes then, alone',
    ],
  ])('tells of %s', (_what, entries, told) => {
    expect(pace(plan({ entries }))).toBe(`2 at a time${told}; stop after 1 failure`);
  });
});
