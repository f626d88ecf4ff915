import { describe, expect, test } from 'vitest';
import { system } from './machine.ts';
import { expectAllAt, expectAt, give, outcomes, TO_PREVIOUS } from './scenario.ts';
import { SimWorld } from './world.ts';

describe('what changes between the plan that was shown and the lock', () => {
  test('nothing: the plan is carried out', async () => {
    const world = new SimWorld();
    expect((await give(world)).result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('a new refusal: nothing is changed, the lock is given back, exit 4 with what it is', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      onShown: () => void world.osResources.push({ name: 'default/os', osversion: 'KubeOS 9', opstype: 'upgrade' }),
    });
    expect(ran.result).toMatchObject({ exitCode: 4, stopped: expect.stringContaining('operator') as string });
    expect(Object.values(outcomes(ran))).toEqual(['not started', 'not started', 'not started']);
    expect(world.lease).toMatchObject({ token: 1, held: false });
    expect([...world.nodes.values()].map(({ record, machine }) => [record, machine.token])).toEqual(
      [1, 2, 3].map(() => [undefined, 0]),
    );
  });

  test('a rollback would lead to another version: nothing is changed, exit 4 names both', async () => {
    const world = new SimWorld();
    await give(world);
    const ran = await give(world, {
      request: TO_PREVIOUS,
      onShown: () => {
        for (const { machine } of world.nodes.values()) machine.journal = { ...machine.journal!, replaced: 'KubeOS 7' };
      },
    });
    expect(ran.result).toMatchObject({
      exitCode: 4,
      stopped: expect.stringMatching(/KubeOS 7.*KubeOS 1\.0\.0/) as string,
    });
    expect(world.lease.held).toBe(false);
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('a node that needs the change only now is not started, and that is told', async () => {
    const world = new SimWorld();
    const ran = await give(world, { onShown: () => void world.addNode('worker-4', system('KubeOS 1.0.0')) });
    expect(outcomes(ran)).toEqual({
      'worker-1': 'upgraded',
      'worker-2': 'upgraded',
      'worker-3': 'upgraded',
      'worker-4': 'not started',
    });
    expect(ran.result?.exitCode).toBe(3);
    expect(ran.events).toContainEqual(expect.objectContaining({ type: 'notice', node: 'worker-4' }));
    expectAt(world, 'worker-4', 'KubeOS 1.0.0');
  });

  test('a node that was brought there meanwhile is already there; one that was deleted is told', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      onShown: () => {
        world.node('worker-2').machine.slots.A.content = system('KubeOS 2.0.0');
        world.node('worker-2').osImage = 'KubeOS 2.0.0';
        world.nodes.delete('worker-3');
      },
    });
    expect(outcomes(ran)).toEqual({
      'worker-1': 'upgraded',
      'worker-2': 'already there',
      'worker-3': 'not started',
    });
  });
});
