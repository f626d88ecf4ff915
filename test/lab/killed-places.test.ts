import pLimit from 'p-limit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Disturbance } from './matrix/disturbances.ts';
import { BOUNDARIES } from './matrix/places.ts';
import { type MatrixBed, play, startMatrixBed, type Verdict } from './matrix/play.ts';

// The part of `npm run proof` that is played each time: where the most is at stake, every disturbance at least twice.
const CASES: readonly (readonly [place: string, disturbance: Disturbance, verdict: Verdict])[] = [
  ['write, after', 'kill -9, same machine', 'again'],
  ['arm, after', 'kill -9, same machine', 'again'],
  ['commit, before', 'kill -9, same machine', 'again'],
  ['cordon, after', 'kill -9, another machine', 'again'],
  ['reboot, after', 'kill -9, another machine', 'again'],
  ['arm, after', 'SSH cut', 'done'],
  ['commit, after', 'SSH cut', 'done'],
  ['cordon, after', 'API cut', 'done'],
  ['uncordon, before', 'API cut', 'done'],
  ['verify, after', 'node reset', 'done'],
  ['arm, after', 'node reset', 'done'],
  ['boot, after', 'node reset', 'retry'],
];
const LABS = 3;
/** Most of it is the wait for a lab. */
const TEST_MS = 600_000;
const atMost = pLimit(LABS);

let beds: MatrixBed[];

beforeAll(async () => {
  beds = await Promise.all(Array.from({ length: LABS }, startMatrixBed));
});

afterAll(async () => {
  await Promise.all(beds.map((bed) => bed.stop()));
});

describe('a run that is disturbed once ends as if nothing had happened', () => {
  it.concurrent.each(CASES.map((one, index) => [...one, index] as const))(
    '%s: %s',
    async (name, disturbance, verdict, index) => {
      const place = BOUNDARIES.find((boundary) => boundary.name === name);
      if (place === undefined) throw new Error(`no boundary is called ${name}`);
      await atMost(async () => {
        const bed = beds.shift();
        if (bed === undefined) throw new Error('every lab is in use');
        const foreign = index % 2 === 0 ? { foreign: 'worker-3' } : {};
        const it = { place, disturbance, node: `worker-${(index % 3) + 1}`, leaseSeconds: 3, ...foreign };
        const { said, ...played } = await play(bed, it, undefined).finally(() => beds.push(bed));
        expect(played, said).toMatchObject({ broken: [], verdict });
      });
    },
    TEST_MS,
  );
});
