import { expect } from 'vitest';
import { DISK_VERSION, imageOf, type Variant } from './artifacts.ts';
import { startVmBed, type VmBed, type VmNode } from './bed.ts';
import { type Ended, endOf, expectEnd, expectFallback, expectLogged, expectSettled, json } from './checks.ts';
import { probeFsyncs } from './fsyncs.ts';
import { untilStep } from './node.ts';
import { bodyOf, judgeCuts, record } from './power-cuts.ts';

export const NEW = 'KubeOS 1.1.0';
const OLD = DISK_VERSION;
export const SEED = Number(process.env['KUBEOS_VM_SEED'] ?? 5);

/** A machine that stays away is waited for so long: much longer than it takes to boot. */
const SHORT_WAIT = ['--reboot-timeout', '90s'];

/** Plays with one machine, which is ended whatever happens. */
export async function withBed(
  options: Parameters<typeof startVmBed>[0],
  play: (bed: VmBed, node: VmNode) => Promise<void>,
): Promise<void> {
  const bed = await startVmBed(options);
  try {
    await play(bed, bed.node('worker-1'));
  } finally {
    await bed.stop();
  }
}

async function upgradeTo(bed: VmBed, variant: Variant, ...flags: string[]): Promise<Ended> {
  return json(bed, 'upgrade', '-f', await bed.spec(await imageOf(NEW, variant)), '-y', ...flags);
}

/** The trial did not last: the node is in its old slot, in service, and the image is remembered. */
async function expectFellBack(bed: VmBed, node: VmNode, end: Ended): Promise<void> {
  expectEnd(end, 5, 'fell back');
  await expectSettled(bed, node, 'A', OLD);
  await expectLogged(node, 'armed: the next boot tries slot B', 'fell-back: ');
}

export async function threeNodesThereAndBack(): Promise<void> {
  await withBed({ nodes: 3, api: 'real-if-there', scheme: 'https' }, async (bed) => {
    await expectFallback(bed, 'likely', bed.nodes);
    const there = await upgradeTo(bed, 'good');
    expect(there.code, there.said).toBe(0);
    expect(there.doc.counts).toMatchObject({ upgraded: 3 });
    for (const node of bed.nodes) {
      await expectSettled(bed, node, 'B', NEW);
      await expectLogged(node, 'slot B: write of KubeOS 1.1.0 begins', 'committed: slot B (KubeOS 1.1.0) is permanent');
    }
    const back = await json(bed, 'rollback', '--to-previous', '-y');
    expect(back.code, back.said).toBe(0);
    expect(back.doc.counts).toMatchObject({ 'rolled back': 3 });
    for (const node of bed.nodes) await expectSettled(bed, node, 'A', OLD);
    // Two trials of each have shown that its GRUB clears what it is told.
    await expectFallback(bed, 'proven', bed.nodes);
  });
}

export async function panicFallsBack(options: Parameters<typeof startVmBed>[0]): Promise<void> {
  await withBed(options, async (bed, node) => {
    await expectFellBack(bed, node, await upgradeTo(bed, 'panic'));
    expect(await node.machine.serial()).toContain('Kernel panic');
    // The same command refuses the image there.
    expect((await upgradeTo(bed, 'panic')).code).toBe(4);
  });
}

export async function unloadableNeedsHands(): Promise<void> {
  await withBed({}, async (bed, node) => {
    const end = await upgradeTo(bed, 'garbage-kernel', ...SHORT_WAIT);
    const result = expectEnd(end, 6, 'needs hands');
    expect(result.next).toMatch(/console|power/);
    // GRUB stops at its menu, which stands on B, and stays there: no time runs down any more.
    await node.untilSays(/invalid magic number[^]*Failed to boot both[^]*Use the \^ and v keys/);
    expect(node.boot).toBeUndefined();
    expect(node.machine.starts).toBe(2);
    await node.machine.press('\x1b[A\r');
    await node.untilUp();
    expect(await node.slot()).toBe('A');
    expect(await node.grubenv()).toMatchObject({ saved_entry: 'A' });
    await expectFellBack(bed, node, await upgradeTo(bed, 'garbage-kernel'));
  });
}

export async function haltingNeedsHands(): Promise<void> {
  await withBed({}, async (bed, node) => {
    expectEnd(await upgradeTo(bed, 'halt', ...SHORT_WAIT), 6, 'needs hands');
    await node.untilSays('this image is made to fail: halt');
    expect(node.boot).toBeUndefined();
    await node.machine.cut();
    await node.untilUp();
    await expectFellBack(bed, node, await upgradeTo(bed, 'halt'));
  });
}

/** Both holes of a stock trial, closed. */
export async function managedBootFallsBack(
  options: Parameters<typeof startVmBed>[0],
  more: (bed: VmBed, node: VmNode) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await withBed(options, async (bed, node) => {
    await expectFellBack(bed, node, await upgradeTo(bed, 'garbage-kernel', '--managed-boot'));
    expect(await node.machine.serial()).toMatch(/invalid magic number/);
    await expectFellBack(bed, node, await upgradeTo(bed, 'halt'));
    await node.untilSays('this image is made to fail: reboot');
    await more(bed, node);
  });
}

/** Slots that are damaged once they are armed; a trial that goes well; then all of it undone. */
export async function managedToTheEnd(bed: VmBed, node: VmNode): Promise<void> {
  await damagedTrialFallsBack(node, 'mount /dev/vda3 /tmp && rm /tmp/boot/vmlinuz && umount /tmp');
  await damagedTrialFallsBack(node, 'dd if=/dev/zero of=/dev/vda3 bs=1M count=4 conv=fsync 2>/dev/null');
  expectEnd(await upgradeTo(bed, 'good', '--managed-boot'), 0, 'upgraded');
  expect(await node.ssh('cat /proc/cmdline')).toContain('kubeos.trial=B');
  await expectSettled(bed, node, 'B', NEW);
  expect((await json(bed, 'node', 'reset-boot', node.name, '-y')).code).toBe(0);
  await node.machine.cut();
  await node.untilUp();
  await expectSettled(bed, node, 'B', NEW);
  expect(await node.ssh('cat /proc/cmdline; ls /boot/grub2')).not.toMatch(/kubeos\.trial|custom\.cfg/);
}

/** What a content check can no longer see: the slot of an armed trial is damaged, and GRUB stands before it. */
async function damagedTrialFallsBack(node: VmNode, damage: string): Promise<void> {
  const { bootId } = node.boot!;
  const env = '$(ls /boot/grub2/grubenv /boot/efi/EFI/openEuler/grubenv 2>/dev/null)';
  await node.ssh(`set -e\n${damage}\ngrub2-editenv ${env} set saved_entry=A next_entry=B kubeos_trial=B\nsync\n`);
  await node.machine.cut();
  await node.untilUp(bootId);
  expect(await node.slot()).toBe('A');
  expect((await node.grubenv())['next_entry'] ?? '').toBe('');
}

export async function unhealthyIsSentBack(): Promise<void> {
  await withBed({}, async (bed, node) => {
    const end = await upgradeTo(bed, 'unhealthy', '--health-timeout', '20s');
    await expectFellBack(bed, node, end);
    await expectLogged(node, 'sent back: reboot to slot A');
  });
}

export async function withoutNetworkNeedsHands(): Promise<void> {
  await withBed({}, async (bed, node) => {
    const end = await upgradeTo(bed, 'no-network', ...SHORT_WAIT);
    expectEnd(end, 6, 'needs hands');
    await node.untilSays('kubelet: there is no network');
    // The only hand that it takes: its power, off and on.
    await node.machine.cut();
    await node.untilUp();
    await expectFellBack(bed, node, await upgradeTo(bed, 'no-network'));
  });
}

/** What is wrong inside an image with the right checksum is found before anything is armed, drained or rebooted. */
export async function refusedBeforeArm(variant: Variant, version: string, why: RegExp): Promise<void> {
  await withBed({}, async (bed, node) => {
    const { boot } = node;
    const spec = await bed.spec(await imageOf(NEW, variant), { version });
    const result = expectEnd(await json(bed, 'upgrade', '-f', spec, '-y'), 3, 'failed');
    expect(result.step).toBe('verify');
    expect(`${String(result.what)} ${String(result.reason)}`).toMatch(why);
    expect(node.boot).toEqual(boot);
    await expectSettled(bed, node, 'A', OLD);
    const status = await json(bed, 'status');
    expect(status.doc.nodes[0]?.otherSlot).toMatchObject({ slot: 'B', content: 'dirty' });
    await node.machine.cut();
    await node.untilUp();
    expect(await node.slot()).toBe('A');
  });
}

export async function otherEntryByHand(): Promise<void> {
  await withBed({}, async (bed, node) => {
    expectEnd(await upgradeTo(bed, 'good'), 0, 'upgraded');
    await chooseByHand(node, '\x1b[A\r', 'A');
    const status = await json(bed, 'status');
    expect(status.doc.nodes[0]).toMatchObject({ active: 'A', nextBoot: 'B', osVersion: OLD });
    const back = await json(bed, 'rollback', '--to-previous', '-y');
    expect(back.code, back.said).toBe(0);
    await expectSettled(bed, node, 'A', OLD);
    await node.machine.cut();
    await node.untilUp();
    expect(await node.slot()).toBe('A');
  });
}

/** Resets the node until a hand was quick enough for the menu's two seconds. */
async function chooseByHand(node: VmNode, keys: string, slot: 'A' | 'B'): Promise<void> {
  for (let tries = 0; tries < 5; tries++) {
    const before = (await node.machine.serial()).length;
    await node.machine.cut();
    await node.untilSays('executed automatically', before);
    await node.machine.press(keys);
    await node.untilUp();
    if ((await node.slot()) === slot) return;
  }
  throw new Error(`${node.name} never booted ${slot} by hand`);
}

export async function uefiUpgradeAndFallBack(): Promise<void> {
  await withBed({ firmware: 'uefi', bus: 'nvme', scheme: 'https' }, async (bed, node) => {
    await expectFellBack(bed, node, await upgradeTo(bed, 'panic'));
    expectEnd(await upgradeTo(bed, 'good'), 0, 'upgraded');
    await expectSettled(bed, node, 'B', NEW);
    await node.machine.cut();
    await node.untilUp();
    await expectSettled(bed, node, 'B', NEW);
    expect(await node.grubenv(), 'the canary of the commit, which GRUB clears on FAT').toMatchObject({
      boot_success: '0',
    });
    await expectFallback(bed, 'proven', [node]);
  });
}

/** @param of the image that is written while the power is cut */
export async function powerCuts(count: number, of: () => ReturnType<typeof imageOf>): Promise<void> {
  await withBed({ writeLog: true }, async (bed, node) => {
    const image = await of();
    const run = bed.start(['upgrade', '-f', await bed.spec(image), '-y', '-o', 'json']);
    const recordings = await record({ bed, node, run }, 'write');
    expectEnd(await endOf(run.done), 0, 'upgraded');
    await node.machine.powerOff();
    const found = await judgeCuts(bed, node, recordings, { count, seed: SEED, body: await bodyOf(image.path) });
    expect(found.broken).toEqual([]);
    expect(found.disks).toBeGreaterThanOrEqual(count);
    expect(found.partial).toBeGreaterThan(count / 3);
    expect(Math.min(found.boots.A, found.boots.B)).toBeGreaterThan(0);
  });
}

/** The new image's kernel cannot be loaded: where GRUB takes it for slot A's, the node does not come up. */
export async function resetBeforeProof(): Promise<void> {
  await withBed({}, async (bed, node) => {
    const run = bed.start(['upgrade', '-f', await bed.spec(await imageOf(NEW, 'garbage-kernel')), '-y', '-o', 'json']);
    await untilStep(bed, node.name, 'verify');
    run.kill('SIGKILL');
    await node.machine.cut();
    await Promise.race([
      node.untilUp(),
      node.untilSays('Failed to boot both').then(() => {
        throw new Error("GRUB took slot B's kernel, which is not verified, for slot A's");
      }),
    ]);
    expect(await node.slot()).toBe('A');
  });
}

export async function everyFsync(): Promise<void> {
  await withBed({ writeLog: true }, async (bed, node) => {
    const found = await probeFsyncs(bed, node);
    for (const { mutant, probe, problems } of found) {
      if (mutant === undefined) expect(problems.join('\n'), probe).toBe('');
    }
    const survivors = found.filter(({ mutant, problems }) => mutant !== undefined && problems.length === 0);
    expect(survivors.map(({ mutant }) => `${mutant?.in}: ${mutant?.take}`).join('\n')).toBe('');
  });
}
