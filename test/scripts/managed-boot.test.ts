import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { runTool } from '../../src/lab/tools.ts';
import { copyNode, killAt, makeKillingBin, stopKilling } from './kill.ts';
import { SHELLS, type Shell, makeBin, makeImage, makeNode } from './node-bed.ts';
import {
  VERSION,
  exec,
  expectRefused,
  image,
  node,
  nodeAt,
  prepareStages,
  put,
  rooted,
  toB,
  use,
  yard,
} from './stages.ts';

prepareStages();

const FOLDER = 'boot/efi/EFI/openEuler';
const CUSTOM = `${FOLDER}/custom.cfg`;
const CONFIG = `${FOLDER}/grub.cfg`;
const managed = { ...toB, managed: true };

const custom = (): Promise<string | undefined> => readFile(rooted(CUSTOM), 'utf8').catch(() => undefined);
const mark = async (): Promise<string | undefined> => (await node.machine.grubVariables())?.get('kubeos_trial');

async function change(from: string | RegExp, to: string): Promise<void> {
  const text = await readFile(rooted(CONFIG), 'utf8');
  const changed = text.replaceAll(from, to);
  expect(changed).not.toBe(text);
  await writeFile(rooted(CONFIG), changed);
}

/** A trial that was armed with the managed boot, and what it leaves. */
async function armed(): Promise<void> {
  await nodeAt('verified');
  await node.must('arm', managed);
}

describe('a managed boot', () => {
  it('is made before the trial is armed, and what GRUB reads is whole', async () => {
    await armed();
    expect(await mark()).toBe('B');
    expect(await node.observe()).toMatchObject({
      managed: 'yes',
      'env.next': 'B',
      fallback: 'likely',
      fallback_because: expect.stringContaining('a slot that GRUB cannot load leads back too') as string,
    });
    await runTool('grub-script-check', [rooted(CUSTOM)]);
    const text = (await custom()) ?? '';
    expect(text).toContain("menuentry 'Trial of B' --unrestricted --id kubeos-trial-B {");
    const [ofA, ofB] = text.split('\n').filter((line) => line.startsWith('linux '));
    expect(ofA).toMatch(/ROOT|PARTUUID/);
    expect(ofB).toMatch(/ panic=3 rd\.shell=0 rd\.emergency=reboot kubeos\.trial=B$/);
    expect(text.match(/^set fallback=.$/gm)).toEqual(['set fallback=1', 'set fallback=0']);
  });

  it('boots the trial by an entry of its own, and is nothing to any later boot', async () => {
    await armed();
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'B', trial: true });
    expect(await readFile(rooted('proc/cmdline'), 'utf8')).toContain('rd.emergency=reboot kubeos.trial=B');
    await node.must('prove', toB);
    await node.must('commit', { target: 'B' });
    expect(await mark()).toBeUndefined();
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'B', trial: false });
    expect(await readFile(rooted('proc/cmdline'), 'utf8')).not.toContain('kubeos.trial');
    expect((await node.observe())['managed']).toBe('yes');
  });

  it('leads back from a slot that GRUB cannot load; without it the node stays down', async () => {
    const withoutKernel = await makeImage(yard.dir, VERSION, { missing: 'kernel' });
    for (const kind of ['up', 'down'] as const) {
      await nodeAt('verified');
      await node.must('arm', kind === 'up' ? managed : toB);
      await writeFile(node.machine.device('B'), await readFile(withoutKernel.path));
      const booted = await node.machine.boot();
      expect(booted).toMatchObject(kind === 'up' ? { kind, slot: 'A', trial: false } : { kind });
      expect(booted.attempts.map(({ slot }) => slot)).toEqual(kind === 'up' ? ['B', 'A'] : ['B']);
    }
  });

  it('leads back from B to A as well as from A to B', async () => {
    await nodeAt('committed');
    const back = { operation: 'rollback', version: 'KubeOS 1.0.0', sha256: '', target: 'A' };
    await node.must('begin', { ...back, replaced: VERSION, from: 'B' });
    await node.must('verify', back);
    await node.must('arm', { target: 'A', version: 'KubeOS 1.0.0', managed: true });
    await writeFile(node.machine.device('A'), Buffer.alloc(1024 * 1024));
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'B', trial: false });
  });

  it('that is there takes part in every trial, asked for or not, and follows grub.cfg', async () => {
    await armed();
    await node.must('close', { outcome: 'aborted' });
    expect(await mark()).toBeUndefined();
    const before = await custom();
    await change('quiet', 'loglevel=3');
    expect((await node.observe())['managed']).toBe('stale');
    await node.must('begin', { ...begun(), from: 'A' });
    await node.must('write', { target: 'B' });
    await node.must('verify', { operation: 'upgrade', target: 'B', version: VERSION, sha256: image.sha256 });
    await node.must('arm', toB);
    expect(await mark()).toBe('B');
    expect(await custom()).toBe(before?.replaceAll('quiet', 'loglevel=3'));
  });

  it('is not written again where it stands', async () => {
    await armed();
    const before = await stat(rooted(CUSTOM));
    await node.must('arm', managed);
    expect((await stat(rooted(CUSTOM))).ino).toBe(before.ino);
  });

  it('adds what makes a kernel that panics start anew, where the entry has not said so', async () => {
    await nodeAt('verified');
    await change(' panic=3', ' panic=0 rd.emergency=poweroff');
    await change(' oops=panic', '');
    await node.must('arm', managed);
    expect(await custom()).toMatch(/ panic=0 panic=10 oops=panic rd\.shell=0 rd\.emergency=reboot kubeos\.trial=B$/m);
  });

  it.each(SHELLS)('is the same by the tools of %s', async (shell: Shell) => {
    await armed();
    const wanted = await custom();
    await nodeAt('verified');
    node.bin = await makeBin(path.join(yard.dir, `bin-managed-${shell}`), shell);
    await node.must('arm', managed);
    expect(await custom()).toBe(wanted);
    expect((await node.must('close', { outcome: 'aborted' })).values['phase']).toBe('aborted');
    await node.must('reset-boot');
    expect(await custom()).toBeUndefined();
  });
});

const begun = (): Record<string, string> => ({
  ...{ operation: 'upgrade', version: VERSION, replaced: 'KubeOS 1.0.0', sha256: image.sha256, target: 'B' },
});

describe('a managed boot is refused, and nothing is armed', () => {
  it.each<[string, () => Promise<void>, string]>([
    ['does not read a custom.cfg', () => change('source $prefix/custom.cfg', 'true'), 'does not read a custom.cfg'],
    ['cannot be read', () => rm(rooted(CONFIG)), 'grub.cfg cannot be read'],
    [
      'reads custom.cfg first',
      () => change('set timeout=5', 'source $prefix/custom.cfg'),
      'before its entries A and B',
    ],
    [
      'reads yet another file',
      () => change('set timeout=5', 'source $prefix/more.cfg'),
      'reads another file: what that adds is not known',
    ],
    [
      'has an entry on a condition',
      () => change("menuentry 'B'", "if true; then\nmenuentry 'C' {\n}\nfi\nmenuentry 'B'"),
      'hang on a condition',
    ],
    [
      'has a submenu',
      () => change("menuentry 'A'", "submenu 'more' {\n}\nmenuentry 'A'"),
      'is not understood: submenu',
    ],
    ['loads two kernels', () => change('  initrd', '  linux /boot/other\n  initrd'), 'does not load one kernel'],
    ['takes part of the environment', () => change('load_env', 'load_env next_entry'), 'only some of the environment'],
    ['has the last word', async () => append('set default=0\n'), 'decides after custom.cfg what is booted'],
    [
      'ends too soon',
      async () => put(CONFIG, (await readFile(rooted(CONFIG), 'utf8')).split('  initrd')[0] ?? ''),
      'in the middle of an entry',
    ],
  ])('where grub.cfg %s', async (_, arrange, words) => {
    await nodeAt('verified');
    await arrange();
    const seen = await node.observe();
    expect(seen).toMatchObject({ managed: 'no' });
    expect(seen['managed_problem']).toContain(words);
    expectRefused(await node.run('arm', managed), 'boot-environment', `no managed boot can be made: `);
    expect(await custom()).toBeUndefined();
    expect((await node.machine.grubVariables())?.get('next_entry') ?? '').toBe('');
    // Without it the trial is as it always was.
    await node.must('arm', toB);
    expect(await mark()).toBeUndefined();
  });

  const append = async (text: string): Promise<void> => put(CONFIG, `${await readFile(rooted(CONFIG), 'utf8')}${text}`);

  it.each<[string, string, string]>([
    ['decides what is booted', 'set default=2\n', 'decides itself what is booted'],
    ['is no whole script', 'if true; then\n', 'finds an error in it'],
    ['does not end its last line', 'set theme=x', 'its last line does not end'],
  ])('where a custom.cfg of somebody else %s', async (_, text, words) => {
    await nodeAt('verified');
    await use({ 'grub2-script-check': `#!/bin/sh\nexec ${await exec('grub-script-check')} "$@"\n` });
    await put(CUSTOM, text);
    expectRefused(await node.run('arm', managed), 'boot-environment', words);
    expect(await custom()).toBe(text);
  });

  it('where nothing on the node can check a custom.cfg of somebody else', async () => {
    await nodeAt('verified');
    await put(CUSTOM, 'set theme=x\n');
    expectRefused(await node.run('arm', managed), 'boot-environment', 'has no grub2-script-check');
  });
});

describe('reset-boot', () => {
  const OTHERS = "# ours\nset theme=x\n\nmenuentry 'memtest' {\n\tlinux16 /memtest\n}\n";

  it('leaves no trace where there was no custom.cfg', async () => {
    await armed();
    await node.must('close', { outcome: 'aborted' });
    expect((await node.must('reset-boot')).values).toEqual({ removed: 'yes' });
    expect(await custom()).toBeUndefined();
    expect(await node.observe()).toMatchObject({
      managed: 'no',
      fallback_because: expect.not.stringContaining('halts') as string,
    });
    expect((await node.must('reset-boot')).values).toEqual({ removed: 'no' });
  });

  it('gives back byte for byte what others had written, even out of a damaged file', async () => {
    for (const damaged of [false, true]) {
      await nodeAt('verified');
      await use({ 'grub2-script-check': `#!/bin/sh\nexec ${await exec('grub-script-check')} "$@"\n` });
      await put(CUSTOM, OTHERS);
      await node.must('arm', managed);
      expect((await custom())?.startsWith(`${OTHERS}# kubeos managed boot: begins`)).toBe(true);
      expect(await readFile(rooted('persist/kubeos/custom.cfg'), 'utf8')).toBe(OTHERS);
      await node.must('close', { outcome: 'aborted' });
      if (damaged) await put(CUSTOM, `${(await custom())?.slice(0, -20)}`);
      await node.must('reset-boot');
      expect(await custom()).toBe(OTHERS);
    }
  });

  it('killed before any of its changes leaves a node that boots, and ends the same when it is given again', async () => {
    await nodeAt('verified');
    await use({ 'grub2-script-check': `#!/bin/sh\nexec ${await exec('grub-script-check')} "$@"\n` });
    // No more than the lab's GRUB can follow.
    const others = '# ours\nset theme=x\n';
    await put(CUSTOM, others);
    await node.must('arm', managed);
    await node.must('close', { outcome: 'aborted' });
    node.bin = await makeKillingBin(path.join(yard.dir, 'bin-killing'), 'dash');
    const before = await custom();
    let ended = '';
    for (let at = 1; ended !== 'ok'; at++) {
      const copy = await copyNode(node, path.join(yard.dir, 'killed'));
      await killAt(copy, at, false);
      ({ ended } = await copy.run('reset-boot'));
      stopKilling(copy);
      expect(await copy.machine.boot()).toMatchObject({ kind: 'up', slot: 'A', trial: false });
      const left = await readFile(path.join(copy.machine.root, CUSTOM), 'utf8');
      expect([before, others]).toContain(left);
      await copy.must('reset-boot');
      expect(await readFile(path.join(copy.machine.root, CUSTOM), 'utf8')).toBe(others);
      expect(await copy.observe()).toMatchObject({ managed: 'no' });
    }
  });

  it('leaves a custom.cfg alone that is not of kubeos', async () => {
    await nodeAt('committed');
    await put(CUSTOM, OTHERS);
    expect((await node.must('reset-boot')).values).toEqual({ removed: 'no' });
    expect(await custom()).toBe(OTHERS);
  });

  it('waits for the end of a trial that is armed or runs', async () => {
    await armed();
    expectRefused(await node.run('reset-boot'), 'out-of-order', 'the trial of slot B has not ended (phase armed)');
    await node.machine.boot();
    expectRefused(await node.run('reset-boot'), 'out-of-order', 'the trial of slot B has not ended (phase armed)');
    await node.must('prove', toB);
    expectRefused(await node.run('reset-boot'), 'out-of-order', 'has not ended (phase proven)');
    await nodeAt('committed');
    await node.machine.setGrubVariables({ next_entry: 'A' });
    expectRefused(await node.run('reset-boot'), 'out-of-order', 'the next boot is a trial of slot A');
  });

  it('on a node that was never managed changes nothing', async () => {
    const fresh = await makeNode(yard.dir, (await nodeAt('fresh')).bin, image);
    const before = await readFile(fresh.machine.grubenv);
    expect((await fresh.must('reset-boot')).values).toEqual({ removed: 'no' });
    expect(await readFile(fresh.machine.grubenv)).toEqual(before);
  });
});
