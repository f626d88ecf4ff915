import { describe, expect, test } from 'vitest';
import { expectAt, give, outcomes } from './scenario.ts';
import { system } from './machine.ts';
import { SimWorld } from './world.ts';

const MANAGED = { request: { managedBoot: true } };

describe('a run with --managed-boot', () => {
  const unloadable = (): SimWorld => {
    const world = new SimWorld();
    world.addImage(system('KubeOS 2.0.0', { boots: 'stuck' }));
    return world;
  };

  test('ends as fell back where GRUB cannot load the new slot; without it a node needs hands', async () => {
    expect(outcomes(await give(unloadable()))['worker-1']).toBe('needs hands');
    const world = unloadable();
    const ran = await give(world, MANAGED);
    expect(outcomes(ran)['worker-1']).toBe('fell back');
    expectAt(world, 'worker-1', 'KubeOS 1.0.0');
  });

  test('says in its plan which trials go by it, and so does a later run that does not ask for it', async () => {
    const world = new SimWorld();
    const ran = await give(world, MANAGED);
    expect(ran.plan?.entries.every(({ managedBoot }) => managedBoot === true)).toBe(true);
    world.node('worker-2').machine.managedBoot = { state: 'no' };
    const back = await give(world, { request: { goal: { operation: 'rollback', toOtherSlot: false } } });
    expect(back.plan?.entries.map(({ node, managedBoot }) => [node, managedBoot === true])).toEqual([
      ['worker-1', true],
      ['worker-2', false],
      ['worker-3', true],
    ]);
  });

  test('does not start a node on which none can be made, and starts it without', async () => {
    const world = new SimWorld();
    world.node('worker-2').machine.managedBoot = { state: 'no', problem: 'its grub.cfg does not read a custom.cfg' };
    const ran = await give(world, MANAGED);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'not started', 'worker-3': 'upgraded' });
    expect(ran.plan?.notStarted).toMatchObject([
      {
        node: 'worker-2',
        findings: [
          {
            what: 'no managed boot can be made on it',
            reason: 'its grub.cfg does not read a custom.cfg',
            next: 'mend that, or upgrade it without --managed-boot',
          },
        ],
      },
    ]);
    await give(world);
    expectAt(world, 'worker-2', 'KubeOS 2.0.0');
  });
});
