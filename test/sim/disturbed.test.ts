import { describe, expect, test } from 'vitest';
import { expectAllAt, give, outcomes, type Command } from './scenario.ts';
import { SimWorld } from './world.ts';

const QUICK = { healthTimeoutMs: 300_000, rebootTimeoutMs: 300_000 };
const ALL = { canary: 0, maxFailures: 0, maxUnavailable: { kind: 'count' as const, count: 3 } };

/** Every call of an undisturbed run, each with the first moment at which it is made. */
async function momentsOf(command: Command): Promise<ReadonlyMap<string, number>> {
  const moments = new Map<string, number>();
  await give(new SimWorld(), {
    ...command,
    onBreath: (_client, count, doing) => {
      if (!moments.has(doing)) moments.set(doing, count);
    },
  });
  return moments;
}

/** Disturbs worker-2 at every call of its way, or the whole run at every call. */
async function disturbEverywhere(
  disturb: (world: SimWorld) => void,
  check: (world: SimWorld, outcome: string | undefined, where: string) => Promise<void>,
): Promise<void> {
  const command = { request: ALL, ...QUICK };
  for (const [where, at] of await momentsOf(command)) {
    const world = new SimWorld();
    const ran = await give(world, {
      ...command,
      onBreath: (_client, count) => {
        if (count === at) disturb(world);
      },
    });
    expect(world.broken, where).toEqual([]);
    if (ran.error !== undefined)
      expect(ran.error, where).toMatchObject({ name: expect.stringContaining('Error') as string });
    await check(world, ran.result === undefined ? undefined : outcomes(ran)['worker-2'], where);
    await world.clock.pass(120_000);
    let last = await give(world, command);
    // What looks like an image that crashes is not tried again by itself.
    if (last.result?.exitCode === 5) last = await give(world, command);
    if (last.result?.exitCode === 4) {
      expect(outcomes(last)['worker-2'], where).toBe('not started');
      last = await give(world, { ...command, request: { ...ALL, retryFailedImage: true } });
    }
    expect(last.result?.exitCode, where).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
  }
}

const passing = (world: SimWorld, ms: number, set: (on: boolean) => void): void => {
  set(true);
  world.clock.after(ms, () => {
    set(false);
    world.changed();
  });
};

describe('disturbed once at any call, a run ends well, or the same command does', () => {
  test('the node loses its power', async () => {
    await disturbEverywhere(
      (world) => world.machine('worker-2').reset(),
      (world, outcome, where) => {
        expect(['upgraded', 'fell back', 'failed', 'not started', undefined], where).toContain(outcome);
        const { machine } = world.node('worker-2');
        if (outcome === 'upgraded') expect(machine.permanent, where).toBe('B');
        return Promise.resolve();
      },
    );
  });

  test('SSH to it is away for a minute', async () => {
    await disturbEverywhere(
      (world) => passing(world, 60_000, (on) => (world.fault('worker-2').refusesSsh = on)),
      (_world, outcome, where) => {
        expect(['upgraded', 'not started', undefined], where).toContain(outcome);
        return Promise.resolve();
      },
    );
  });

  test('the API is away for a minute', async () => {
    await disturbEverywhere(
      (world) => passing(world, 60_000, (on) => (world.apiAway = on)),
      (_world, outcome, where) => {
        expect(['upgraded', undefined], where).toContain(outcome);
        return Promise.resolve();
      },
    );
  });
});
