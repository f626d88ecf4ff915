import { expect, it } from 'vitest';
import { DISTURBANCES, type Disturbance } from './matrix/disturbances.ts';
import { play, startMatrixBed } from './matrix/play.ts';
import { BOUNDARIES } from './matrix/places.ts';

it('x', async () => {
  const bed = await startMatrixBed();
  const t = Date.now();
  for (const [i, place] of BOUNDARIES.entries()) {
    if (i % 11 !== 0) continue;
    for (const disturbance of Object.keys(DISTURBANCES) as Disturbance[]) {
      if (disturbance === 'kill -9, another machine' && i > 0) continue;
      const p = await play(bed, { place, disturbance, node: `worker-${(i % 3) + 1}`, ...(i % 2 ? {} : { foreign: 'worker-3' }) }, undefined);
      console.log(place.name, disturbance, p.node, p.verdict, p.codes, p.broken, p.broken.length || p.verdict === undefined ? p.said : '', Date.now() - t);
    }
  }
  await bed.stop();
  expect(1).toBe(1);
}, 1200_000);
