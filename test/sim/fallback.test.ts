import { describe, expect, test } from 'vitest';
import { expectAt, give, outcomes } from './scenario.ts';
import { SimWorld } from './world.ts';

describe('a node whose trial, should it fail, would not end by itself', () => {
  const worldWithOne = (): SimWorld => {
    const world = new SimWorld();
    world.node('worker-2').machine.fallback = { verdict: 'none', because: 'grubenv lies on LVM' };
    return world;
  };

  test('is not started, and the others go on', async () => {
    const world = worldWithOne();
    const ran = await give(world);
    expect(ran.plan?.notStarted).toMatchObject([{ node: 'worker-2', findings: [{ reason: 'grubenv lies on LVM' }] }]);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'not started', 'worker-3': 'upgraded' });
    expectAt(world, 'worker-2', 'KubeOS 1.0.0');
  });

  test('is tried where the user insists, and the plan says what that means', async () => {
    const world = worldWithOne();
    const ran = await give(world, { request: { allowNoFallback: true } });
    expect(ran.plan?.entries.map(({ node, fallback }) => [node, fallback])).toContainEqual(['worker-2', 'none']);
    expectAt(world, 'worker-2', 'KubeOS 2.0.0');
  });

  test('is not rolled back either', async () => {
    const world = new SimWorld();
    await give(world);
    world.node('worker-2').machine.fallback = { verdict: 'none', because: 'grubenv lies on LVM' };
    const ran = await give(world, { request: { goal: { operation: 'rollback', toOtherSlot: false } } });
    expect(outcomes(ran)['worker-2']).toBe('not started');
    expectAt(world, 'worker-2', 'KubeOS 2.0.0');
  });
});
