import { describe, expect, test } from 'vitest';
import { InterruptedError, type KubeosError } from '../../src/errors.ts';
import type { SimClient } from './client.ts';
import { system } from './machine.ts';
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

/** Whatever a run leaves on nodes and in the cluster. */
const traces = (world: SimWorld): unknown =>
  [...world.nodes.values()].map(({ machine, annotations, cordoned, pods }) => {
    const { token, journal, env, slots, active, bootId, failed, job } = machine;
    const marks = { annotations: { ...annotations }, cordoned, pods: [...pods] };
    return structuredClone({ ...marks, token, journal, env, slots, active, bootId, failed, job });
  });

/** Calls of a run that has no lock yet, finds nothing to do any more, or has given the lock back. */
const BEFORE_THE_LOCK =
  /^(missingRights|nodes|osResources|lockState|forecast|acquire lock|lock acquired|release the lock|release worker-3, answered)|^(observe|look)/;

/** Calls that change a node; tokens are left on all at once, and a detached step of its own may be ended. */
const CHANGE = /^(begin|launch|arm|reboot|prove|commit|close) /;

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

test.each(['graceful', 'hard'] as const)(
  'stopped in its drain (%s), a node is carried on from there: its slot is proven again, and not written',
  async (how) => {
    const world = new SimWorld(['worker-1']);
    const onBreath: Command['onBreath'] = (_client, _count, doing, stop) => {
      if (doing !== 'drain worker-1') return;
      stop.graceful.abort();
      stop[how].abort();
    };
    expect((await give(world, { onBreath })).result?.exitCode).toBe(130);
    const { stamp } = world.machine('worker-1').slots.B;
    const again = await give(world);
    const done = again.events.flatMap((event) => (event.type === 'step-done' && !event.skipped ? [event.step] : []));
    expect(done.filter((step) => step === 'stage' || step === 'write')).toEqual([]);
    expect(world.machine('worker-1').slots.B.stamp).toBe(stamp);
    expectAllAt(world, 'KubeOS 2.0.0');
  },
);

test.each<['graceful' | 'hard', string]>([
  ['graceful', 'launch write'],
  ['hard', 'heartbeat worker-1'],
])('asked to stop (%s) at %s, a run tells of no failure, and how it leaves the node', async (how, where) => {
  const world = new SimWorld();
  const { result, events } = await give(world, {
    onBreath: (_client, _count, doing, stop) => {
      if (!doing.startsWith(where)) return;
      stop.graceful.abort();
      stop[how].abort();
    },
  });
  const [first, ...others] = result!.results;
  const onTrial =
    /^it runs slot B on trial: any reset brings it back to slot A.* by itself 15m after .*; the node is left cordoned/;
  expect(first).toMatchObject({ outcome: 'interrupted', next: expect.stringContaining('the same command') as string });
  expect(first?.reason).toBeUndefined();
  expect(first?.left ?? '').toMatch(how === 'hard' ? onTrial : /^$/);
  for (const { outcome, what } of others) {
    expect([outcome, what]).toEqual(['not started', 'not started: the run was interrupted']);
  }
  expect(events.some(({ type }) => type === 'rollout-done')).toBe(true);
  expect(world.lease.what).not.toContain('failed');
});

describe('two runs', () => {
  test('at the same time: one works, the other is told who holds the lock', async () => {
    const world = new SimWorld();
    const [one, two] = await world.clock.run(Promise.all([start(world, {}, 'one'), start(world, {}, 'two')]));
    expect(one.result?.exitCode).toBe(0);
    expect(two.error).toMatchObject({ exitCode: 11, reason: expect.stringContaining('one') as string });
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test.each([
    ['after a newer one took over and ended', undefined],
    ['in the middle of a newer one that took over', 90_000],
  ])('a frozen run that wakes %s changes nothing any more, and says who took the lock', async (_when, wakesAfter) => {
    for (const [where, at] of await momentsOf({})) {
      const world = new SimWorld();
      const freeze = (client: SimClient): void => {
        client.freeze();
        if (wakesAfter !== undefined) world.clock.after(wakesAfter, () => client.thaw());
      };
      let frozen: SimClient | undefined;
      const onBreath: Command['onBreath'] = (client, count) => {
        if (count !== at) return;
        frozen = client;
        freeze(client);
      };
      const older = start(world, { onBreath }, 'old');
      while (frozen === undefined) await world.clock.pass(1_000);
      const newer = await world.clock.run(start(world, {}, 'new'));
      expect(newer.result?.exitCode, where).toBe(0);
      expectAllAt(world, 'KubeOS 2.0.0');
      const left = traces(world);
      if (wakesAfter === undefined) frozen.thaw();
      const old = await world.clock.run(older);
      expect(traces(world), where).toEqual(left);
      expect(world.broken, where).toEqual([]);
      if (BEFORE_THE_LOCK.test(where)) continue;
      expect([old.result?.exitCode ?? (old.error as KubeosError).exitCode, where]).toEqual([3, where]);
      expect(old.result?.stopped ?? (old.error as KubeosError).reason, where).toContain('taken over by new (run new-');
    }
  });

  test.each([
    ['is taken by another run', { held: true, holder: 'bob', run: 'r-bob' }, /taken over by bob \(run r-bob\)/],
    ['is freed by hand', { held: false, freedBy: 'ann@laptop' }, /freed by hand, by ann@laptop/],
  ])('a run whose lock %s stops before its next change, wherever it is', async (_how, change, words) => {
    for (const [where, at] of await momentsOf({})) {
      if (BEFORE_THE_LOCK.test(where)) continue;
      const world = new SimWorld();
      const marks = (): unknown =>
        [...world.nodes.values()].map(({ annotations, cordoned }) => [{ ...annotations }, cordoned]);
      let before: unknown;
      const after: string[] = [];
      const ran = await give(world, {
        onBreath: (_client, count, doing) => {
          if (count > at && CHANGE.test(doing) && !doing.endsWith(', answered')) after.push(doing);
          if (count !== at) return;
          before = marks();
          // Somebody writes the Lease; no node knows of it.
          world.lease = { ...world.lease, ...change, token: world.lease.token + (change.held ? 1 : 0) };
        },
      });
      expect(after, where).toEqual([]);
      expect(marks(), where).toEqual(before);
      expect(ran.result?.exitCode ?? (ran.error as KubeosError).exitCode, where).toBe(3);
      expect(ran.result?.stopped ?? (ran.error as KubeosError).reason, where).toMatch(words);
    }
  });

  test('at the same time, one of which waits: it plans anew, tells what changed, and finds nothing to do', async () => {
    const world = new SimWorld();
    const both = [start(world, {}, 'one'), start(world, { lockWaitMs: 0 }, 'two')];
    const [one, two] = await world.clock.run(Promise.all(both));
    expect([one?.result?.exitCode, two?.result?.exitCode]).toEqual([0, 0]);
    expect(Object.values(outcomes(two!))).toEqual(['already there', 'already there', 'already there']);
    const waits = two!.events.filter((event) => event.type === 'lock-waiting');
    expect(waits[0]).toMatchObject({ alive: false, timeoutMs: 0, holder: { holder: 'one' } });
    expect(waits.map(({ holder }) => holder.what)).toContain('upgrade to KubeOS 2.0.0, 2 of 3 nodes done');
    expect(two!.events).toContainEqual(expect.objectContaining({ type: 'lock-taken' }));
    const notices = two!.events.filter((event) => event.type === 'notice').map(({ node, message }) => [node, message]);
    expect(notices).toContainEqual(['worker-1', 'runs KubeOS 2.0.0 by now: nothing is left to do']);
    expect(world.broken).toEqual([]);
    expectAllAt(world, 'KubeOS 2.0.0');
  });

  test('at the same time towards two versions: they follow one another, and never work at once', async () => {
    const world = new SimWorld();
    const newer = system('KubeOS 3.0.0');
    world.addImage(newer);
    const artifact = { url: 'https://10.0.0.5/3.img', sha256: newer.sha256, flagSafe: false };
    const request = {
      goal: { operation: 'upgrade' as const, version: newer.version, toOtherSlot: false },
      image: { type: 'disk' as const, artifact, shownUrl: artifact.url },
    };
    const both = [start(world, {}, 'one'), start(world, { request, lockWaitMs: 3_600_000 }, 'two')];
    const [one, two] = await world.clock.run(Promise.all(both));
    expect([one?.result?.exitCode, two?.result?.exitCode]).toEqual([0, 0]);
    expect(world.broken).toEqual([]);
    expectAllAt(world, 'KubeOS 3.0.0');
  });

  test('a wait that is over ends with who holds the lock, and one that is called off with nothing changed', async () => {
    const world = new SimWorld();
    const onBreath: Command['onBreath'] = (_client, _count, doing, stop) => {
      if (doing === 'acquire lock') world.clock.after(20_000, () => stop.graceful.abort(new InterruptedError()));
    };
    const [one, two, three] = await world.clock.run(
      Promise.all([
        start(world, {}, 'one'),
        start(world, { lockWaitMs: 30_000 }, 'two'),
        start(world, { lockWaitMs: 0, onBreath }, 'three'),
      ]),
    );
    expect(one.result?.exitCode).toBe(0);
    expect(two.error).toMatchObject({ exitCode: 11, reason: expect.stringContaining('one') as string });
    expect(three.error).toMatchObject({ exitCode: 130 });
    expect(world.lease.token).toBe(1);
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
