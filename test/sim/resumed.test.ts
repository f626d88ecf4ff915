import { describe, expect, test } from 'vitest';
import type { RolloutEvent } from '../../src/rollout/events.ts';
import { expectAllAt, give, outcomes, type Command } from './scenario.ts';
import { SimWorld } from './world.ts';

const NEW = 'KubeOS 2.0.0';
const LATE = ['worker-2', 'worker-3'];
const atOnce = { canary: 0, maxUnavailable: { kind: 'count' as const, count: 3 } };

const areOnTrial = (world: SimWorld): boolean => LATE.every((name) => world.node(name).osImage === NEW);

/** worker-1 waits in its drain for a budget that the two others use up; the run is killed once these are on trial. */
async function leftOnTrial(world = new SimWorld()): Promise<SimWorld> {
  const { pods } = world.node('worker-1');
  pods.push({
    name: 'shop/db-0',
    get blocked() {
      return LATE.some((name) => world.node(name).cordoned);
    },
  });
  const { killed } = await give(world, {
    request: atOnce,
    onBreath: (client) => {
      if (areOnTrial(world)) client.kill();
    },
  });
  expect(killed).toBe(true);
  expect([...world.nodes.values()].every(({ cordoned }) => cordoned)).toBe(true);
  return world;
}

/** The nodes in the order in which a kind of event told of them. */
const order = (events: readonly RolloutEvent[], type: 'node-started' | 'node-done'): string[] =>
  events.flatMap((event) => {
    if (event.type === 'node-started' && type === 'node-started') return [event.node];
    return event.type === 'node-done' && type === 'node-done' ? [event.result.node] : [];
  });

describe('nodes that a killed run left on trial', () => {
  test.each<[string, Command]>([
    ['with a canary, as by default', { request: { ...atOnce, canary: 1 } }],
    ['one node at a time', {}],
    ['as before', { request: atOnce }],
  ])('are finished before another drain waits for what they hold up: %s', async (_name, command) => {
    const world = await leftOnTrial();
    const ran = await give(world, command);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expect(order(ran.events, 'node-started')).toEqual([...LATE, 'worker-1']);
    expect(order(ran.events, 'node-done').at(-1)).toBe('worker-1');
    expectAllAt(world, NEW);
  });

  test('go on at once, however many, and are all finished though one of them fails', async () => {
    const world = new SimWorld();
    world.behaviour.set('worker-2', { kubelet: 'not-ready' });
    await leftOnTrial(world);
    const ran = await give(world, { healthTimeoutMs: 60_000 });
    expect(order(ran.events, 'node-started')).toEqual(LATE);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'not started', 'worker-2': 'fell back', 'worker-3': 'upgraded' });
    expectAllAt(world, NEW, ['worker-3']);
  });

  test('count as canaries, which the plan says', async () => {
    const world = await leftOnTrial();
    const ran = await give(world, { request: { ...atOnce, canary: 3 } });
    expect(ran.plan?.entries.map(({ node, canary }) => [node, canary])).toEqual([
      ['worker-2', false],
      ['worker-3', false],
      ['worker-1', true],
    ]);
  });

  test('bear in the cluster the step that they are at', async () => {
    const world = await leftOnTrial();
    const steps: unknown[] = [];
    await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing === 'heartbeat worker-2' && steps.length === 0)
          steps.push(...[...world.nodes.values()].map(({ record }) => record?.step));
      },
    });
    expect(steps).toEqual(['drain', 'prove', 'prove']);
  });

  test('wait for no budget, even uncordoned by hand, since none is left while others are down', async () => {
    const world = await leftOnTrial();
    world.uncordonByHand('worker-2');
    const ran = await give(world, { budgetWaitMs: 60_000 });
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expectAllAt(world, NEW);
  });

  test('but went back since wait for their turn, like others', async () => {
    const world = await leftOnTrial();
    let reset = false;
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (reset || doing !== 'record worker-2 prove, answered') return;
        reset = true;
        for (const name of LATE) {
          world.machine(name).reset();
          world.machine(name).journal!.phase = 'aborted';
        }
      },
    });
    expect(reset).toBe(true);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'upgraded', 'worker-3': 'upgraded' });
    expect(order(ran.events, 'node-done')).toEqual([...LATE, 'worker-1']);
    const { events } = ran;
    const doneAt = (name: string): number =>
      events.findIndex((event) => event.type === 'node-done' && event.result.node === name);
    const arms = events.flatMap((event, index) => (event.type === 'step-done' && event.step === 'arm' ? [index] : []));
    expect(arms[1]).toBeGreaterThan(doneAt('worker-2'));
    expectAllAt(world, NEW);
  });
});

test('a node that was committed before is no canary: the next one goes alone', async () => {
  const world = new SimWorld();
  await give(world, {
    onBreath: (client, _count, doing) => {
      if (doing === 'release worker-1') client.kill();
    },
  });
  const ran = await give(world, { request: { ...atOnce, canary: 1 } });
  expect(ran.plan?.entries.map(({ node, canary }) => [node, canary])).toEqual([
    ['worker-1', false],
    ['worker-2', true],
    ['worker-3', false],
  ]);
  expect(order(ran.events, 'node-done')).toEqual(['worker-1', 'worker-2', 'worker-3']);
  const started = ran.events.findIndex((event) => event.type === 'node-started' && event.node === 'worker-3');
  const done = ran.events.findIndex((event) => event.type === 'node-done' && event.result.node === 'worker-2');
  expect(started).toBeGreaterThan(done);
});
