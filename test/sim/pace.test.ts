import { describe, expect, test } from 'vitest';
import type { RolloutEvent } from '../../src/rollout/events.ts';
import { TO_PREVIOUS, expectAllAt, give, outcomes } from './scenario.ts';
import { system } from './machine.ts';
import { SimWorld } from './world.ts';

const FIVE = ['worker-1', 'worker-2', 'worker-3', 'worker-4', 'worker-10'];
const five = (): SimWorld => new SimWorld(FIVE);
const three = { maxUnavailable: { kind: 'count' as const, count: 3 } };

/** Node names in the order in which the run started them, and how many were under way at once. */
function starts(events: readonly RolloutEvent[]): { order: string[]; most: number[] } {
  const order: string[] = [];
  const most: number[] = [];
  let underWay = 0;
  for (const event of events) {
    if (event.type === 'node-started') {
      order.push(event.node);
      most.push(++underWay);
    }
    if (event.type === 'node-done') underWay--;
  }
  return { order, most };
}

describe('pace', () => {
  test('the canary goes alone, then as many as may be unavailable, in natural order', async () => {
    const { events } = await give(five(), { request: three });
    const { order, most } = starts(events);
    expect(order).toEqual(['worker-1', 'worker-2', 'worker-3', 'worker-4', 'worker-10']);
    expect(most.slice(0, 4)).toEqual([1, 1, 2, 3]);
  });

  test('--canary 0 starts as many as may be unavailable at once', async () => {
    const { events } = await give(five(), { request: { ...three, canary: 0 } });
    expect(starts(events).most.slice(0, 3)).toEqual([1, 2, 3]);
  });

  test('a canary that fails is followed by another one alone', async () => {
    const world = five();
    world.behaviour.set('worker-1', { boots: 'panic' });
    const ran = await give(world, { request: { ...three, maxFailures: 2 } });
    expect(starts(ran.events).most.slice(0, 4)).toEqual([1, 1, 1, 2]);
    expect(ran.result?.exitCode).toBe(5);
  });

  test('after --max-failures nothing more starts, but what is under way is finished', async () => {
    const world = five();
    world.fault('worker-2').corruptDownload = true;
    const ran = await give(world, { request: three });
    expect(outcomes(ran)).toEqual({
      'worker-1': 'upgraded',
      'worker-2': 'failed',
      'worker-3': 'upgraded',
      'worker-4': 'upgraded',
      'worker-10': 'not started',
    });
    expect(ran.result?.exitCode).toBe(3);
    expect(ran.result?.stopped).toContain('--max-failures 1');
    expect(world.node('worker-10').record).toBeUndefined();
  });
});

describe('the budget', () => {
  test('counts nodes that are down already, whatever narrows the run', async () => {
    const world = five();
    world.cordonByUser('worker-4');
    world.cordonByUser('worker-10');
    const nodes = ['worker-1', 'worker-2', 'worker-3'];
    const ran = await give(world, {
      request: { ...three, canary: 0, selection: { includeControlPlane: false, nodes } },
    });
    expect(Math.max(...starts(ran.events).most)).toBe(1);
    expectAllAt(world, 'KubeOS 2.0.0', nodes);
  });

  test('a planned node that is down already goes first and takes no further budget; its cordon stays', async () => {
    const world = five();
    world.cordonByUser('worker-3');
    const ran = await give(world, { request: { maxUnavailable: { kind: 'count', count: 2 } } });
    expect(starts(ran.events).order[0]).toBe('worker-3');
    expectAllAt(world, 'KubeOS 2.0.0');
    expect(world.node('worker-3')).toMatchObject({ cordoned: true, cordonedBy: 'a user' });
  });

  test('0 with nothing in flight: waits as long as it was told, naming who eats it, then ends with 4', async () => {
    const world = five();
    world.cordonByUser('worker-4');
    const request = { selection: { includeControlPlane: false, exclude: ['worker-4'] } };
    const ran = await give(world, { request, budgetWaitMs: 600_000 });
    expect(ran.result?.exitCode).toBe(4);
    expect(ran.result?.stopped).toContain('worker-4 (cordoned)');
    expect(ran.events.find(({ type }) => type === 'budget-waiting')).toMatchObject({
      eatenBy: ['worker-4 (cordoned)'],
    });
    expect(ran.result?.tookMs).toBeGreaterThan(599_000);
    expect([...world.nodes.values()].every(({ record }) => record === undefined)).toBe(true);
  });

  test('0 after some nodes were done: ends with 3', async () => {
    const world = five();
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing === 'release worker-2') world.cordonByUser('worker-10');
      },
      request: { selection: { includeControlPlane: false, exclude: ['worker-10'] } },
    });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'upgraded', 'worker-2': 'upgraded', 'worker-3': 'not started' });
    expect(ran.result?.exitCode).toBe(3);
  });

  test('a node that comes back while the budget is 0 lets the run go on', async () => {
    const world = five();
    world.cordonByUser('worker-4');
    world.clock.after(300_000, () => {
      const node = world.node('worker-4');
      node.cordoned = false;
      delete node.cordonedBy;
      world.changed();
    });
    const request = { selection: { includeControlPlane: false, exclude: ['worker-4'] } };
    const ran = await give(world, { request, budgetWaitMs: 600_000 });
    expect(ran.result?.exitCode).toBe(0);
  });

  test('another node goes down during the write: the drain waits for it', async () => {
    const world = five();
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing !== 'launch write worker-2') return;
        world.node('worker-4').ready = false;
        world.changed();
        world.clock.after(200_000, () => {
          world.node('worker-4').ready = true;
          world.changed();
        });
      },
    });
    expect(ran.result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
  });
});

describe('what an earlier run left', () => {
  test('a node that the next run does not get to stays cordoned, and that is said', async () => {
    const world = five();
    world.node('worker-2').pods.push({ name: 'shop/db-0', blocked: true });
    await give(world, {
      request: { canary: 0, maxUnavailable: { kind: 'count' as const, count: 2 } },
      onBreath: (client, _count, doing) => {
        if (doing === 'heartbeat worker-1' && world.node('worker-2').cordoned) client.kill();
      },
    });
    await world.clock.pass(120_000);
    world.machine('worker-1').slots.B.content!.kubelet = 'not-ready';
    world.node('worker-1').ready = false;
    const ran = await give(world, { request: { maxUnavailable: { kind: 'count', count: 2 } } });
    expect(starts(ran.events).order).toEqual(['worker-1']);
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'fell back', 'worker-2': 'not started' });
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a run', record: { cordon: 'ours' } });
    const left = ran.result?.results.find(({ node }) => node === 'worker-2');
    expect(left?.reason).toContain('left it cordoned');
    expect(world.node('worker-3').record).toBeUndefined();
  });

  test('a node that waits armed is drained once more, since pods may have come back', async () => {
    const world = five();
    await give(world, {
      onBreath: (client, _count, doing) => {
        if (doing === 'reboot trial worker-1') client.kill();
      },
    });
    world.uncordonByHand('worker-1');
    expect(world.node('worker-1').pods.length).toBeGreaterThan(0);
    const ran = await give(world);
    expect(ran.result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
  });
});

describe('rolling back', () => {
  test('nodes that an upgrade never reached, or that fell back, are already there', async () => {
    const world = five();
    world.behaviour.set('worker-3', { boots: 'panic' });
    await give(world);
    const back = await give(world, { request: TO_PREVIOUS });
    expect(outcomes(back)).toEqual({
      'worker-1': 'rolled back',
      'worker-2': 'rolled back',
      'worker-3': 'already there',
      'worker-4': 'already there',
      'worker-10': 'already there',
    });
    expectAllAt(world, 'KubeOS 1.0.0');
  });

  test('a spec with opstype rollback goes to the version that the other slot holds, and to no other', async () => {
    const world = five();
    await give(world);
    const goal = { operation: 'rollback' as const, toOtherSlot: false };
    const wrong = await give(world, { request: { goal: { ...goal, version: 'KubeOS 0.9.0' } } });
    expect(wrong.result?.exitCode).toBe(4);
    const right = await give(world, { request: { goal: { ...goal, version: 'KubeOS 1.0.0' } } });
    expect(right.result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 1.0.0');
  });

  test('a trial of the rollback that fails ends in the slot that was left', async () => {
    const world = new SimWorld(['worker-1'], system('KubeOS 1.0.0'));
    await give(world);
    world.machine('worker-1').slots.A.content = system('KubeOS 1.0.0', { boots: 'panic' });
    const ran = await give(world, { request: TO_PREVIOUS });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'fell back' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('upgraded twice, it goes back one version, and not further', async () => {
    const world = new SimWorld(['worker-1']);
    await give(world);
    const third = system('KubeOS 3.0.0');
    world.addImage(third);
    const artifact = { url: 'https://x/3.img', sha256: third.sha256, flagSafe: false };
    await give(world, {
      request: {
        goal: { operation: 'upgrade', version: third.version, toOtherSlot: false },
        image: { type: 'disk', artifact, shownUrl: '' },
      },
    });
    expectAllAt(world, 'KubeOS 3.0.0');
    for (let i = 0; i < 3; i++) await give(world, { request: TO_PREVIOUS });
    expectAllAt(world, 'KubeOS 2.0.0');
  });
});
