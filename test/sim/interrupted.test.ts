import { describe, expect, test } from 'vitest';
import { expectAllAt, give, outcomes, start, type Command } from './scenario.ts';
import { NO_LEASE, SimWorld } from './world.ts';

const THREE_AT_ONCE = { canary: 0, maxUnavailable: { kind: 'count' as const, count: 3 } };

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

describe.each<[string, Command]>([
  ['one node at a time', {}],
  ['all nodes at once', { request: THREE_AT_ONCE }],
])('Ctrl-C at every step, %s', (_name, command) => {
  test('once: armed nodes are taken to their end, the others stop and go back into service; 130', async () => {
    for (const [where, at] of await momentsOf(command)) {
      const world = new SimWorld();
      const ran = await give(world, {
        ...command,
        onBreath: (_client, count, _doing, stop) => {
          if (count === at) stop.graceful.abort();
        },
      });
      if (ran.result === undefined) continue;
      expect(ran.result.exitCode, where).toBe(where === 'release the lock' ? 0 : 130);
      for (const [name, node] of world.nodes) {
        const state = [node.machine.running.version, node.machine.permanent === node.machine.active, node.cordoned];
        const done = outcomes(ran)[name] === 'upgraded';
        expect(state, `${name}, ${where}`).toEqual([done ? 'KubeOS 2.0.0' : 'KubeOS 1.0.0', true, false]);
        expect(node.machine.env.next, where).toBeUndefined();
        expect(node.record, where).toBeUndefined();
        expect(node.machine.job?.state ?? 'done', where).not.toBe('running');
      }
      expect(world.lease.held, where).toBe(false);
      await give(world, command);
      expectAllAt(world, 'KubeOS 2.0.0');
    }
  });

  test('twice: it stops at once, and the same command given again carries on', async () => {
    for (const [where, at] of await momentsOf(command)) {
      const world = new SimWorld();
      const ran = await give(world, {
        ...command,
        onBreath: (_client, count, _doing, stop) => {
          if (count !== at) return;
          stop.graceful.abort();
          stop.hard.abort();
        },
      });
      if (ran.result !== undefined) expect([0, 130], where).toContain(ran.result.exitCode);
      if (ran.result?.exitCode === 0) expect(where).toBe('release the lock');
      expect(world.broken, where).toEqual([]);
      const again = await give(world, command);
      expect(again.error, where).toBeUndefined();
      expectAllAt(world, 'KubeOS 2.0.0');
    }
  });
});

describe('two runs', () => {
  test('at the same time: one works, the other is told who holds the lock', async () => {
    const world = new SimWorld();
    const [one, two] = await world.clock.run(Promise.all([start(world, {}, 'one'), start(world, {}, 'two')]));
    expect(one.result?.exitCode).toBe(0);
    expect(two.error).toMatchObject({ exitCode: 11, reason: expect.stringContaining('one') as string });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('a frozen run that wakes after a newer one took over changes nothing any more', async () => {
    const moments = await momentsOf({});
    for (const [where, at] of moments) {
      const world = new SimWorld();
      const frozen = start(
        world,
        {
          onBreath: (client, count) => {
            if (count === at) client.freeze();
            if (count === at) world.clock.after(200_000, () => client.thaw());
          },
        },
        'old',
      );
      await world.clock.pass(60_000);
      const newer = await world.clock.run(start(world, {}, 'new'));
      const old = await world.clock.run(frozen);
      expect(world.broken, where).toEqual([]);
      if (newer.result?.exitCode === 0) expectAllAt(world, 'KubeOS 2.0.0');
      else expect([newer.error, newer.result?.exitCode], where).toBeDefined();
      const token = world.lease.token;
      for (const { machine } of world.nodes.values()) expect(machine.token, where).toBeLessThanOrEqual(token);
      expect(old.client.frozen).toBe(false);
      await give(world);
      expectAllAt(world, 'KubeOS 2.0.0');
    }
  });

  test('where nodes have seen a higher token than a new Lease has, the token is raised above it first', async () => {
    const world = new SimWorld();
    await give(world, { onBreath: (client, count) => count > 120 && client.kill() });
    world.machine('worker-3').token = 41;
    world.lease = { ...NO_LEASE };
    await give(world);
    expectAllAt(world, 'KubeOS 2.0.0');
    expect(world.lease.token).toBeGreaterThan(41);
  });
});
