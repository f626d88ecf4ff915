import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { STEPS, type Step } from '../../src/rollout/steps.ts';
import type { Running } from '../lab/lab-bed.ts';
import { DISK_VERSION } from '../vm/artifacts.ts';
import { endOf, expectSettled } from '../vm/checks.ts';
import { patiently, untilStep } from '../vm/node.ts';
import { randomOf } from '../vm/replay.ts';
import { type NamespaceBed, type NsNode, startNamespaceBed } from './bed.ts';
import { whyNoYard } from './yard.ts';

const why = await whyNoYard();
if (why !== undefined) process.stderr.write(`NOT RUN  nodes of namespaces: ${why}\n`);

const MIB = 1024 * 1024;
const OTHER = { A: 'B', B: 'A' } as const;
const WAY = STEPS.slice(STEPS.indexOf('stage'));
/** Long enough that some attempts to get through fail. */
const CUT_MS = 1500;
const SHORT_CUT_MS = 400;
/** The write takes so long that several cuts fall into it. */
const SLOWLY = ['--write-rate', '8M'];

function instants(seed: number, most: number): number[] {
  const random = randomOf(seed);
  return Array.from({ length: 5 }, () => Math.round(random() * most)).sort((one, other) => one - other);
}

describe.skipIf(why !== undefined)('on a real sshd and real block devices, one upgrade', () => {
  let bed: NamespaceBed;
  let node: NsNode;
  let upgrades = 0;

  beforeAll(async () => {
    bed = await startNamespaceBed();
    node = bed.node('worker-1');
    await expectSettled(bed, node, 'A', DISK_VERSION);
  });
  afterAll(() => bed.stop());

  /** Each upgrades the node to another version, whatever befalls it. */
  async function upgrade(disturb: (start: () => Running) => Promise<Running>, ...flags: string[]): Promise<void> {
    upgrades += 1;
    const version = `KubeOS 1.${upgrades}.0`;
    const target = OTHER[await node.slot()];
    const args = ['upgrade', '-f', await bed.spec(await bed.image(version)), '-y', '-o', 'json', ...flags];
    const last = await disturb(() => bed.start(args));
    // One that was killed right at its end finds nothing to do any more.
    const { code, said } = await endOf(last.done);
    expect(code, said).toBe(0);
    await expectSettled(bed, node, target, version);
  }

  async function cut(ms = CUT_MS): Promise<void> {
    const { address } = node.machine;
    await bed.yard.cut(address);
    await sleep(ms);
    await bed.yard.mend(address);
  }

  /** Ends the run without a word, and gives its command again. */
  async function kill(run: Running, start: () => Running): Promise<Running> {
    run.kill('SIGKILL');
    await run.done;
    return start();
  }

  const isAt = async (step: Step): Promise<boolean> => (await bed.cluster.node(node.name)).step === step;

  /** The process that has written so much; undefined where the write was over before. */
  async function untilWritten(bytes: number): Promise<string | undefined> {
    await untilStep(bed, node.name, 'write');
    let writer: string | undefined;
    await patiently(
      async () => {
        const { bytes: done, pid } = (await node.machine.written()) ?? { bytes: 0, pid: '' };
        if (done >= bytes) writer = pid;
        return writer !== undefined || !(await isAt('write'));
      },
      () => `the write never came to ${bytes} bytes`,
    );
    return writer;
  }

  it('is killed as each step begins, and carried on by the same command', () =>
    upgrade(async (start) => {
      let run = start();
      for (const step of WAY) {
        await untilStep(bed, node.name, step, run);
        run = await kill(run, start);
      }
      return run;
    }));

  it('is cut off as each step begins, and goes on by itself', () =>
    upgrade(async (start) => {
      const run = start();
      for (const step of WAY) {
        await untilStep(bed, node.name, step, run);
        await cut();
      }
      return run;
    }));

  /**
   * Disturbs writes that are on their way at all these places, over as many upgrades as that takes; tells, for each of
   * them, which processes were found writing.
   */
  async function disturbWrites(
    places: number[],
    disturb: (run: Running, start: () => Running) => Promise<Running>,
  ): Promise<readonly ReadonlySet<string>[]> {
    const found: Set<string>[] = [];
    while (places.length > 0) {
      const writers = new Set<string>();
      found.push(writers);
      await upgrade(
        async (start) => {
          let run = start();
          for (const bytes of [...places]) {
            const writer = await untilWritten(bytes);
            if (writer === undefined) break;
            writers.add(writer);
            places.shift();
            run = await disturb(run, start);
          }
          return run;
        },
        ...SLOWLY,
      );
    }
    return found;
  }

  it('is killed at five instants of the write', async () => {
    await disturbWrites(instants(5, 60 * MIB), kill);
  });

  it('is cut off at five instants of the write, which is one process’s work from end to end', async () => {
    const found = await disturbWrites(instants(6, 60 * MIB), async (run) => {
      await cut(SHORT_CUT_MS);
      return run;
    });
    expect(found.filter((writers) => writers.size > 1)).toEqual([]);
  });

  it('is killed at five instants of the arming', async () => {
    const left = instants(7, 400);
    while (left.length > 0) {
      await upgrade(async (start) => {
        let run = start();
        await untilStep(bed, node.name, 'arm');
        while (left.length > 0 && (await isAt('arm'))) {
          await sleep(left.shift());
          run = await kill(run, start);
        }
        return run;
      });
    }
  });

  it.each(instants(8, 400))('is cut off %d ms into the arming', async (ms) => {
    await upgrade(async (start) => {
      const run = start();
      await untilStep(bed, node.name, 'arm');
      await sleep(ms);
      await cut(SHORT_CUT_MS);
      return run;
    });
  });

  it('leaves nothing behind', async () => {
    expect(await node.ssh('ls /run/kubeos /persist/KubeOS-Update')).not.toMatch(/job|part|img/);
  });
});
