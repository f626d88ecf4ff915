import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Finished } from '../lab/lab-bed.ts';
import { onRealVersionsAtOnce } from './envtest.ts';
import { type RealRunBed, startRealRun } from './real-run-bed.ts';

const WORKERS = ['worker-1', 'worker-2', 'worker-3'];
const [OLD, NEW] = ['KubeOS 1.0.0', 'KubeOS 1.1.0'];
const MINUTE = 60_000;

onRealVersionsAtOnce('a whole run with the rights of the least role', (assets) => {
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
    'rolls them back, though the API server is away for two minutes while one drains and another is on its trial',
    { timeout: 10 * MINUTE },
    async () => {
      const letSpeak = bed.holdNextBoot('worker-2');
      const flags = ['--to-previous', '-y', '--canary', '0', '--maxunavailable', '2'];
      const run = bed.lab.start(['rollback', ...flags], { env: bed.env });
      const toThere = async (): Promise<void> => {
        await bed.untilStep('worker-2', 'prove');
        // The third node's turn: the first one is through, and the second is still on trial.
        await bed.midDrain('worker-3');
        await bed.away(2 * MINUTE);
        expect([bed.stepOf('worker-2'), bed.stepOf('worker-3')]).toEqual(['prove', 'drain']);
      };
      await toThere().catch(async (error: unknown) => {
        const pods = (await bed.pods()).map((pod) => JSON.stringify(pod)).join('\n');
        throw new Error(`${String(error)}\n${run.stdout()}${run.stderr()}\n${pods}`);
      });
      letSpeak();
      const done = await run.done;
      await expectDone(done, OLD, 'A');
      expect(bed.peaks()).toEqual({ cordoned: 2, unavailableAtCordon: 2 });
      // What was waited for, and how long.
      expect(done.stderr.match(/notice: the API server does not answer; it is waited for/g)).toHaveLength(1);
      expect(done.stderr.match(/notice: the API server was away for .*/g)).toEqual([
        expect.stringMatching(/away for [2-9]m$/),
      ]);
    },
  );
});
