import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { type Disturbance, DISTURBANCES } from '../lab/matrix/disturbances.ts';
import { BOUNDARIES, instants } from '../lab/matrix/places.ts';
import { type Case, measureSpans, play, type Played, startMatrixBed } from '../lab/matrix/play.ts';
import { isWell, proofPage } from './page.ts';
import { withPart } from './parts.ts';

const SEED = Number(process.env['KUBEOS_PROOF_SEED'] ?? 20);
const LABS = Number(process.env['KUBEOS_PROOF_LABS'] ?? 2 * availableParallelism());
const INSTANTS = 20;
const PAGE = fileURLToPath(new URL('../../docs/proof.md', import.meta.url));

it('disturbed anywhere, a run ends as if nothing had happened', async () => {
  const places = [...BOUNDARIES, ...instants(INSTANTS, SEED)];
  const cases = places.flatMap((place, index) =>
    (Object.keys(DISTURBANCES) as Disturbance[]).map((disturbance): Case => ({
      ...{ place, disturbance, node: `worker-${(index % 3) + 1}` },
      ...(index % 2 === 0 ? { foreign: 'worker-3' } : {}),
    })),
  );
  const total = cases.length;
  const beds = await Promise.all(Array.from({ length: LABS }, startMatrixBed));
  const played: Played[] = [];
  try {
    const spans = await measureSpans(beds[0]!);
    const worker = async (bed: (typeof beds)[number]): Promise<void> => {
      for (let next = cases.shift(); next !== undefined; next = cases.shift()) {
        const one = await play(bed, next, spans);
        played.push(one);
        process.stdout.write(`${played.length} of ${total}: ${lineOf(one)}\n`);
      }
    };
    await Promise.all(beds.map(worker));
  } finally {
    await Promise.all(beds.map((bed) => bed.stop()));
  }
  await writeFile(PAGE, withPart(await readFile(PAGE, 'utf8'), proofPage(places, played, SEED)));
  expect(played.filter((one) => !isWell(one)).map(lineOf)).toEqual([]);
});

function lineOf(one: Played): string {
  const { place, disturbance, node, verdict, codes, broken, said } = one;
  const text = `${place.name}, ${disturbance}, ${node}: ${verdict ?? 'no end'}, exit codes ${codes.join(', ')}`;
  return isWell(one) ? text : `${text}\n${broken.join('\n')}\n${said}`;
}
