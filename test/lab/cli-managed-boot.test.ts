import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type CliBed, nodeOf, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';
import { inTerminal } from './machines.ts';

let bed: CliBed;

beforeAll(async () => {
  bed = await startCliBed();
});

afterAll(async () => {
  await bed.stop();
});

const customConfig = (node: string): string =>
  path.join(bed.lab.node(node).machine.root, 'boot/efi/EFI/openEuler/custom.cfg');

it('is shown in the plan, made by an upgrade, shown by status, and taken out by node reset-boot', async () => {
  const args = ['-f', bed.lab.paths.spec, '--managed-boot', '--nodes', 'worker-1'];
  const plan = await bed.kubeos(['plan', ...args]);
  expect(plan.stdout).toContain('boot   managed: a slot that GRUB cannot load leads back too');
  expect(await bed.json(['plan', ...args])).toMatchObject({
    managedBoot: true,
    entries: [{ node: 'worker-1', managedBoot: true }],
  });
  expect(existsSync(customConfig('worker-1'))).toBe(false);

  await bed.lab.setFault('worker-1', 'unready');
  const running = bed.start(['upgrade', ...args, '-y', '-o', 'json']);
  await bed.untilStep('worker-1', 'prove');
  const early = await bed.json(['node', 'reset-boot', 'worker-1', '-y']);
  expect([early.exitCode, early.nodes[0]?.outcome, early.nodes[0]?.what]).toEqual([
    4,
    'not done',
    'the trial of its slot B has not ended',
  ]);
  await bed.lab.clearFault('worker-1');
  const upgraded = await running.done;
  expect(upgraded.code, upgraded.stderr).toBe(0);
  expect(await readFile(customConfig('worker-1'), 'utf8')).toContain('kubeos.trial=B');
  expect((await bed.kubeos(['status', '-o', 'wide'])).stdout).toMatch(/worker-1 .* proven, managed /);
  expect(await bed.look('worker-1')).toMatchObject({ managedBoot: { state: 'yes' } });

  const terminal = inTerminal(bed, ['node', 'reset-boot', 'worker-1', 'worker-2']);
  await until(() => terminal.shown().includes('Take the managed boot out? [y/N]'));
  expect(terminal.shown()).toMatch(/worker-1.* to be taken out[^]*worker-2.* none/);
  terminal.type('n\r');
  expect(await terminal.ended).toBe(4);
  expect(existsSync(customConfig('worker-1'))).toBe(true);

  const reset = await bed.json(['node', 'reset-boot', 'worker-1', 'worker-2', '-y']);
  expect(reset).toMatchObject({ kind: 'BootReset', exitCode: 0 });
  expect(['worker-1', 'worker-2'].map((name) => nodeOf(reset, name).outcome)).toEqual(['taken out', 'nothing to do']);
  expect(existsSync(customConfig('worker-1'))).toBe(false);
  const again = await bed.kubeos(['node', 'reset-boot', '-f', bed.lab.paths.spec, '--exclude', 'worker-2']);
  expect([again.code, again.stdout]).toEqual([0, 'worker-1: it has no managed boot: nothing to do\n']);
  expect((await bed.kubeos(['lock', 'status'])).stdout).toContain('The lock is free.');
});

it('is asked for no node in particular: refused, with what to name', async () => {
  const none = await bed.kubeos(['node', 'reset-boot']);
  expect([none.code, none.stdout]).toEqual([2, '']);
  expect(none.stderr).toContain('name them, or give -l SELECTOR');
  const unknown = await bed.kubeos(['node', 'reset-boot', 'worker-9']);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toContain('names worker-9, which the cluster does not have');
});
