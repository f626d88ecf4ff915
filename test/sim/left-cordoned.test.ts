import { describe, expect, test } from 'vitest';
import { expectAllAt, give, outcomes, UPGRADE, type Ran } from './scenario.ts';
import { system } from './machine.ts';
import { SimWorld } from './world.ts';

const QUICK = { healthTimeoutMs: 60_000 };

/** One node that a run left cordoned when it died just before this call. */
async function leftAt(call: string): Promise<SimWorld> {
  const world = new SimWorld(['worker-1']);
  await give(world, {
    onBreath: (client, _count, doing) => {
      if (doing === call) client.kill();
    },
  });
  await world.clock.pass(120_000);
  expect(world.node('worker-1')).toMatchObject({ cordoned: true, record: { cordon: 'ours' } });
  return world;
}

const ofWorker = (ran: Ran) => ran.result?.results.find(({ node }) => node === 'worker-1');

function expectLeft(world: SimWorld, ran: Ran, outcome: string): void {
  expect(ofWorker(ran)).toMatchObject({ outcome, reason: expect.stringContaining('left it cordoned') as string });
  expect(world.node('worker-1')).toMatchObject({ cordoned: true, record: { cordon: 'ours' } });
}

describe('a node that an earlier run left cordoned', () => {
  test('stays so while its state is not understood', async () => {
    const world = await leftAt('prove worker-1');
    let claimed = false;
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        claimed ||= /^record worker-1 \w+, answered$/.test(doing);
        if (claimed && doing === 'observe worker-1') world.machine('worker-1').env.problem = '1023 bytes';
      },
    });
    expectLeft(world, ran, 'not started');
    delete world.machine('worker-1').env.problem;
    expect(outcomes(await give(world))).toEqual({ 'worker-1': 'upgraded' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('and armed for another version stays so where it cannot be brought to this one', async () => {
    const world = await leftAt('reboot trial worker-1');
    const other = { ...UPGRADE.goal, version: 'KubeOS 7' };
    let claimed = false;
    const ran = await give(world, {
      request: { goal: other },
      onBreath: (_client, _count, doing) => {
        claimed ||= /^record worker-1 \w+, answered$/.test(doing);
        if (!claimed || doing !== 'observe worker-1') return;
        world.machine('worker-1').hasCurl = false;
        world.machine('worker-1').artifact = undefined;
      },
    });
    expectLeft(world, ran, 'not started');
    expect(world.machine('worker-1').env.next).toBe('B');
  });

  test('and armed for another version stays so where it cannot be disarmed', async () => {
    const world = await leftAt('reboot trial worker-1');
    const newer = system('KubeOS 3.0.0');
    world.addImage(newer);
    const artifact = { url: 'https://10.0.0.5/3.img', sha256: newer.sha256, flagSafe: false };
    const request = {
      goal: { ...UPGRADE.goal, version: newer.version },
      image: { type: 'disk' as const, artifact, shownUrl: artifact.url },
    };
    const ran = await give(world, {
      request,
      onBreath: (_client, _count, doing) => {
        if (doing === 'close aborted worker-1') world.fault('worker-1').refusesSsh = true;
      },
    });
    expectLeft(world, ran, 'not started');
    expect(world.machine('worker-1').env.next).toBe('B');
    world.fault('worker-1').refusesSsh = false;
    expect(outcomes(await give(world, { request }))).toEqual({ 'worker-1': 'upgraded' });
    expectAllAt(world, newer.version);
  });

  test('on its trial stays so where the connection breaks as its way is taken up', async () => {
    const world = await leftAt('prove worker-1');
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing === 'begin worker-1') world.fault('worker-1').refusesSsh = true;
      },
    });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'needs hands' });
    expect(world.node('worker-1')).toMatchObject({ cordoned: true, record: { cordon: 'ours' } });
    world.fault('worker-1').refusesSsh = false;
    expect(outcomes(await give(world))).toEqual({ 'worker-1': 'upgraded' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('with a commit, which has its proof, is only uncordoned', async () => {
    const world = await leftAt('release worker-1');
    world.node('worker-1').ready = false;
    expect(outcomes(await give(world, QUICK))).toEqual({ 'worker-1': 'upgraded' });
    expect(world.node('worker-1')).toMatchObject({ cordoned: false, record: undefined });
  });

  test('without a proof goes back into service only once it is healthy', async () => {
    const world = await leftAt('release worker-1');
    world.machine('worker-1').journal = undefined;
    world.node('worker-1').ready = false;
    const ran = await give(world, QUICK);
    expectLeft(world, ran, 'needs hands');
    expect(ran.result?.exitCode).toBe(6);
    expect(ofWorker(ran)?.what).toContain('kubelet not Ready');
    world.node('worker-1').ready = true;
    world.changed();
    expect(outcomes(await give(world, QUICK))).toEqual({ 'worker-1': 'already there' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('stays so when the wait for its health is interrupted', async () => {
    const world = await leftAt('release worker-1');
    world.machine('worker-1').journal = undefined;
    world.node('worker-1').ready = false;
    const ran = await give(world, {
      onBreath: (_client, _count, doing, stop) => {
        if (doing === 'heartbeat worker-1') stop.graceful.abort();
      },
    });
    expect(ran.result?.exitCode).toBe(130);
    expectLeft(world, ran, 'not started');
  });
});
