import { expect } from 'vitest';
import { DISK_VERSION, imageOf } from './artifacts.ts';
import type { VmBed, VmNode } from './bed.ts';
import { endOf, expectEnd, expectSettled, json } from './checks.ts';
import { untilStep } from './node.ts';

const NEW = 'KubeOS 1.1.0';

/**
 * A write goes on though kubeos and with it the SSH session ended that began it; then up and back, by reboots that leave
 * the file systems clean. The node's logind ends all that a session leaves behind.
 */
export async function underSystemd(bed: VmBed, node: VmNode): Promise<void> {
  await expectSessionsEnd(node);
  const args = ['upgrade', '-f', await bed.spec(await imageOf(NEW, 'good', 'systemd')), '-y', '-o', 'json'];
  // Slow enough to be met in the middle.
  const run = bed.start([...args, '--write-rate', '2M']);
  await untilStep(bed, node.name, 'write');
  await untilTrue(node, '[ "$(systemctl is-active kubeos-write)" = active ]');
  const invocation = 'systemctl show --property=InvocationID kubeos-write';
  const before = await node.ssh(invocation);
  run.kill('SIGKILL');
  await run.done;
  // No session but the one that asks.
  await untilTrue(node, '[ "$(loginctl list-sessions --no-legend | wc -l)" -eq 1 ]');
  expect(await node.ssh('systemctl is-active kubeos-write')).toBe('active\n');
  expect(await node.ssh(invocation)).toBe(before);

  expectEnd(await endOf(bed.kubeos(args)), 0, 'upgraded');
  await expectSettled(bed, node, 'B', NEW);
  await expectOrderly(node, 1);
  expectEnd(await json(bed, 'rollback', '--to-previous', '-y'), 0, 'rolled back');
  await expectSettled(bed, node, 'A', DISK_VERSION);
  await expectOrderly(node, 2);
  const { stdout } = await bed.kubeos(['logs', node.name, '-n', '200']);
  expect(stdout).toContain('committed: slot B (KubeOS 1.1.0) is permanent');
}

/** Its network goes once the timer of its trial is planted: nobody reaches it, and it goes back by itself. */
export async function cutOffOnTrial(bed: VmBed, node: VmNode): Promise<void> {
  const spec = await bed.spec(await imageOf(NEW, 'lost-network', 'systemd'));
  const end = await json(bed, 'upgrade', '-f', spec, '-y', '--dead-man', '20s');
  expectEnd(end, 5, 'fell back');
  await node.untilSays('the network is lost');
  await expectSettled(bed, node, 'A', DISK_VERSION);
  await expectOrderly(node, 2);
  const { stdout } = await bed.kubeos(['logs', node.name, '-n', '200']);
  expect(stdout).toContain('no sign of life from kubeos for 20s on trial: the node went back by itself');
}

/** What else would this rig show? */
async function expectSessionsEnd(node: VmNode): Promise<void> {
  await node.ssh(`setsid sh -c 'echo "$$" >/run/left; exec sleep 100000' >/dev/null 2>&1 </dev/null &
until kill -0 "$(cat /run/left)"; do sleep 0.1; done`);
  await untilTrue(node, '! kill -0 "$(cat /run/left)"');
}

/** One session for all the time: each costs the node a second or more. */
async function untilTrue(node: VmNode, condition: string): Promise<void> {
  await node.ssh(`tries=3000
until ${condition}; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || exit 1
  sleep 0.2
done 2>/dev/null`);
}

/** So often the node's services were stopped before a reboot; and no file system had to be mended after the last. */
async function expectOrderly(node: VmNode, times: number): Promise<void> {
  expect((await node.machine.serial()).split('kubelet: stopped')).toHaveLength(times + 1);
  expect(await node.ssh('dmesg')).not.toMatch(/vda4.*recovery/);
}
