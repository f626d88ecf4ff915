import { readFile, rm, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { makeGrubenv } from '../../src/lab/grubenv.ts';
import { node, nodeAt, prepareStages, rooted, toB } from './stages.ts';

prepareStages();

const ENV = 'boot/efi/EFI/openEuler/grubenv';
const CONFIG = 'boot/efi/EFI/openEuler/grub.cfg';
const MOUNTS = 'proc/self/mountinfo';

const fallback = async (): Promise<[string | undefined, string | undefined]> => {
  const seen = await node.observe();
  return [seen['fallback'], seen['fallback_because']];
};

async function change(file: string, from: string, to: string): Promise<void> {
  const text = await readFile(rooted(file), 'utf8');
  expect(text).toContain(from);
  await writeFile(rooted(file), text.replaceAll(from, to));
}

describe('that a trial which fails ends by itself', () => {
  it('is likely on a node that nothing has been tried on', async () => {
    await nodeAt('fresh');
    expect(await fallback()).toEqual(['likely', 'no boot has shown yet that GRUB can clear next_entry here']);
  });

  it('is proven by the first trial, and by each boot after its commit', async () => {
    await nodeAt('proven');
    expect((await fallback())[0]).toBe('proven');
    await nodeAt('committed');
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('1');
    expect((await fallback())[0]).toBe('proven');
    await node.machine.boot();
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('0');
    expect((await fallback())[0]).toBe('proven');
  });

  it('is not so where GRUB left next_entry as it was', async () => {
    await nodeAt('trial');
    await writeFile(
      rooted(ENV),
      makeGrubenv([
        ['saved_entry', 'A'],
        ['next_entry', 'B'],
      ]),
    );
    await node.must('prove', toB);
    expect(await fallback()).toEqual([
      'none',
      'GRUB cannot write /boot/efi/EFI/openEuler/grubenv: what it is told for one boot stays for all',
    ]);
    await node.must('commit', { target: 'B' });
    expect((await node.observe())['env.next']).toBeUndefined();
    expect((await fallback())[0]).toBe('none');
  });

  it('is not so where a boot after the commit left boot_success as it was', async () => {
    await nodeAt('committed');
    const before = await readFile(rooted(ENV));
    await node.machine.boot();
    await writeFile(rooted(ENV), before);
    expect((await fallback())[0]).toBe('none');
  });

  it('is told by no canary where the grub.cfg of the node does not save boot_success', async () => {
    await nodeAt('proven');
    await change(CONFIG, 'save_env boot_success', '');
    await node.must('commit', { target: 'B' });
    expect((await node.machine.grubVariables())?.get('boot_success')).toBe('0');
    expect((await fallback())[0]).toBe('proven');
  });

  it.each([
    ['no plain partition', '254:1 /', '253:0 /', /lies on \/dev\/vda1, which is no plain partition/],
    [
      'a file system that GRUB cannot write',
      '- vfat /dev/vda1',
      '- btrfs /dev/vda1',
      /on a file system that GRUB cannot/,
    ],
  ])('is not so where the environment lies on %s', async (_what, from, to, because) => {
    await nodeAt('proven');
    await change(MOUNTS, from, to);
    const [verdict, why] = await fallback();
    expect(verdict).toBe('none');
    expect(why).toMatch(because);
  });

  it('is believed where the grub.cfg cannot be read', async () => {
    await nodeAt('fresh');
    await rm(rooted(CONFIG));
    expect((await fallback())[0]).toBe('likely');
  });
});

describe('a node whose grub.cfg does not know next_entry', () => {
  it('is told as one on which no slot can be tried', async () => {
    await nodeAt('fresh');
    await change(CONFIG, 'next_entry', 'another_entry');
    expect(await node.observe()).toMatchObject({
      unsupported: 'no-trial',
      unsupported_message: 'its grub.cfg does not know next_entry: no slot can be tried for one boot',
    });
  });
});
