import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LabBed, startBed } from './lab-bed.ts';

let bed: LabBed;

beforeAll(async () => {
  bed = await startBed({ workers: 2, sampleWorkload: false });
});

afterAll(async () => {
  await bed.stop();
});

describe('a lab', () => {
  it('is upgraded by kubeos, and rolled back', async () => {
    const spec = bed.lab.paths.spec;
    const upgraded = await bed.kubeos(['upgrade', '-f', spec, '-y', '--maxunavailable', '1']);
    expect(upgraded.stderr).toContain('UPGRADED');
    expect(upgraded.code).toBe(0);
    expect(await bed.status()).toMatchObject({
      nodes: [
        { node: 'cp-1', osVersion: 'KubeOS 1.0.0', active: 'A' },
        { node: 'worker-1', osVersion: 'KubeOS 1.1.0', active: 'B' },
        { node: 'worker-2', osVersion: 'KubeOS 1.1.0', active: 'B' },
      ],
    });
    for (const name of ['worker-1', 'worker-2']) {
      expect(bed.lab.node(name).status()).toMatchObject({ slot: 'B', trial: false, version: 'KubeOS 1.1.0' });
      expect((await bed.lab.node(name).machine.grubVariables())?.get('saved_entry')).toBe('B');
    }
    expect(bed.peakUnavailable()).toBe(1);

    const back = await bed.kubeos(['rollback', '--to-previous', '-y']);
    expect(back.code).toBe(0);
    for (const name of ['worker-1', 'worker-2']) {
      expect(bed.lab.node(name).status()).toMatchObject({ slot: 'A', version: 'KubeOS 1.0.0' });
    }
  });

  it('shows what kubeos says while it still runs, and ends it by a signal', async () => {
    const running = bed.start(['upgrade', '-f', bed.lab.paths.spec, '-y']);
    await running.untilSays('begins, towards slot');
    running.kill('SIGKILL');
    expect(await running.done).toMatchObject({ code: null, signal: 'SIGKILL' });
  });
});
