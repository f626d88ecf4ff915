import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, readFile, readdir, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';
import { MIB } from './node-bed.ts';
import {
  VERSION,
  begin,
  exec,
  expectRefused,
  fault,
  image,
  node,
  nodeAt,
  prepareStages,
  put,
  rooted,
  toB,
  use,
} from './stages.ts';

prepareStages();

describe('the boot environment', () => {
  const grubenv = 'boot/efi/EFI/openEuler/grubenv';
  it.each<[string, () => Promise<unknown>, string]>([
    ['missing', () => rm(rooted(grubenv)), 'is missing'],
    ['too long', () => truncate(rooted(grubenv), 1025), 'is 1025 bytes; GRUB needs exactly 1024'],
    ['empty', () => put(grubenv, ''), 'is 0 bytes'],
    [
      'a link',
      async () => {
        await rename(rooted(grubenv), rooted(`${grubenv}.real`));
        await symlink('grubenv.real', rooted(grubenv));
      },
      'is a link',
    ],
    ['not GRUB’s', () => put(grubenv, 'x'.repeat(1024)), 'is not a GRUB environment'],
    [
      'on the root file system',
      async () =>
        put(
          'proc/self/mountinfo',
          (await readFile(rooted('proc/self/mountinfo'), 'utf8')).replace('/boot/efi', '/mnt/efi'),
        ),
      'lies on the root file system',
    ],
    [
      'read-only for good',
      async () => {
        await fault('remount');
        await put(
          'proc/self/mountinfo',
          (await readFile(rooted('proc/self/mountinfo'), 'utf8')).replace('/boot/efi rw', '/boot/efi ro'),
        );
      },
      'is read-only and cannot be made writable',
    ],
    [
      'not kept',
      async () => {
        // Something to change, whatever the step.
        await node.machine.setGrubVariables({ prev_saved_entry: 'A' });
        const dd = await exec('dd');
        await use({ dd: `#!/bin/sh\ncase "$*" in *of=*grubenv*) exit 0 ;; esac\nexec ${dd} "$@"\n` });
      },
      'did not keep what was written',
    ],
  ])('%s: nothing is armed and no slot is written', async (what, arrange, words) => {
    for (const [stage, step, args] of [
      ['verified', 'arm', toB],
      ['staged', 'write', { target: 'B' }],
    ] as const) {
      await nodeAt(stage);
      const before = await sha256OfFile(node.machine.device('B'));
      await arrange();
      expectRefused(await node.run(step, args), 'boot-environment', words);
      expect(await sha256OfFile(node.machine.device('B'))).toBe(before);
      const seen = await node.observe();
      if (what === 'missing') expect(seen).toMatchObject({ unsupported: 'no-boot-environment' });
      else if (!what.startsWith('not kept') && what !== 'read-only for good')
        expect(seen).toHaveProperty(['env.problem']);
    }
  });

  it('without room for one entry more: nothing is armed, and the tool’s own words tell why', async () => {
    await nodeAt('verified');
    const text = '# GRUB Environment Block\nsaved_entry=A\n';
    await put(grubenv, `${text}other=${'x'.repeat(1024 - text.length - 9)}\n##`);
    expectRefused(await node.run('arm', toB), 'boot-environment', 'environment block too small');
    expect((await node.observe())['env.next']).toBeUndefined();
  });

  it('that is read-only is made writable for the moment, and read-only again', async () => {
    await nodeAt('verified');
    const ro = (await readFile(rooted('proc/self/mountinfo'), 'utf8')).replace('/boot/efi rw', '/boot/efi ro');
    await put('proc/self/mountinfo', ro);
    await node.must('arm', toB);
    expect(await readFile(path.join(node.machine.stateDir, 'mounts.log'), 'utf8')).toBe(
      'remount rw /boot/efi\nremount ro /boot/efi\n',
    );
    expect(await readFile(rooted('proc/self/mountinfo'), 'utf8')).toContain('/boot/efi ro');
  });

  it('with an entry that nobody knows is a problem to see, and is put right by the next change', async () => {
    await nodeAt('verified');
    await node.machine.setGrubVariables({ saved_entry: 'Fedora', prev_saved_entry: 'B' });
    expect(await node.observe()).toMatchObject({ 'env.problem': 'saved_entry is Fedora, which names no KubeOS slot' });
    await node.must('arm', toB);
    const variables = Object.fromEntries((await node.machine.grubVariables()) ?? []);
    expect(variables).toMatchObject({ saved_entry: 'A', next_entry: 'B' });
    expect(variables).not.toHaveProperty('prev_saved_entry');
  });

  it.each([
    ['KubeOS-A', 'KubeOS-B'],
    ['0', '1'],
    ['A', 'B'],
  ])('knows %s and %s', async (a, b) => {
    await nodeAt('fresh');
    await node.machine.setGrubVariables({ saved_entry: a, next_entry: b });
    expect(await node.observe()).toMatchObject({ 'env.saved': 'A', 'env.next': 'B' });
  });
});

describe('the proof', () => {
  it('wants the target slot, its version and another boot', async () => {
    await nodeAt('armed');
    expectRefused(await node.run('prove', toB), 'not-proven', 'has not rebooted since it was armed');
    await nodeAt('trial');
    const other = await node.run('prove', { ...toB, version: 'KubeOS 1.1' });
    expectRefused(other, 'not-proven', 'slot B runs KubeOS 1.1.0, wanted is KubeOS 1.1');
    await node.machine.boot();
    expectRefused(await node.run('prove', toB), 'not-proven', 'slot A runs, not slot B: the node fell back');
  });

  it('adopts a slot that was booted by hand', async () => {
    await nodeAt('committed');
    await node.machine.setGrubVariables({ next_entry: 'A' });
    await node.machine.boot();
    expect(await node.observe()).toMatchObject({ active: 'A', 'env.saved': 'B' });
    await node.must(
      'begin',
      begin({ operation: 'rollback', sha256: '', from: 'B', target: 'A', version: 'KubeOS 1.0.0' }),
    );
    await node.must('prove', { target: 'A', version: 'KubeOS 1.0.0', adopt: true });
    await node.must('commit', { target: 'A' });
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A', trial: false });
  });
});

describe('the way back', () => {
  it('from an unhealthy trial: sent back, remembered, closed', async () => {
    await nodeAt('trial');
    expect((await node.must('reboot', { purpose: 'send-back' })).values).toEqual({ accepted: 'yes' });
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A', trial: false });
    const closed = await node.must('close', { outcome: 'fell-back', reason: 'kubelet not\nready' });
    expect(closed.values).toMatchObject({ phase: 'fell-back', reason: 'kubelet not ready', version: VERSION });
    expect(await node.must('close', { outcome: 'fell-back', reason: 'again' })).toMatchObject({
      stdout: closed.stdout,
    });
    expect(await node.observe()).toMatchObject({ 'B.failed_trial': 'yes', 'A.failed_trial': 'no', 'env.saved': 'A' });
    expect(await readFile(rooted('persist/kubeos/failed'), 'utf8')).toBe(`${image.sha256} ${VERSION}\n`);
  });

  it('is forgotten as a failure once the same image has proven itself', async () => {
    await nodeAt('proven');
    const other = `${'a'.repeat(64)} KubeOS 1.0.9\n`;
    await put('persist/kubeos/failed', `${image.sha256} ${VERSION}\n${other}`);
    await node.must('commit', { target: 'B' });
    expect(await readFile(rooted('persist/kubeos/failed'), 'utf8')).toBe(other);
    expect(await node.observe()).toMatchObject({ active: 'B', 'B.failed_trial': 'no' });
    await put('persist/kubeos/failed', `${image.sha256} ${VERSION}\n`);
    await node.must('commit', { target: 'B' });
    expect(await readFile(rooted('persist/kubeos/failed'), 'utf8')).toBe('');
  });

  it('from a trial that GRUB could not clear, and from a commit that was cut short', async () => {
    await nodeAt('proven');
    await node.machine.setGrubVariables({ saved_entry: 'B', next_entry: 'B' });
    await node.must('reboot', { purpose: 'send-back' });
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A' });
  });

  it('needs nothing written in /persist, which may have turned read-only', async () => {
    await nodeAt('trial');
    const state = rooted('persist/kubeos');
    const before = await readFile(path.join(state, 'journal'), 'utf8');
    for (const name of await readdir(state)) await chmod(path.join(state, name), 0o444);
    await chmod(state, 0o555);
    await runTool('chown', ['-R', `${process.getuid!()}`, state]);
    expectRefused(await node.run('prove', toB), 'state', `cannot write ${state}/grub.new: Permission denied`);
    // A newer run than the node has seen.
    node.by = { run: 'run-2', token: 2 };
    expect((await node.must('reboot', { purpose: 'send-back' })).values).toEqual({ accepted: 'yes' });
    expect(await readFile(path.join(state, 'journal'), 'utf8')).toBe(before);
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A', trial: false });
    await chmod(state, 0o755);
  });

  it('by a rollback: on its content where nothing was recorded, on its digest where there is one', async () => {
    const back = { operation: 'rollback', version: 'KubeOS 1.0.0', sha256: '' };
    await nodeAt('committed');
    await node.must('begin', begin({ ...back, replaced: VERSION, from: 'B', target: 'A' }));
    const answer = await node.must('verify', { ...back, target: 'A' });
    expect(answer.values).toEqual({ version: 'KubeOS 1.0.0', basis: 'content' });
    await node.must('arm', { target: 'A', version: 'KubeOS 1.0.0' });
    expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'A', trial: true });
    await node.must('prove', { target: 'A', version: 'KubeOS 1.0.0' });
    await node.must('commit', { target: 'A' });

    const forth = { operation: 'rollback', version: VERSION, sha256: '' };
    await node.must('begin', begin({ ...forth, replaced: 'KubeOS 1.0.0' }));
    expect((await node.must('verify', { ...forth, target: 'B' })).values).toEqual({
      version: VERSION,
      basis: 'recorded-digest',
    });
    const slot = await readFile(node.machine.device('B'));
    // One in the head, which bears the slot's own label, and one in what is the image's.
    for (const at of [1, MIB]) {
      const changed = Buffer.from(slot);
      changed.writeUInt8(changed.readUInt8(at) ^ 1, at);
      await writeFile(node.machine.device('B'), changed);
      const refused = await node.run('verify', { ...forth, target: 'B' });
      expectRefused(refused, 'read-back-mismatch', 'was changed since it was verified');
    }
  });

  it('goes by its content where the head of its image is not on the node any more', async () => {
    const back = { operation: 'rollback', version: 'KubeOS 1.0.0', sha256: '' };
    await nodeAt('verified');
    await rm(rooted('persist/kubeos/head-B'));
    const forth = { operation: 'rollback', version: VERSION, sha256: '' };
    await node.must('close', { outcome: 'aborted' });
    await node.must('begin', begin({ ...forth, replaced: back.version }));
    expect((await node.must('verify', { ...forth, target: 'B' })).values).toEqual({
      version: VERSION,
      basis: 'content',
    });
  });

  it('is refused to a slot whose label is not the one that GRUB searches for; where it searches for none, it is not', async () => {
    const back = { operation: 'rollback', version: 'KubeOS 1.0.0', sha256: '' };
    await nodeAt('committed');
    await runTool('e2label', [node.machine.device('A'), 'ROOT-B']);
    await node.must('begin', begin({ ...back, replaced: VERSION, from: 'B', target: 'A' }));
    const refused = await node.run('verify', { ...back, target: 'A' });
    expectRefused(refused, 'bad-content', 'slot A bears the label ROOT-B, and GRUB searches for ROOT-A');
    expectRefused(await node.run('arm', { target: 'A', version: 'KubeOS 1.0.0' }), 'out-of-order', 'is not verified');

    const config = 'boot/efi/EFI/openEuler/grub.cfg';
    const byLabel = await readFile(rooted(config), 'utf8');
    await put(config, byLabel.replaceAll(/^ *search .*ROOT-[AB].*$/gm, "set root='hd0,gpt2'"));
    await node.must('verify', { ...back, target: 'A' });
    await put(config, byLabel);
    await runTool('e2label', [node.machine.device('A'), 'ROOT-A']);
    await node.must('verify', { ...back, target: 'A' });
  });

  it('is refused to a slot that was being written', async () => {
    await nodeAt('written');
    const back = { operation: 'rollback', version: VERSION, sha256: '' };
    await node.must('begin', begin(back));
    expectRefused(await node.run('verify', { ...back, target: 'B' }), 'bad-content', 'nothing to go back to');
  });
});

describe('the reboot', () => {
  it('needs a boot environment that still leads to the trial', async () => {
    await nodeAt('armed');
    await node.machine.setGrubVariables({ next_entry: '' });
    const answer = await node.run('reboot', { purpose: 'trial' });
    expectRefused(answer, 'out-of-order', 'the boot environment does not lead to slot B');
  });

  it('is told where nothing can order it', async () => {
    await nodeAt('armed');
    await use({ systemctl: '', reboot: '' });
    expectRefused(await node.run('reboot', { purpose: 'trial' }), 'reboot-failed', 'neither systemctl nor reboot');
  });

  it('into a trial does not wait for a disk that takes nothing any more, and the lock is free after it', async () => {
    await nodeAt('armed');
    node.edit = (script) => script.replace('FLUSH_SECONDS=10', 'FLUSH_SECONDS=1');
    await use({ sync: '#!/bin/sh\n[ "$#" -eq 0 ] || exit 0\nexec sleep 600\n' });
    expect((await node.must('reboot', { purpose: 'trial' })).values).toEqual({ accepted: 'yes' });
    expect((await node.must('claim')).values).toEqual({ token: '1' });
    await node.machine.killAll();
  });

  it('into a trial is not ordered by a script that comes so late that nobody waits for it', async () => {
    await nodeAt('armed');
    node.edit = (script) => script.replace('LATE_SECONDS=300', 'LATE_SECONDS=0');
    await use({ sync: '#!/bin/sh\n[ "$#" -eq 0 ] || exit 0\nexec sleep 2\n' });
    expectRefused(await node.run('reboot', { purpose: 'trial' }), 'reboot-failed', 'nobody waits for it any more');
    expect(existsSync(rooted('run/kubeos/reboot.sh'))).toBe(false);
  });

  it('outlives the session that ordered it, where logind ends what a session leaves behind', async () => {
    await nodeAt('armed');
    await fault('systemd');
    await put('run/systemd/system/x', '');
    await node.must('reboot', { purpose: 'trial' });
    const isOrdered = (): boolean => existsSync(path.join(node.machine.stateDir, 'reboot'));
    const waiting = async (): Promise<number[]> => {
      const pids = await node.machine.processes();
      const names = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
      return names.includes('sleep\n') ? pids : [];
    };
    let left: number[] = [];
    while (left.length === 0 && !isOrdered()) left = await waiting();
    for (const signal of ['TERM', 'HUP']) spawnSync('kill', ['-s', signal, ...left.map(String)]);
    for (let lives = true; !isOrdered(); lives = (await node.machine.processes()).length > 0) expect(lives).toBe(true);
  });

  it.each<[string, readonly string[]]>([
    ['systemctl reboot', []],
    ['reboot', ['systemctl reboot']],
    ['systemctl reboot --force', ['systemctl reboot', 'reboot', 'sync']],
    ['reboot -f', ['systemctl reboot', 'reboot', 'sync', 'systemctl reboot --force']],
  ])('is ordered by %s where the ways before it fail', async (taken, before) => {
    await nodeAt('armed');
    // systemd takes no timer either.
    await fault('systemd');
    await put('run/systemd/system/x', '');
    const double = `#!/bin/sh
echo "\${0##*/}\${1:+ $*}" >>"$KUBEOS_LAB_NODE/state/ways"
case "\${0##*/}\${1:+ $*}" in
sync) ;;
'${taken}') : >"$KUBEOS_LAB_NODE/state/reboot" ;;
*) exit 1 ;;
esac
`;
    await use({ systemctl: double, reboot: double, sync: double });
    expect((await node.must('reboot', { purpose: 'trial' })).values).toEqual({ accepted: 'yes' });
    const state = (name: string): Promise<string | undefined> =>
      readFile(path.join(node.machine.stateDir, name), 'utf8').catch(() => undefined);
    while ((await state('reboot')) === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    const ways = (await state('ways'))?.trimEnd().split('\n');
    // Before a trial all is forced to the disk first.
    expect(ways).toEqual(['sync', ...before, taken]);
    await node.machine.killAll();
  });
});
