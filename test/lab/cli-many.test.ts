import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LabBed, startBed } from './lab-bed.ts';

let bed: LabBed;

beforeAll(async () => {
  bed = await startBed({ workers: 14, sampleWorkload: false });
});

afterAll(async () => {
  await bed.stop();
});

it('says nothing of its own workings, however many nodes are in flight at once', async () => {
  const shown = await bed.kubeos(['status']);
  expect(shown).toMatchObject({ code: 0, stderr: '' });
  const flags = ['--canary', '0', '--maxunavailable', '14', '-y', '-o', 'json'];
  const done = await bed.kubeos(['upgrade', '-f', bed.lab.paths.spec, ...flags]);
  expect(done.code).toBe(0);
  expect(done.stderr).not.toContain('Warning');
});
