import { stat } from 'node:fs/promises';
import { expect } from 'vitest';
import { DISK_VERSION, imageOf } from './artifacts.ts';
import { startVmBed, type VmBed, type VmNode } from './bed.ts';
import { patiently, untilStep } from './node.ts';
import { endOf, expectSettled } from './checks.ts';
import { randomOf } from './replay.ts';
import type { Step } from '../../src/rollout/steps.ts';

const NEW = 'KubeOS 1.1.0';
const MIB = 1024 * 1024;

/** A hard reset; the node must come up in one of these slots, and what it then runs must be what was verified. */
async function resetNode(node: VmNode, slots: string): Promise<'A' | 'B'> {
  await node.machine.cut();
  await node.untilUp();
  const slot = await node.slot();
  expect(slots).toContain(slot);
  if (slot === 'B') expect(await node.ssh('cat /persist/kubeos/slot-B')).toContain('state=verified');
  return slot;
}

/** Gives the command until it ends with 0: a trial that was reset is refused once, and then insisted on. */
async function converge(bed: VmBed, args: readonly string[], first: ReturnType<VmBed['kubeos']>): Promise<number[]> {
  const codes: number[] = [];
  let end = await endOf(first);
  for (let tries = 0; ; tries++) {
    codes.push(end.code ?? -1);
    if (end.code === 0) return codes;
    // Fell back, refused for that, or nothing worse than not done: the node is safe, whatever was reset.
    expect([3, 4, 5], end.said).toContain(end.code);
    expect(tries, `exit codes ${codes.join(', ')}: ${end.said}`).toBeLessThan(4);
    end = await endOf(bed.kubeos([...args, ...(end.code === 4 ? ['--retry-failed-image'] : [])]));
  }
}

/** A reset when each of these steps begins, in one upgrade that goes on; then it ends at its goal. */
export async function resetAtBoundaries(steps: readonly Step[]): Promise<void> {
  await withNode(false, async (bed, node) => {
    const args = ['upgrade', '-f', await bed.spec(await imageOf(NEW)), '-y', '-o', 'json'];
    const run = bed.start(args);
    for (const step of steps) {
      await untilStep(bed, node.name, step, step === 'uncordon' ? run : undefined);
      await resetNode(node, slotsAt(step));
    }
    await converge(bed, args, run.done);
    await expectSettled(bed, node, 'B', NEW);
    await resetNode(node, 'B');
  });
}

/** What may come up after a reset at the beginning of a step: armed is the slot from `arm`'s end until the boot. */
function slotsAt(step: Step): string {
  if (step === 'uncordon') return 'B';
  return step === 'arm' || step === 'reboot' || step === 'commit' ? 'AB' : 'A';
}

/** Resets inside the write, each once so much of the image is on its way to the slot. */
export async function resetInsideWrite(count: number, seed: number): Promise<void> {
  const random = randomOf(seed);
  await withNode(true, async (bed, node) => {
    const args = ['upgrade', '-f', await bed.spec(await imageOf(NEW)), '-y', '-o', 'json'];
    let run = bed.start(args);
    await untilStep(bed, node.name, 'write');
    let begun = await logBytes(node);
    for (let index = 0; index < count; index++) {
      const until = begun + random() * 55 * MIB;
      await patiently(
        async () => (await logBytes(node)) > until,
        () => `the write never came to ${until} bytes`,
      );
      await resetNode(node, 'A');
      // From here on the log is of the boot and of the write that begins anew.
      begun = 2 * MIB;
      // A run gives a node up whose write has vanished three times.
      if (index % 2 === 1) {
        run.kill('SIGKILL');
        await run.done;
        run = bed.start(args);
      }
    }
    await converge(bed, args, run.done);
    await expectSettled(bed, node, 'B', NEW);
  });
}

/** Resets inside the arming, each after so many bytes of writes since it began; it goes on until all were played. */
export async function resetInsideArm(count: number, seed: number): Promise<void> {
  const random = randomOf(seed);
  await withNode(true, async (bed, node) => {
    const other = { A: 'B', B: 'A' } as const;
    let left = count;
    for (let version = 1; left > 0; version++) {
      const from = await node.slot();
      const image = await imageOf(`KubeOS 1.${version}.0`);
      const args = ['upgrade', '-f', await bed.spec(image), '-y', '-o', 'json'];
      const run = bed.start(args);
      while (left > 0) {
        await untilStep(bed, node.name, 'arm');
        const { starts } = node.machine;
        const until = (await logBytes(node)) + random() * 200_000;
        await patiently(
          async () => node.machine.starts > starts || (await logBytes(node)) > until,
          () => `arm never wrote ${until} bytes`,
        );
        left -= 1;
        // Once it has come up in the trial, this upgrade arms no more.
        if ((await resetNode(node, 'AB')) !== from) break;
      }
      await converge(bed, args, run.done);
      await expectSettled(bed, node, other[from], image.version);
    }
  });
}

const logBytes = async (node: VmNode): Promise<number> => (await stat(node.machine.writeLog())).size;

async function withNode(writeLog: boolean, play: (bed: VmBed, node: VmNode) => Promise<void>): Promise<void> {
  const bed = await startVmBed({ writeLog });
  try {
    const node = bed.node('worker-1');
    await expectSettled(bed, node, 'A', DISK_VERSION);
    await play(bed, node);
  } finally {
    await bed.stop();
  }
}
