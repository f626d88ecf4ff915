import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Finished } from '../lab/lab-bed.ts';
import { onRealVersions } from './envtest.ts';
import { patiently, type RealRunBed, startRealRun } from './real-run-bed.ts';

const WORKERS = ['worker-1', 'worker-2', 'worker-3'];
const [OLD, NEW] = ['KubeOS 1.0.0', 'KubeOS 1.1.0'];
const MINUTE = 60_000;

onRealVersions('whole runs', (assets) => {
  describe('a whole run with the rights of the least role', () => {
    let bed: RealRunBed;
    beforeAll(async () => {
      bed = await startRealRun(assets);
    }, 3 * MINUTE);
    afterAll(() => bed.stop());

    const expectDone = async ({ code, stdout }: Finished, version: string, slot: 'A' | 'B'): Promise<void> => {
      expect(stdout).toContain(`${version}: all 3 nodes run it`);
      expect(code).toBe(0);
      for (const name of WORKERS) {
        expect(await bed.node(name)).toMatchObject({
          ...{ osImage: version, ready: true, cordoned: false, annotated: false },
        });
        const node = bed.lab.lab.node(name);
        expect(node.status()).toMatchObject({ slot, trial: false, version });
        expect((await node.machine.grubVariables())?.get('saved_entry')).toBe(slot);
      }
      expect(await bed.lockHolder()).toBe('');
    };

    test(
      'upgrades three nodes: drains wait for budgets, and what they evict serves elsewhere',
      { timeout: 5 * MINUTE },
      async () => {
        const before = new Set((await bed.pods()).map(({ name }) => name));
        const done = await bed.lab.kubeos(['upgrade', '-f', bed.lab.lab.paths.spec, '-y'], { env: bed.env });
        await expectDone(done, NEW, 'B');
        expect(await bed.refusedEvictions()).toBeGreaterThan(0);
        expect(bed.peaks()).toEqual({ cordoned: 2, unavailableAtCordon: 2 });
        // Every pod was on a node that was drained.
        expect((await bed.pods()).filter(({ name }) => before.has(name))).toEqual([]);
      },
    );

    test(
      'rolls them back, waiting for an API server that is stopped in a drain and in a health check',
      { timeout: 10 * MINUTE },
      async () => {
        // Two minutes once; what a drain makes of it does not hang on the server's version.
        const awayMs = bed.old ? 20_000 : 2 * MINUTE;
        const healthTimeout = ['--health-timeout', '30s'];
        const run = bed.lab.start(['rollback', '--to-previous', '-y', ...healthTimeout], { env: bed.env });
        // In the middle of a drain: one pod is gone, and another's eviction was refused.
        const onIt = await bed.podsOn('worker-1');
        const refused = await bed.refusedEvictions();
        const inTheMiddle = async (): Promise<boolean> =>
          (await bed.podsOn('worker-1')) < onIt && (await bed.refusedEvictions()) > refused;
        await patiently(inTheMiddle, () => `no drain: ${run.stdout()}${run.stderr()}`);
        await bed.away(awayMs);
        await bed.untilStep('worker-2', 'prove').catch(async (error: unknown) => {
          const pods = (await bed.pods()).map((pod) => JSON.stringify(pod)).join('\n');
          throw new Error(`${String(error)}\n${run.stdout()}${run.stderr()}\n${pods}`);
        });
        // Longer than a healthy kubelet is waited for.
        await bed.away(40_000);
        const done = await run.done;
        await expectDone(done, OLD, 'A');
        expect(bed.peaks()).toEqual({ cordoned: 1, unavailableAtCordon: 1 });
        // What was waited for, and how long.
        expect(done.stderr.match(/notice: the API server does not answer; it is waited for/g)).toHaveLength(2);
        expect(done.stderr.match(/notice: the API server was away for \d+/g)).toHaveLength(2);
      },
    );
  });
});
