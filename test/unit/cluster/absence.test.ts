import { expect, test } from 'vitest';
import { Absence } from '../../../src/cluster/absence.ts';

let now = 0;
const clock = { now: () => now, sleep: () => Promise.resolve() };

function watch(): { absence: Absence; said: string[] } {
  now = 0;
  const said: string[] = [];
  return { absence: new Absence(clock, (message) => said.push(message)), said };
}

test('an API server that is away is told once, when it has answered nobody for ten seconds, and its return', () => {
  const { absence, said } = watch();
  for (; now <= 120_000; now += 1_000) absence.heard(false);
  expect(said).toEqual(['the API server does not answer; it is waited for']);
  absence.heard(true);
  expect(said[1]).toBe('the API server was away for 2m');
  for (now = 200_000; now <= 220_000; now += 5_000) absence.heard(false);
  expect(said).toHaveLength(3);
});

test('one that only misses some requests is no news', () => {
  const { absence, said } = watch();
  for (; now < 60_000; now += 1_000) absence.heard(now % 9_000 === 0);
  expect(said).toEqual([]);
});
