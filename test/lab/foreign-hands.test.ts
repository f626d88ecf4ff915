import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeGrubenv } from '../../src/lab/grubenv.ts';
import { overwriteInside } from '../../src/lab/inside.ts';
import type { Doc } from './cli-bed.ts';
import { nodeOf } from './cli-bed.ts';
import { type MatrixBed, startMatrixBed } from './matrix/play.ts';
import type { Mark } from './matrix/places.ts';

let bed: MatrixBed;

beforeAll(async () => {
  bed = await startMatrixBed();
});

afterEach(async () => {
  bed.keeper.forget();
  await bed.fresh('worker-1');
});

afterAll(async () => {
  await bed.stop();
});

/** Upgrades worker-1 alone; a hand does something at one exact moment of its way. */
async function meddle(at: Mark, hand: () => Promise<void> | void): Promise<Doc & { stderr: string }> {
  const running = bed.start(['upgrade', '-f', bed.lab.paths.spec, '-y', '--nodes', 'worker-1', '-o', 'json']);
  const held = await Promise.race([
    bed.keeper.hold('worker-1', at),
    running.done.then(({ stderr }) => Promise.reject(new Error(`it ended before ${at.what}:\n${stderr}`))),
  ]);
  await hand();
  held.letGo(true);
  const { stdout, stderr } = await running.done;
  return { ...(JSON.parse(stdout) as Doc), stderr };
}

/** It serves in its old slot, and nothing of the run is left. */
async function expectUntouched(): Promise<void> {
  const found = await bed.look('worker-1');
  expect(found).toMatchObject({ osVersion: 'KubeOS 1.0.0', active: 'A', nextBoot: 'A', cordoned: false });
  expect(bed.stepOf('worker-1')).toBeUndefined();
  expect(await bed.lab.node('worker-1').machine.processes()).toEqual([]);
}

describe('somebody else at work on a node', () => {
  it('uncordons it as its drain begins: it is not rebooted', async () => {
    const done = await meddle({ what: 'cordon', side: 'leave' }, () => bed.cordon('worker-1', false));
    expect(done.exitCode).toBe(3);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'failed', step: 'drain' });
    expect(nodeOf(done, 'worker-1').what).toMatch(/uncordoned it on its way|not cordoned \(any more\)/);
    expect(done.stderr).not.toMatch(/worker-1 +reboot/);
    await expectUntouched();
  });

  it('uncordons it once it is drained: it is not rebooted', async () => {
    const done = await meddle({ what: 'record arm', side: 'enter' }, () => bed.cordon('worker-1', false));
    expect(done.exitCode).toBe(3);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'failed', what: 'somebody uncordoned it on its way' });
    await expectUntouched();
  });

  it('clears next_entry between arming and reboot: it is not rebooted, and what is missing is named', async () => {
    const done = await meddle({ what: 'record reboot', side: 'enter' }, () =>
      bed.lab.node('worker-1').machine.setGrubVariables({ next_entry: '' }),
    );
    expect(done.exitCode).toBe(3);
    expect(nodeOf(done, 'worker-1').reason).toContain('the boot environment does not lead to slot B');
    await expectUntouched();
  });

  it('makes the boot environment unreadable between arming and reboot: it needs hands, and is not rebooted', async () => {
    const { machine } = bed.lab.node('worker-1');
    const whole = makeGrubenv([['saved_entry', 'A']]);
    const done = await meddle({ what: 'record reboot', side: 'enter' }, () =>
      overwriteInside(machine.root, machine.grubenv.slice(machine.root.length + 1), Buffer.alloc(whole.length, 'x')),
    );
    expect(done.exitCode).toBe(6);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'needs hands', step: 'reboot' });
    expect(bed.isCordoned('worker-1')).toBe(true);
    expect(bed.lab.node('worker-1').status()).toMatchObject({ state: 'up', slot: 'A' });
  });

  it('reboots it once it is armed: that boot is its trial, and it is upgraded', async () => {
    const done = await meddle({ what: 'arm', side: 'leave' }, async () => {
      await bed.lab.setFault('worker-1', 'power-off');
      await bed.lab.clearFault('worker-1', 'power-off');
    });
    expect([done.exitCode, nodeOf(done, 'worker-1').outcome]).toEqual([0, 'upgraded']);
    expect(nodeOf(done, 'worker-1').noticed).toEqual([
      'something else rebooted it once it was armed: that boot was its trial',
    ]);
  });

  it('deletes it from the cluster while its slot is written: its way ends, and nothing goes on on it', async () => {
    const done = await meddle({ what: 'launch write', side: 'leave' }, () => bed.lab.api.removeNode('worker-1'));
    expect(done.exitCode).toBe(3);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'failed', what: 'somebody deleted it from the cluster' });
    const { machine } = bed.lab.node('worker-1');
    expect(await machine.processes()).toEqual([]);
    expect((await machine.grubVariables())?.get('next_entry') ?? '').toBe('');
    const [address] = [bed.lab.node('worker-1').ssh.address];
    bed.lab.api.addNode({
      ...{ name: 'worker-1', architecture: 'amd64', controlPlane: false, osImage: 'KubeOS 1.0.0' },
      ...{ bootId: '', kernelVersion: '', addresses: [{ type: 'InternalIP', address }] },
    });
  });
});
