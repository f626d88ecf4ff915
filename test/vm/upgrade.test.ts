import { afterEach, expect, test } from 'vitest';
import { imageOf } from './artifacts.ts';
import { startVmBed, type VmBed } from './bed.ts';

let bed: VmBed | undefined;
afterEach(async () => {
  await bed?.stop();
  bed = undefined;
});

test('upgrade A to B', async () => {
  bed = await startVmBed({ nodes: 1 });
  const image = await imageOf('KubeOS 1.1.0');
  const t = Date.now();
  const done = await bed.kubeos(['upgrade', '-f', await bed.spec(image), '-y']);
  process.stdout.write(`${(Date.now() - t) / 1000}\n${done.stdout}\n${done.stderr}\n`);
  expect(done.code).toBe(0);
  expect(await bed.node('worker-1').slot()).toBe('B');
  expect(await bed.node('worker-1').grubenv()).toMatchObject({ saved_entry: 'B' });
});
