import { describe, expect, test } from 'vitest';
import { system } from './machine.ts';
import { expectAllAt, expectAt, give, outcomes, type Command } from './scenario.ts';
import { SimWorld } from './world.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 2.0.0';
const ONE: Command = { request: { selection: { includeControlPlane: false, nodes: ['worker-1'] } } };
const SPAN_MS = 300_000;

/** A run that is killed once its node is on trial. */
const killedOnTrial: Command = {
  deadManMs: SPAN_MS,
  onBreath: (client, _count, doing) => {
    if (doing.startsWith('heartbeat ')) client.kill();
  },
};

describe("the dead man's timer of a trial", () => {
  test('brings a node back whose run died, and the same command tries the image again', async () => {
    const world = new SimWorld();
    const { killed } = await give(world, killedOnTrial);
    const { machine } = world.node('worker-1');
    expect([killed, machine.active, machine.permanent]).toEqual([true, 'B', 'A']);
    await world.clock.pass(SPAN_MS + 60_000);
    expect([machine.active, machine.journal?.phase, machine.power]).toEqual(['A', 'aborted', 'up']);
    const again = await give(world);
    expect(outcomes(again)['worker-1']).toBe('upgraded');
    expectAllAt(world, NEW);
  });

  test('is renewed by a run that carries on', async () => {
    const world = new SimWorld();
    await give(world, killedOnTrial);
    await world.clock.pass(SPAN_MS - 90_000);
    const again = await give(world, { deadManMs: SPAN_MS });
    expect(outcomes(again)['worker-1']).toBe('upgraded');
    await world.clock.pass(2 * SPAN_MS);
    expect(world.node('worker-1').machine.boots).toBe(2);
    expectAllAt(world, NEW);
  });

  test('does not run out while a run waits for the health of its node, however long', async () => {
    const world = new SimWorld();
    world.images.set(system(NEW).sha256, system(NEW, { kubelet: 'not-ready' }));
    world.clock.after(40 * 60_000, () => {
      for (const [name, { machine }] of world.nodes) {
        if (machine.running.version === NEW) world.node(name).ready = true;
      }
      world.changed();
    });
    const ran = await give(world, { deadManMs: SPAN_MS, healthTimeoutMs: 0, ...ONE });
    expect(ran.events.filter(({ type }) => type === 'notice')).toEqual([]);
    expect(world.node('worker-1').machine.boots).toBe(2);
    expect(outcomes(ran)['worker-1']).toBe('upgraded');
  });

  test('runs out on a node that is up but out of reach, and the result says why it came back', async () => {
    const world = new SimWorld();
    let isCut = false;
    const ran = await give(world, {
      deadManMs: SPAN_MS,
      ...ONE,
      onBreath: (_client, _count, doing) => {
        if (isCut || !doing.startsWith('heartbeat ')) return;
        isCut = true;
        const { machine } = world.node('worker-1');
        machine.network = false;
        world.clock.after(SPAN_MS + 1_000, () => (machine.network = true));
      },
    });
    expect(outcomes(ran)['worker-1']).toBe('fell back');
    expect(ran.result?.results[0]?.reason).toBe('no sign of life from kubeos');
    expectAt(world, 'worker-1', OLD);
  });

  test.each(['prove', 'commit', 'reboot send-back'])(
    'runs out as the run calls %s: the node is awaited in its old slot',
    async (call) => {
      const world = new SimWorld();
      if (call === 'reboot send-back') world.images.set(system(NEW).sha256, system(NEW, { kubelet: 'not-ready' }));
      let isOver = false;
      const ran = await give(world, {
        ...ONE,
        onBreath: (_client, _count, doing) => {
          if (isOver || doing !== `${call} worker-1`) return;
          isOver = true;
          const { machine } = world.node('worker-1');
          machine.journal = { ...machine.journal!, phase: 'aborted', reason: 'no sign of life from kubeos' };
          machine.reset(5_000);
        },
      });
      expect([isOver, outcomes(ran)['worker-1']]).toEqual([true, 'fell back']);
      expectAt(world, 'worker-1', OLD);
    },
  );

  test('of 0 is never planted', async () => {
    const world = new SimWorld();
    await give(world, { ...killedOnTrial, deadManMs: 0 });
    await world.clock.pass(10 * SPAN_MS);
    expect(world.node('worker-1').machine.active).toBe('B');
  });
});
