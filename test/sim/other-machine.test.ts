import { describe, expect, test } from 'vitest';
import { system } from './machine.ts';
import { expectAllAt, give, outcomes, type Ran } from './scenario.ts';
import { SimWorld } from './world.ts';

const OTHER = 'SSH reaches another machine than the one whose kubelet is this node';

const findingsOn = ({ plan }: Ran, name: string): unknown =>
  plan?.notStarted.find(({ node }) => node === name)?.findings.map(({ what }) => what);
const warningsOn = ({ plan }: Ran, name: string): unknown =>
  plan?.entries.find(({ node }) => node === name)?.warnings?.map(({ what }) => what);

/** The machine is reset, and time goes on for so long. */
const resetAgo = (world: SimWorld, name: string, ms: number): Promise<void> => {
  world.machine(name).reset();
  return world.clock.run(world.clock.sleep(ms));
};

/** A beat of the kubelet of a node whose address leads elsewhere: it lives, and tells of a boot of its own. */
function leadsElsewhere(world: SimWorld, name: string): void {
  world.node(name).bootId = 'a boot of the real one';
}

describe('a node whose live kubelet tells of another boot than SSH shows', () => {
  test('is not started, and the machine that SSH reaches is left alone; the others go on', async () => {
    const world = new SimWorld();
    leadsElsewhere(world, 'worker-2');
    const ran = await give(world);
    expect(findingsOn(ran, 'worker-2')).toEqual([OTHER]);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'not started', 'worker-3': 'upgraded' });
    expect([world.machine('worker-2').journal, world.machine('worker-2').token]).toEqual([undefined, 0]);
  });

  test('is told of as one that is not reached, where it is the only one', async () => {
    const world = new SimWorld(['worker-1']);
    leadsElsewhere(world, 'worker-1');
    expect((await give(world)).result?.exitCode).toBe(10);
  });

  test('is not started, where that is so only once its turn has come', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing.startsWith('drain worker-1')) leadsElsewhere(world, 'worker-2');
      },
    });
    expect(findingsOn(ran, 'worker-2')).toBeUndefined();
    const result = ran.result?.results.find(({ node }) => node === 'worker-2');
    expect([result?.outcome, result?.what]).toEqual(['not started', OTHER]);
    expect(world.machine('worker-2').journal).toBeUndefined();
  });
});

describe('a node that was reset a moment ago', () => {
  test.each([20_500, 22_000, 25_900])('%d ms ago is waited for, and upgraded like the others', async (ms) => {
    const world = new SimWorld();
    await resetAgo(world, 'worker-2', ms);
    const ran = await give(world);
    expect(findingsOn(ran, 'worker-2')).toBeUndefined();
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('and whose kubelet never reports is taken for no other machine', async () => {
    const world = new SimWorld(['worker-1'], system('KubeOS 1.0.0', { kubelet: 'dead' }));
    await resetAgo(world, 'worker-1', 21_000);
    expect(findingsOn(await give(world), 'worker-1')).toBeUndefined();
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('and goes on being called Ready, though nothing is heard of it, is warned of', async () => {
    const world = new SimWorld(['worker-1']);
    leadsElsewhere(world, 'worker-1');
    world.node('worker-1').lease = { mark: 'stands still' };
    const ran = await give(world, { healthTimeoutMs: 60_000 });
    expect(warningsOn(ran, 'worker-1')).toEqual(['its kubelet has not reported since its last boot']);
  });
});
