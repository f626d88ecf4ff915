import { describe, expect, test } from 'vitest';
import type { NodeResult } from '../../../src/rollout/events.ts';
import { exitForResults } from '../../../src/rollout/result.ts';
import { OUTCOMES, type Outcome } from '../../../src/rollout/steps.ts';
import { formatBytes, formatDuration } from '../../../src/rollout/units.ts';

const result = (outcome: Outcome, unreachable = false): NodeResult => ({
  node: outcome,
  outcome,
  from: '',
  logTail: [],
  tookMs: 0,
  unreachable,
});
const well = { interrupted: false, lockLost: false };

describe('the exit code of a run', () => {
  test.each<[number, Outcome[]]>([
    [0, ['upgraded', 'already there']],
    [0, ['rolled back']],
    [0, []],
    [3, ['upgraded', 'not started']],
    [3, ['upgraded', 'failed']],
    [3, ['upgraded', 'interrupted']],
    [4, ['not started', 'already there']],
    [5, ['upgraded', 'fell back', 'failed', 'not started']],
    [6, [...OUTCOMES]],
  ])('%i for %j', (code, all) => {
    expect(
      exitForResults(
        all.map((outcome) => result(outcome)),
        well,
      ),
    ).toBe(code);
  });

  test('10 where no node could be reached at all', () => {
    expect(exitForResults([result('not started', true)], well)).toBe(10);
    expect(exitForResults([result('not started', true), result('not started')], well)).toBe(4);
    expect(exitForResults([result('not started', true), result('already there')], well)).toBe(4);
  });

  test('130 before all others; a lost lock is 3', () => {
    expect(exitForResults([result('needs hands')], { ...well, interrupted: true })).toBe(130);
    expect(exitForResults([result('not started')], { ...well, lockLost: true })).toBe(3);
  });
});

test.each([
  [0, '0s'],
  [48_400, '48s'],
  [90_000, '1m 30s'],
  [600_000, '10m'],
  [3_900_000, '1h 5m'],
  [7_200_000, '2h'],
])('%i ms are %s', (ms, text) => {
  expect(formatDuration(ms)).toBe(text);
});

test.each([
  [512, '512 bytes'],
  [1536, '1.5 KiB'],
  [2 ** 31, '2.0 GiB'],
])('%i bytes are %s', (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});
