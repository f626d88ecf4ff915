import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliBed, nodeOf, startCliBed } from './cli-bed.ts';

let bed: CliBed;

beforeAll(async () => {
  bed = await startCliBed({ workers: 0 });
});

afterAll(async () => {
  await bed.stop();
});

it('a cluster of one node is left alone until it is asked for, is told to lose its API, and survives that', async () => {
  const args = ['upgrade', '-y', '-f', bed.lab.paths.spec];
  expect((await bed.json(args)).exitCode).toBe(4);
  let away = 0;
  const looking = setInterval(() => {
    if (bed.lab.node('cp-1').status().state !== 'up') away += 1;
  }, 20);
  const done = await bed.json([...args, '--include-control-plane']);
  clearInterval(looking);
  expect(away).toBeGreaterThan(0);
  expect([done.exitCode, nodeOf(done, 'cp-1').outcome]).toEqual([0, 'upgraded']);
  expect(done.stderr.replaceAll(/\s+/g, ' ')).toContain(
    "cp-1 is the only node: the cluster's API is away while it reboots",
  );
  expect(await bed.look('cp-1')).toMatchObject({ osVersion: 'KubeOS 1.1.0', active: 'B', nextBoot: 'B', ready: true });
  expect([bed.stepOf('cp-1'), bed.isCordoned('cp-1')]).toEqual([undefined, false]);

  const back = await bed.json(['rollback', '--to-previous', '-y', '--include-control-plane']);
  expect([back.exitCode, nodeOf(back, 'cp-1').outcome]).toEqual([0, 'rolled back']);
});
