import { describe, expect, test } from 'vitest';
import type { NodeResult } from '../../src/rollout/events.ts';
import { STEPS } from '../../src/rollout/steps.ts';
import type { SimSystem } from './machine.ts';
import { expectAllAt, expectAt, give, outcomes, type Command, type Ran } from './scenario.ts';
import { SimWorld } from './world.ts';

const ALL = { maxFailures: 0 };
const QUICK = { healthTimeoutMs: 120_000, rebootTimeoutMs: 180_000, budgetWaitMs: 60_000 };

function resultOf(ran: Ran, node: string): NodeResult {
  const found = ran.result?.results.find((result) => result.node === node);
  if (found === undefined) throw new Error(`no result of ${node}`);
  return found;
}

/** Every failure says where, what, why or what next. */
function expectTold(result: NodeResult): void {
  expect(result.what).toBeTruthy();
  expect(result.next).toBeTruthy();
  if (result.step !== undefined) expect(STEPS).toContain(result.step);
}

/** SSH to worker-1 goes away between the run's token on it and the look at where it stands. */
function cutAfterClaim(world: SimWorld): NonNullable<Command['onBreath']> {
  let claimed = false;
  return (_client, _count, doing) => {
    claimed ||= /^record worker-1 \w+, answered$/.test(doing);
    if (claimed && doing === 'observe worker-1') world.fault('worker-1').refusesSsh = true;
  };
}

const withImage = (node: string, behaviour: Partial<SimSystem>): SimWorld => {
  const world = new SimWorld();
  world.behaviour.set(node, behaviour);
  return world;
};

describe('one node fails, the others are upgraded, and the failed one is left in service in its old slot', () => {
  test.each<[string, (world: SimWorld) => void, string]>([
    ['the download is corrupt', (world) => (world.fault('worker-2').corruptDownload = true), 'stage'],
    ['the disk fails', (world) => (world.fault('worker-2').writeFails = true), 'write'],
    [
      'the image holds another version',
      (world) => world.behaviour.set('worker-2', { version: 'KubeOS 1.9.9' }),
      'verify',
    ],
    ['the drain is blocked', (world) => (world.node('worker-2').pods[0]!.blocked = true), 'drain'],
  ])('%s', async (_name, prepare, step) => {
    const world = new SimWorld();
    prepare(world);
    const ran = await give(world, { request: ALL, ...QUICK });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'failed', 'worker-3': 'upgraded' });
    expect(ran.result?.exitCode).toBe(3);
    expectAt(world, 'worker-2', 'KubeOS 1.0.0');
    const failed = resultOf(ran, 'worker-2');
    expect(failed.step).toBe(step);
    expectTold(failed);
    expect(failed.logTail.length).toBeGreaterThan(0);
    expect(world.machine('worker-2').journal?.phase).toBe('aborted');
  });

  test.each<[string, Partial<SimSystem>, RegExp]>([
    ['panics', { boots: 'panic' }, /slot A came up/],
    ['boots, but its kubelet never gets Ready', { kubelet: 'not-ready' }, /not healthy within 2m: kubelet not Ready/],
    ['boots, but its kubelet is dead', { kubelet: 'dead' }, /not healthy within 2m: the kubelet has not reported/],
  ])('the image %s: it falls back, is proven there, and the same image is refused after', async (_name, image, why) => {
    const world = withImage('worker-2', image);
    const ran = await give(world, { request: ALL, ...QUICK });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'fell back', 'worker-3': 'upgraded' });
    expect(ran.result?.exitCode).toBe(5);
    const result = resultOf(ran, 'worker-2');
    expect(result.reason).toMatch(why);
    expect(result).toMatchObject({ now: 'KubeOS 1.0.0', slot: 'A' });
    expectTold(result);
    expectAt(world, 'worker-2', 'KubeOS 1.0.0');

    const again = await give(world, { request: ALL, ...QUICK });
    expect(outcomes(again)['worker-2']).toBe('not started');
    expect(resultOf(again, 'worker-2').next).toContain('--retry-failed-image');
    expect(again.result?.exitCode).toBe(4);
    world.behaviour.clear();
    const mended = await give(world, { request: { ...ALL, retryFailedImage: true }, ...QUICK });
    // The artifact that failed is still the one on the node's disk: only a new download brings the mended one.
    expect(['fell back', 'upgraded']).toContain(outcomes(mended)['worker-2']);
  });

  test('the commit is refused by the boot environment: it is sent back', async () => {
    const world = new SimWorld();
    world.fault('worker-2').commitFails = true;
    const ran = await give(world, { request: ALL, ...QUICK });
    expect(outcomes(ran)['worker-2']).toBe('fell back');
    expectAt(world, 'worker-2', 'KubeOS 1.0.0');
  });
});

describe('a node that needs hands is left cordoned, and it is said what to do', () => {
  test.each<[string, Partial<SimSystem>]>([
    ['never comes back', { boots: 'stuck' }],
    ['boots without a network', { boots: 'mute' }],
  ])('it %s', async (_name, image) => {
    const world = withImage('worker-2', image);
    const ran = await give(world, { request: ALL, ...QUICK });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'upgraded', 'worker-2': 'needs hands' });
    expect(ran.result?.exitCode).toBe(6);
    const result = resultOf(ran, 'worker-2');
    expect(result.what).toContain('no answer over SSH for 3m');
    expect(result.next).toContain('kubectl uncordon worker-2');
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a run' });
  });

  test('its host key is another one after the reboot: it is said so, and goes on once that is settled', async () => {
    const world = new SimWorld();
    const strange = (on: boolean): NonNullable<Command['onBreath']> => {
      return (_client, _count, doing) => {
        if (doing === 'reboot trial worker-2, answered') world.fault('worker-2').strangeHostKey = on;
      };
    };
    const ran = await give(world, { request: ALL, ...QUICK, onBreath: strange(true) });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'upgraded', 'worker-2': 'needs hands' });
    const result = resultOf(ran, 'worker-2');
    expect(result.what).toBe('its host key has changed');
    expect(result.reason).toContain('after the reboot into slot B');
    expect(result.next).toContain('compare it with its console; a reset brings it back to slot A');
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a run' });
    world.fault('worker-2').strangeHostKey = false;
    expect(outcomes(await give(world, QUICK))).toMatchObject({ 'worker-2': 'upgraded' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('neither slot is healthy', async () => {
    const world = withImage('worker-1', { kubelet: 'not-ready' });
    const command: Command = {
      ...QUICK,
      onBreath: (_client, _count, doing) => {
        if (doing === 'reboot send-back worker-1') world.machine('worker-1').slots.A.content!.kubelet = 'not-ready';
      },
    };
    const ran = await give(world, command);
    expect(outcomes(ran)['worker-1']).toBe('needs hands');
    expect(resultOf(ran, 'worker-1').what).toContain('not healthy there either');
    // The image that all three share is spoilt by now, but for one that is mended by hand.
    world.machine('worker-1').slots.A.content!.kubelet = 'ready';
    world.node('worker-1').ready = true;
    const again = await give(world, QUICK);
    expect(outcomes(again)['worker-1']).toBe('fell back');
    expectAt(world, 'worker-1', 'KubeOS 1.0.0');
  });
});

describe('nodes that cannot be started', () => {
  test('are left alone, the others go on; where none is left the exit says why', async () => {
    const world = new SimWorld();
    world.fault('worker-1').refusesSsh = true;
    const ran = await give(world);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'not started', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expect(ran.result?.exitCode).toBe(3);
    const again = await give(world);
    expect(again.result?.exitCode).toBe(4);
    expect(resultOf(again, 'worker-1').unreachable).toBe(true);

    const dark = new SimWorld();
    for (const name of dark.nodes.keys()) dark.fault(name).refusesSsh = true;
    expect((await give(dark)).result?.exitCode).toBe(10);
  });

  test('one that goes away just before its way begins is not started, and counts as no failure', async () => {
    const world = new SimWorld();
    const ran = await give(world, { onBreath: cutAfterClaim(world) });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'not started', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expect(world.node('worker-1').record).toBeUndefined();
    expect(ran.result?.exitCode).toBe(3);
  });

  test('one that a dead run left on trial stays cordoned where it cannot be asked', async () => {
    const world = new SimWorld(['worker-1']);
    await give(world, {
      onBreath: (client, _count, doing) => {
        if (doing === 'prove worker-1') client.kill();
      },
    });
    const ran = await give(world, { onBreath: cutAfterClaim(world) });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'not started' });
    expect(resultOf(ran, 'worker-1').reason).toContain('left it cordoned');
    expect(world.node('worker-1')).toMatchObject({ cordoned: true, record: { cordon: 'ours' } });
    world.fault('worker-1').refusesSsh = false;
    expect(outcomes(await give(world))).toEqual({ 'worker-1': 'upgraded' });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('the node whose pod runs kubeos is not started', async () => {
    const world = new SimWorld();
    const ran = await give(world, { request: { ownNode: 'worker-1' } });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'not started', 'worker-2': 'upgraded' });
  });
});

describe('the Lease alone cannot be read or renewed', () => {
  /** @param forMs 0: for good */
  function refuse(world: SimWorld, forMs: number): void {
    world.leaseRefused = true;
    if (forMs > 0) world.clock.after(forMs, () => void (world.leaseRefused = false));
  }

  test.each(['launch stage worker-2', 'launch verify worker-2', 'drain worker-2, answered', 'arm worker-2, answered'])(
    'for ten minutes, at %s: what is to be begun waits, and goes on',
    async (call) => {
      const world = new SimWorld();
      let refusedAt = Infinity;
      const begun: [string, number][] = [];
      const ran = await give(world, {
        onBreath: (client, _count, doing) => {
          if (doing === call && refusedAt === Infinity) {
            refusedAt = world.clock.now();
            refuse(world, 600_000);
            client.freeze();
            world.clock.after(61_000, () => client.thaw());
          }
          if (STARTS.test(doing)) begun.push([doing, world.clock.now() - refusedAt]);
        },
      });
      expect(ran.error).toBeUndefined();
      expectAllAt(world, 'KubeOS 2.0.0');
      expect(begun.filter(([, after]) => after > 61_000 && after < 600_000)).toEqual([]);
    },
  );

  test('a trial that fails meanwhile is drained and sent back', async () => {
    const world = new SimWorld();
    world.behaviour.set('worker-2', { kubelet: 'not-ready' });
    const ran = await give(world, {
      ...QUICK,
      onBreath: (_client, _count, doing) => {
        if (doing === 'reboot trial worker-2') refuse(world, 0);
        if (doing === 'heartbeat worker-2' && world.node('worker-2').cordoned) world.uncordonByHand('worker-2');
      },
    });
    expect(outcomes(ran)['worker-2']).toBe('fell back');
    expectAt(world, 'worker-2', 'KubeOS 1.0.0');
  });

  test.each(['launch verify worker-2', 'arm worker-2, answered'])(
    'for good, at %s: a signal ends the wait, and the node is put back into service',
    async (call) => {
      const world = new SimWorld();
      const ran = await give(world, {
        onBreath: (client, _count, doing, stop) => {
          if (doing !== call || world.leaseRefused) return;
          refuse(world, 0);
          // Longer than the lock holds without a proof.
          client.freeze();
          world.clock.after(61_000, () => client.thaw());
          world.clock.after(900_000, () => stop.graceful.abort(new Error('interrupted')));
        },
      });
      expect(ran.error).toBeUndefined();
      expect(ran.result?.exitCode).toBe(130);
      expectAt(world, 'worker-2', 'KubeOS 1.0.0');
      expect(world.machine('worker-2').boots).toBe(1);
    },
  );
});

const STARTS = /^(claim|begin|launch|arm|cordon|drain|reboot trial) [a-z0-9-]+$/;

describe('what breaks in the middle', () => {
  test('the API server is away for four minutes in the middle: it is waited for', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing !== 'reboot trial worker-2') return;
        world.apiAway = true;
        world.clock.after(240_000, () => {
          world.apiAway = false;
          world.changed();
        });
      },
    });
    expect(ran.error).toBeUndefined();
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test.each(['stage', 'verify', 'observe'])(
    'SSH to one node is cut for good during %s: the others go on',
    async (step) => {
      const world = new SimWorld();
      const ran = await give(world, {
        request: ALL,
        ...QUICK,
        onBreath: (_client, count, doing) => {
          if (count > 40 && doing.includes(`${step} worker-2`)) world.fault('worker-2').refusesSsh = true;
        },
      });
      expect(outcomes(ran)).toMatchObject({ 'worker-1': 'upgraded', 'worker-3': 'upgraded' });
      expect(['failed', 'needs hands', 'not started']).toContain(outcomes(ran)['worker-2']);
      world.fault('worker-2').refusesSsh = false;
      await give(world, QUICK);
      expectAllAt(world, 'KubeOS 2.0.0');
    },
  );

  test('a node is deleted from the cluster in the middle: told, and the others go on', async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      request: ALL,
      ...QUICK,
      onBreath: (_client, _count, doing) => {
        if (doing !== 'launch write worker-2') return;
        world.nodes.delete('worker-2');
        world.changed();
      },
    });
    expect(outcomes(ran)).toMatchObject({ 'worker-1': 'upgraded', 'worker-3': 'upgraded' });
    expect(['failed', 'needs hands']).toContain(outcomes(ran)['worker-2']);
  });

  test("a bug on one node loses no other node's result", async () => {
    const world = new SimWorld();
    const ran = await give(world, {
      request: { ...ALL, canary: 0, maxUnavailable: { kind: 'count', count: 3 } },
      onBreath: (_client, _count, doing) => {
        if (doing === 'launch write worker-2') throw new TypeError('undefined is not a function');
      },
    });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'failed', 'worker-3': 'upgraded' });
    expect(resultOf(ran, 'worker-2').what).toContain('a bug in kubeos: undefined is not a function');
  });
});
