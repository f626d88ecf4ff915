import { describe, expect, test } from 'vitest';
import { expectAllAt, give, outcomes, TO_PREVIOUS } from './scenario.ts';
import { SimWorld } from './world.ts';

describe('the happy way', () => {
  test('three nodes are upgraded one after the other, and a second run has nothing to do', async () => {
    const world = new SimWorld();
    const ran = await give(world);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expect(ran.result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
    const again = await give(world);
    expect(outcomes(again)).toEqual({
      'worker-1': 'already there',
      'worker-2': 'already there',
      'worker-3': 'already there',
    });
    expect(again.result?.exitCode).toBe(0);
  });

  test('rolled back to what was before; given again, nothing changes', async () => {
    const world = new SimWorld();
    await give(world);
    const back = await give(world, { request: TO_PREVIOUS });
    expect(outcomes(back)).toEqual({ 'worker-1': 'rolled back', 'worker-2': 'rolled back', 'worker-3': 'rolled back' });
    expectAllAt(world, 'KubeOS 1.0.0');
    const again = await give(world, { request: TO_PREVIOUS });
    expect(new Set(Object.values(outcomes(again)))).toEqual(new Set(['already there']));
    expectAllAt(world, 'KubeOS 1.0.0');
  });
});
