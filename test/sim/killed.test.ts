import { describe, expect, test } from 'vitest';
import { system } from './machine.ts';
import { expectAllAt, give, outcomes, TO_PREVIOUS, type Command, type Ran } from './scenario.ts';
import { SimWorld } from './world.ts';

/**
 * Kills the run at every call of a port, before and after it takes effect, and gives the same command again each time.
 * Of a call that is repeated while something is waited for, the first two times and the last are taken.
 */
async function killEverywhere(
  makeWorld: () => Promise<SimWorld>,
  command: Command,
  check: (world: SimWorld, killedAt: string) => void,
): Promise<number> {
  const moments = await momentsOf(makeWorld, command);
  for (const [at, doing] of moments) {
    const world = await makeWorld();
    const where = `${at}: ${doing}`;
    expect((await killedAt(world, at, command)).killed, where).toBe(true);
    const again = await give(world, command);
    expect(again.error, where).toBeUndefined();
    expect(world.broken, where).toEqual([]);
    check(world, where);
  }
  return moments.size;
}

async function momentsOf(makeWorld: () => Promise<SimWorld>, command: Command): Promise<ReadonlyMap<number, string>> {
  const all = new Map<string, number[]>();
  const onBreath = (_client: unknown, count: number, doing: string): void => {
    all.set(doing, [...(all.get(doing) ?? []), count]);
  };
  const whole = await give(await makeWorld(), { ...command, onBreath });
  expect(whole.error).toBeUndefined();
  const moments = [...all].flatMap(([doing, counts]) =>
    [...new Set([...counts.slice(0, 2), ...counts.slice(-1)])].map((count): [number, string] => [count, doing]),
  );
  return new Map(moments.sort(([a], [b]) => a - b));
}

function killedAt(world: SimWorld, at: number, command: Command = {}): Promise<Ran> {
  return give(world, {
    ...command,
    onBreath: (client, count) => {
      if (count === at) client.kill();
    },
  });
}

const fresh = (): Promise<SimWorld> => Promise.resolve(new SimWorld());
const upgraded = async (): Promise<SimWorld> => {
  const world = new SimWorld();
  await give(world);
  return world;
};

describe('killed at every step outside, the same command again ends as if nothing had happened', () => {
  test('an upgrade, one node at a time', async () => {
    const moments = await killEverywhere(fresh, {}, (world) => expectAllAt(world, 'KubeOS 2.0.0'));
    expect(moments).toBeGreaterThan(150);
  });

  test('an upgrade of all nodes at once, drained before the write, which is streamed', async () => {
    const ways = { here: false, stream: 'always' as const };
    const request = { canary: 0, maxUnavailable: { kind: 'count' as const, count: 3 }, writeAfterDrain: true, ways };
    await killEverywhere(fresh, { request }, (world) => expectAllAt(world, 'KubeOS 2.0.0'));
  });

  test('a rollback to previous, which never flips', async () => {
    await killEverywhere(upgraded, { request: TO_PREVIOUS }, (world) => expectAllAt(world, 'KubeOS 1.0.0'));
  });

  test('a rollback to the other slot, as long as a node is left to be done', async () => {
    const request = { goal: { operation: 'rollback' as const, toOtherSlot: true } };
    const moments = await momentsOf(upgraded, { request });
    for (const at of moments.keys()) {
      const world = await upgraded();
      await killedAt(world, at, { request });
      const done = [...world.nodes.values()].every(({ record, osImage }) => !record && osImage === 'KubeOS 1.0.0');
      if (done) continue;
      await give(world, { request });
      expectAllAt(world, 'KubeOS 1.0.0');
    }
  });

  test.each([
    ['panics', { boots: 'panic' as const }],
    ['never becomes healthy', { kubelet: 'not-ready' as const }],
  ])('an upgrade to an image that %s on the second node: it falls back, and stays so', async (_name, behaviour) => {
    const makeWorld = (): Promise<SimWorld> => {
      const world = new SimWorld();
      world.behaviour.set('worker-2', behaviour);
      return Promise.resolve(world);
    };
    await killEverywhere(makeWorld, { request: { maxFailures: 0 }, healthTimeoutMs: 60_000 }, (world, where) => {
      expectAllAt(world, 'KubeOS 2.0.0', ['worker-1', 'worker-3']);
      expect(world.machine('worker-2').running.version, where).toBe('KubeOS 1.0.0');
      expectAllAt(world, 'KubeOS 1.0.0', ['worker-2']);
      expect(world.machine('worker-2').failed.size, where).toBe(1);
    });
  });

  test('a node that was booted by hand into its old slot', async () => {
    const makeWorld = async (): Promise<SimWorld> => {
      const world = await upgraded();
      const machine = world.machine('worker-1');
      machine.env = { saved: 'B', next: 'A' };
      machine.reset();
      await world.clock.pass(120_000);
      return world;
    };
    await killEverywhere(makeWorld, { request: TO_PREVIOUS }, (world) => expectAllAt(world, 'KubeOS 1.0.0'));
    await killEverywhere(makeWorld, {}, (world) => expectAllAt(world, 'KubeOS 2.0.0'));
  });
});

test('another image is asked for after a killed run: the node ends at that one, from wherever it stood', async () => {
  const makeWorld = (): Promise<SimWorld> => Promise.resolve(new SimWorld(['worker-1']));
  for (const [at, where] of await momentsOf(makeWorld, {})) {
    const world = await makeWorld();
    const newer = system('KubeOS 3.0.0');
    world.addImage(newer);
    await killedAt(world, at);
    const artifact = { url: 'https://10.0.0.5/3.img', sha256: newer.sha256, flagSafe: false };
    const ran = await give(world, {
      request: {
        goal: { operation: 'upgrade', version: newer.version, toOtherSlot: false },
        image: { type: 'disk', artifact, shownUrl: artifact.url },
      },
    });
    expect(outcomes(ran), where).toEqual({ 'worker-1': 'upgraded' });
    expectAllAt(world, 'KubeOS 3.0.0');
  }
});

test('a rollback is asked for after a killed upgrade: the node ends where it came from', async () => {
  const makeWorld = (): Promise<SimWorld> => Promise.resolve(new SimWorld(['worker-1']));
  for (const [at, where] of await momentsOf(makeWorld, {})) {
    const world = await makeWorld();
    await killedAt(world, at);
    const begun = world.machine('worker-1').journal !== undefined;
    await give(world, { request: TO_PREVIOUS });
    expect(world.machine('worker-1').running.version, where).toBe('KubeOS 1.0.0');
    if (begun) expectAllAt(world, 'KubeOS 1.0.0');
  }
});

test('a rollback to the other slot that was stopped half-way means the same when it is given again', async () => {
  const world = await upgraded();
  const request = { goal: { operation: 'rollback' as const, toOtherSlot: true } };
  const ran = await give(world, {
    request,
    onBreath: (_client, _count, doing, stop) => {
      if (doing === 'release worker-1') stop.graceful.abort();
    },
  });
  expect(ran.result?.exitCode).toBe(130);
  expect(world.machine('worker-1').running.version).toBe('KubeOS 1.0.0');
  expect(world.machine('worker-2').running.version).toBe('KubeOS 2.0.0');
  expect([...world.nodes.values()].map(({ record }) => record)).toEqual([undefined, undefined, undefined]);
  expect((await give(world, { request })).result?.exitCode).toBe(0);
  expectAllAt(world, 'KubeOS 1.0.0');
});
