import { expect, test } from 'vitest';
import { DISK_VERSION, imageOf } from './artifacts.ts';
import { untilStep } from './node.ts';
import { NEW, withBed } from './plays.ts';
import { endOf, expectEnd, expectLogged, expectSettled, json } from './checks.ts';
import { bodyOf, judgeCuts, placeIn, record } from './power-cuts.ts';

// A part of test/vm-matrix, on one machine, since each boot has its price.
test('a real machine falls back from a panic, survives cuts in the arming, is upgraded and rolled back', () =>
  withBed({ writeLog: true }, async (bed, node) => {
    const panics = await bed.spec(await imageOf(NEW, 'panic'));
    expectEnd(await json(bed, 'upgrade', '-f', panics, '-y'), 5, 'fell back');
    await expectSettled(bed, node, 'A', DISK_VERSION);

    const image = await imageOf(NEW);
    const args = ['upgrade', '-f', await bed.spec(image), '-y', '-o', 'json'];
    const run = bed.start(args);
    await untilStep(bed, node.name, 'arm');
    await node.machine.cut();
    await node.untilUp();
    expect(await node.slot()).toBe('A');
    const recordings = await record({ bed, node, run }, 'arm');
    expectEnd(await endOf(run.done), 0, 'upgraded');
    // What follows is another command's.
    const to = await placeIn(node);
    await expectSettled(bed, node, 'B', NEW);
    await expectLogged(node, 'committed: slot B');

    expectEnd(await json(bed, 'rollback', '--to-previous', '-y'), 0, 'rolled back');
    await expectSettled(bed, node, 'A', DISK_VERSION);
    await node.machine.powerOff();
    const upToThen = recordings.map((one) => (one === recordings.at(-1) ? { ...one, to } : one));
    const found = await judgeCuts(bed, node, upToThen, { count: 20, seed: 5, body: await bodyOf(image.path) });
    expect(found.broken).toEqual([]);
    expect(Math.min(found.boots.A, found.boots.B)).toBeGreaterThan(0);
  }));
