import fc from 'fast-check';
import { expect, test } from 'vitest';
import { system, type SimSystem } from './machine.ts';
import { expectAt, give, outcomes, TO_PREVIOUS, type Command } from './scenario.ts';
import { SimWorld } from './world.ts';

const NAMES = ['n1', 'n2', 'n3', 'n4'];
const QUICK = { healthTimeoutMs: 90_000, rebootTimeoutMs: 120_000, budgetWaitMs: 60_000 };

const image = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Partial<SimSystem>>({}) },
  fc.constantFrom<Partial<SimSystem>>(
    { boots: 'panic' },
    { boots: 'stuck' },
    { boots: 'mute' },
    { kubelet: 'not-ready' },
    { kubelet: 'dead' },
    { version: 'KubeOS 1.9.9' },
  ),
);

const event = fc.record({
  at: fc.integer({ min: 1, max: 600 }),
  node: fc.constantFrom(...NAMES),
  what: fc.constantFrom(
    ...(['kill', 'stop', 'reset', 'cut', 'user cordons', 'api away', 'drain blocked'] as const),
    ...(['user uncordons', 'node deleted', 'next cleared', 'annotation removed'] as const),
  ),
});

const scenario = fc.record({
  images: fc.tuple(image, image, image, image),
  events: fc.array(event, { maxLength: 4 }),
  budget: fc.integer({ min: 1, max: 4 }),
  canary: fc.integer({ min: 0, max: 2 }),
  maxFailures: fc.integer({ min: 0, max: 2 }),
  writeAfterDrain: fc.boolean(),
  rollback: fc.boolean(),
  cordonedBefore: fc.subarray(NAMES, { maxLength: 1 }),
});

type Scenario = typeof scenario extends fc.Arbitrary<infer T> ? T : never;

/** What befalls the world at a breath; what passes by itself does so after two minutes. */
function befall(world: SimWorld, events: Scenario['events']): NonNullable<Command['onBreath']> {
  return (client, count, _doing, stop) => {
    for (const { at, node, what } of events) {
      if (at !== count) continue;
      if (what === 'kill') client.kill();
      if (what === 'stop') stop.graceful.abort();
      if (what === 'reset') world.machine(node).reset();
      if (what === 'user uncordons' && world.nodes.has(node)) world.uncordonByHand(node);
      if (what === 'node deleted') world.deleteNode(node);
      if (what === 'next cleared') delete world.machine(node).env.next;
      if (what === 'annotation removed' && world.nodes.has(node)) world.node(node).record = undefined;
      if (!world.nodes.has(node)) continue;
      if (what === 'user cordons' && !world.node(node).cordoned) world.cordonByUser(node);
      if (what === 'drain blocked') for (const pod of world.node(node).pods) pod.blocked = true;
      if (what === 'cut') passing(world, 120_000, (on) => (world.fault(node).refusesSsh = on));
      if (what === 'api away') passing(world, 120_000, (on) => (world.apiAway = on));
    }
  };
}

/** What may befall a node once its way has ended, so that it is not any more as its result says. */
const LATER: ReadonlySet<string> = new Set(['reset', 'node deleted']);

function passing(world: SimWorld, ms: number, set: (on: boolean) => void): void {
  set(true);
  world.clock.after(ms, () => {
    set(false);
    world.changed();
  });
}

/** What passes has passed, and somebody resets what is stuck or does not answer. */
async function handsHelp(world: SimWorld): Promise<void> {
  await world.clock.pass(300_000);
  for (const [name, machine] of world.machines) if (!world.nodes.has(name)) machine.reset();
  for (const { machine, pods } of world.nodes.values()) {
    for (const pod of pods) delete pod.blocked;
    if (machine.power === 'stuck') machine.power = 'up';
    if (!machine.kubelet.registered || !machine.answersSsh) machine.reset();
  }
  await world.clock.pass(120_000);
}

async function play(it: Scenario): Promise<void> {
  const world = new SimWorld(NAMES, system('KubeOS 1.0.0'));
  it.images.forEach((behaviour, index) => world.behaviour.set(NAMES[index]!, behaviour));
  for (const name of it.cordonedBefore) world.cordonByUser(name);
  const { canary, maxFailures, writeAfterDrain } = it;
  const request = {
    canary,
    maxFailures,
    writeAfterDrain,
    maxUnavailable: { kind: 'count' as const, count: it.budget },
  };
  const ran = await give(world, { request, ...QUICK, onBreath: befall(world, it.events) });
  expect(world.broken).toEqual([]);
  if (ran.result !== undefined && !ran.killed) {
    const resetLater = new Set(it.events.filter(({ what }) => LATER.has(what)).map(({ node }) => node));
    for (const [name, outcome] of Object.entries(outcomes(ran))) {
      if (outcome === 'upgraded' && !resetLater.has(name)) expectAt(world, name, 'KubeOS 2.0.0');
      if (outcome === 'fell back' && !resetLater.has(name)) expectAt(world, name, 'KubeOS 1.0.0');
    }
  }
  const next = it.rollback ? { ...request, ...TO_PREVIOUS } : request;
  let refused = false;
  for (let again = 0; again < 3; again++) {
    await handsHelp(world);
    const later = await give(world, { request: { ...next, maxFailures: 0 }, ...QUICK });
    expect(world.broken).toEqual([]);
    expect(later.error).toBeUndefined();
    refused = (later.plan?.refusals.length ?? 0) > 0;
  }
  // Without its annotation nothing tells whose a dead run's cordon was; a refused run changes nothing, annotations neither.
  const untold = new Set(it.events.filter(({ what }) => what === 'annotation removed').map(({ node }) => node));
  for (const [name, { machine, record, cordoned, cordonedBy }] of world.nodes) {
    expect(machine.permanent, name).toBe(machine.active);
    if (refused || untold.has(name)) continue;
    expect([record, cordoned && cordonedBy === 'a run'], name).toEqual([undefined, false]);
  }
}

test('whatever befalls it, nothing that always holds is broken, and the same command puts everything in order', async () => {
  await fc.assert(fc.asyncProperty(scenario, play), { numRuns: 120, seed: 20_261_123 });
});
