import { describe, expect, test } from 'vitest';
import { expectAllAt, expectAt, give, outcomes, TO_PREVIOUS } from './scenario.ts';
import { SimWorld } from './world.ts';

/** A pod that no drain gets past appears on worker-1 while the run does something there. */
const bareDuring =
  (world: SimWorld, step: string) =>
  (_client: unknown, _count: number, doing: string): void => {
    const { pods } = world.node('worker-1');
    if (doing === `record worker-1 ${step}` && !pods.some(({ bare }) => bare)) {
      pods.push({ name: 'shop/debug', bare: true });
    }
  };

describe('a drain that is certain to fail, known only when the node is about to be written', () => {
  test.each([
    ['before the write', false],
    ['after the drain', true],
  ])('written %s: not started, nothing written or cordoned, no failure', async (_name, writeAfterDrain) => {
    const world = new SimWorld();
    const before = world.machine('worker-1').slots.B;
    const ran = await give(world, { request: { writeAfterDrain }, onBreath: bareDuring(world, 'stage') });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'not started', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    const result = ran.result?.results.find(({ node }) => node === 'worker-1');
    expect(result).toMatchObject({
      what: expect.stringContaining('certain to fail') as string,
      reason: 'pod shop/debug',
      next: expect.stringContaining('--force') as string,
    });
    expect(result).not.toHaveProperty('step');
    expect(ran.result?.exitCode).toBe(3);
    expect(world.machine('worker-1').slots.B).toBe(before);
    expect(world.machine('worker-1').journal?.phase).toBe('aborted');
    expect(
      ran.events.some(
        (event) => 'step' in event && 'node' in event && event.node === 'worker-1' && event.step === 'drain',
      ),
    ).toBe(false);
    expectAt(world, 'worker-1', 'KubeOS 1.0.0');
    world.node('worker-1').pods = [];
    await give(world);
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('a rollback is asked about its drain too', async () => {
    const world = new SimWorld();
    await give(world);
    const ran = await give(world, { request: TO_PREVIOUS, onBreath: bareDuring(world, 'verify') });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'not started', 'worker-2': 'rolled back' });
    expectAt(world, 'worker-1', 'KubeOS 2.0.0');
  });
});

describe('what becomes of the cordon', () => {
  test('an API that is away just as a node is to be cordoned is waited for', async () => {
    const world = new SimWorld(['worker-1']);
    let was = false;
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing !== 'cordon worker-1' || was) return;
        was = true;
        world.apiAway = true;
        world.clock.after(30_000, () => void (world.apiAway = false));
      },
    });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded' });
  });
});

describe('a node that tells of a newer run', () => {
  test('halts the whole run, however many failures are allowed; exit 3', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      request: { maxFailures: 0 },
      onBreath: (_client, _count, doing) => {
        if (doing === 'arm worker-1') world.machine('worker-1').token = 99;
      },
    });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'failed', 'worker-2': 'not started', 'worker-3': 'not started' });
    expect(ran.result).toMatchObject({ exitCode: 3, stopped: 'the lock was lost' });
    expect(world.machine('worker-2').slots.B.content).toBeUndefined();
  });
});
