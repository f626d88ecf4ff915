import { describe, expect, test } from 'vitest';
import { PreflightError } from '../../src/errors.ts';
import type { NodeResult } from '../../src/rollout/events.ts';
import { system } from './machine.ts';
import { expectAllAt, expectAt, give, outcomes, type Command, type Ran } from './scenario.ts';
import { ANNOTATION, SimWorld } from './world.ts';

const QUICK = { healthTimeoutMs: 120_000, rebootTimeoutMs: 180_000, budgetWaitMs: 60_000 };
const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 2.0.0';
const STEPS = [
  'launch stage worker-2',
  'launch verify worker-2',
  'arm worker-2',
  'heartbeat worker-2',
  'commit worker-2',
];

/** Does something once, at the first call of this name in the run. */
function once(call: string, hand: () => void): NonNullable<Command['onBreath']> {
  let done = false;
  return (_client, _count, doing) => {
    if (done || doing !== call) return;
    done = true;
    hand();
  };
}

async function meddle(world: SimWorld, call: string, hand: () => void): Promise<Ran> {
  const ran = await give(world, { request: { maxFailures: 0 }, ...QUICK, onBreath: once(call, hand) });
  expect(ran.error).toBeUndefined();
  return ran;
}

function resultOf(ran: Ran, node = 'worker-2'): NodeResult {
  const found = ran.result?.results.find((result) => result.node === node);
  if (found === undefined) throw new Error(`no result of ${node}`);
  return found;
}

/** It stands in the node's result, and was told when it was noticed. */
function expectNoticed(ran: Ran, what: RegExp, node = 'worker-2'): void {
  expect(resultOf(ran, node).noticed?.join('\n')).toMatch(what);
  const told = ran.events.flatMap((event) => (event.type === 'notice' && event.node === node ? [event.message] : []));
  expect(told.join('\n')).toMatch(what);
}

async function expectCarriedOn(world: SimWorld): Promise<void> {
  expect((await give(world, QUICK)).result?.exitCode).toBe(0);
  expectAllAt(world, NEW);
}

describe('somebody cordons a node on its way', () => {
  test.each(['launch stage worker-2', 'record worker-2 drain'])('at %s: the cordon stays', async (call) => {
    const world = new SimWorld();
    const ran = await meddle(world, call, () => world.cordonByUser('worker-2'));
    expect(outcomes(ran)).toMatchObject({ 'worker-2': 'upgraded' });
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a user', record: undefined });
    expectNoticed(ran, /cordoned by somebody else/);
  });
});

describe('somebody taints a node on its way', () => {
  test.each(['launch stage worker-2', 'drain worker-2', 'commit worker-2'])(
    'at %s: that is named once',
    async (call) => {
      const world = new SimWorld();
      world.node('worker-2').taints.push('team=db:NoSchedule');
      const ran = await meddle(world, call, () => {
        world.node('worker-2').taints.push('repair:NoExecute');
        world.changed();
      });
      expect(outcomes(ran)).toMatchObject({ 'worker-2': 'upgraded' });
      expect(resultOf(ran).noticed).toEqual(['somebody set the taint repair:NoExecute on it: it stays so']);
      expectNoticed(ran, /repair:NoExecute/);
      expect(world.node('worker-2').taints).toEqual(['team=db:NoSchedule', 'repair:NoExecute']);
    },
  );
});

describe('somebody uncordons a node on its way', () => {
  test.each(['drain worker-2, answered', 'drained worker-2', 'record worker-2 arm', 'observe worker-2'])(
    'before its reboot, at %s: it is not rebooted, and back in service in its old slot',
    async (call) => {
      const world = new SimWorld();
      let armed = call !== 'observe worker-2';
      const ran = await give(world, {
        request: { maxFailures: 0 },
        ...QUICK,
        onBreath: (_client, _count, doing) => {
          armed ||= doing === 'arm worker-2';
          if (!armed || doing !== call || world.machine('worker-2').boots > 1) return;
          if (world.node('worker-2').cordoned) world.uncordonByHand('worker-2');
        },
      });
      expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'failed', 'worker-3': 'upgraded' });
      expect(resultOf(ran).what).toBe('somebody uncordoned it on its way');
      expectTold(ran);
      expect(world.machine('worker-2').boots).toBe(1);
      expectAt(world, 'worker-2', OLD);
      await expectCarriedOn(world);
    },
  );

  test.each(['boot-report worker-2', 'heartbeat worker-2', 'prove worker-2'])(
    'on its trial, at %s: the trial goes on, and a cordon that is set later stays',
    async (call) => {
      const world = new SimWorld();
      const hand = once(call, () => world.uncordonByHand('worker-2'));
      const later = once('commit worker-2', () => world.cordonByUser('worker-2'));
      const ran = await give(world, {
        ...QUICK,
        onBreath: (...breath) => {
          hand(...breath);
          later(...breath);
        },
      });
      expect(outcomes(ran)['worker-2']).toBe('upgraded');
      expectNoticed(ran, /somebody uncordoned it on its way/);
      expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a user', record: undefined });
    },
  );

  test('on a trial that fails: it is drained anew before it is sent back', async () => {
    const world = new SimWorld();
    world.behaviour.set('worker-2', { kubelet: 'not-ready' });
    const ran = await meddle(world, 'heartbeat worker-2', () => world.uncordonByHand('worker-2'));
    expect(outcomes(ran)['worker-2']).toBe('fell back');
    expectAt(world, 'worker-2', OLD);
  });
});

describe('somebody deletes a node from the cluster', () => {
  test.each([
    'launch stage worker-2',
    'launch write worker-2',
    'poll write worker-2',
    'launch verify worker-2',
    'record worker-2 drain',
    'drain worker-2, answered',
    'record worker-2 arm',
    'arm worker-2',
  ])('before its reboot, at %s: its way ends there, and nothing of the run goes on on it', async (call) => {
    const world = new SimWorld();
    const ran = await meddle(world, call, () => world.deleteNode('worker-2'));
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'failed', 'worker-3': 'upgraded' });
    expect(`${resultOf(ran).what}`).toBe('somebody deleted it from the cluster');
    expectTold(ran);
    const machine = world.machine('worker-2');
    expect([machine.active, machine.permanent, machine.env.next, machine.boots]).toEqual(['A', 'A', undefined, 1]);
    expect(machine.job?.state).not.toBe('running');
    expect(machine.journal?.phase).toBe('aborted');
    machine.reset();
    await world.clock.pass(120_000);
    await expectCarriedOn(world);
  });

  test('before its turn comes: it is not started', async () => {
    const world = new SimWorld();
    const ran = await meddle(world, 'launch stage worker-1', () => world.deleteNode('worker-2'));
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'not started', 'worker-3': 'upgraded' });
    expect(resultOf(ran).what).toBe('somebody deleted it from the cluster');
    expect(world.machine('worker-2').journal).toBeUndefined();
  });

  test('while it reboots: its kubelet registers it again, and its trial is judged as ever', async () => {
    const world = new SimWorld();
    const ran = await meddle(world, 'boot-report worker-2', () => world.deleteNode('worker-2'));
    expect(outcomes(ran)['worker-2']).toBe('upgraded');
    expectNoticed(ran, /deleted it from the cluster, and it was registered anew/);
    expectAllAt(world, NEW);
  });

  test('on its trial: it is left there, which a reset ends, and needs hands', async () => {
    const world = new SimWorld();
    world.behaviour.set('worker-2', { kubelet: 'not-ready' });
    const ran = await give(world, {
      request: { maxFailures: 0 },
      ...QUICK,
      onBreath: (_client, _count, doing) => {
        const node = world.nodes.get('worker-2');
        if (doing === 'heartbeat worker-2' && node?.osImage === NEW) world.deleteNode('worker-2');
      },
    });
    expect(outcomes(ran)['worker-2']).toBe('needs hands');
    expect(resultOf(ran).what).toMatch(/deleted it from the cluster while slot B was on trial/);
    expect(world.machine('worker-2')).toMatchObject({ active: 'B', permanent: 'A', boots: 2 });
    world.machine('worker-2').reset();
    await world.clock.pass(120_000);
    const again = await give(world, { ...QUICK, request: { retryFailedImage: true } });
    expect(['upgraded', 'fell back']).toContain(outcomes(again)['worker-2']);
  });

  test('and another machine takes its name: it is not touched', async () => {
    const world = new SimWorld();
    const ran = await meddle(world, 'record worker-2 verify', () => {
      world.deleteNode('worker-2');
      world.registerAgain('worker-2');
    });
    expect(outcomes(ran)['worker-2']).toBe('failed');
    expect(resultOf(ran).what).toMatch(/registered anew/);
    expect(world.machine('worker-2').boots).toBe(1);
    await expectCarriedOn(world);
  });

  test.each([
    'record worker-2 verify',
    'record worker-2 arm',
    'boot-report worker-2',
    'record worker-2 prove',
    'record worker-2 commit',
  ])('and cordons its new object, at %s: that cordon stays', async (call) => {
    const world = new SimWorld();
    await meddle(world, call, () => {
      world.deleteNode('worker-2');
      if (!world.nodes.has('worker-2')) world.registerAgain('worker-2');
      world.cordonByUser('worker-2');
    });
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a user' });
    const again = await give(world, { ...QUICK, request: { maxUnavailable: { kind: 'count', count: 2 } } });
    expect(again.error).toBeUndefined();
    expectAllAt(world, NEW);
    expect(world.node('worker-2')).toMatchObject({ cordoned: true, cordonedBy: 'a user' });
  });
});

test('a node that joins is named, left alone, and taken on by the same command', async () => {
  const world = new SimWorld();
  const ran = await meddle(world, 'launch write worker-1', () => {
    world.addNode('worker-4', system(OLD));
    world.changed();
  });
  expect(ran.result?.exitCode).toBe(0);
  expect(ran.result?.joined).toEqual(['worker-4']);
  expect(world.node('worker-4')).toMatchObject({ osImage: OLD, cordoned: false, record: undefined });
  await expectCarriedOn(world);
});

describe('somebody reboots a node', () => {
  test.each(['launch stage worker-2', 'poll write worker-2', 'launch verify worker-2', 'drain worker-2, answered'])(
    'before it is armed, at %s: its way goes on, and that is told',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => world.machine('worker-2').reset());
      expect(['upgraded', 'failed']).toContain(outcomes(ran)['worker-2']);
      if (outcomes(ran)['worker-2'] === 'upgraded') expectNoticed(ran, /something else rebooted it/);
      await expectCarriedOn(world);
    },
  );

  test.each(['arm worker-2, answered', 'observe worker-2', 'record worker-2 reboot', 'reboot trial worker-2'])(
    'once it is armed, at %s: that boot is its trial',
    async (call) => {
      const world = new SimWorld();
      let armed = false;
      const ran = await give(world, {
        request: { maxFailures: 0 },
        ...QUICK,
        onBreath: (_client, _count, doing) => {
          armed ||= doing === 'arm worker-2';
          if (armed && doing === call && world.machine('worker-2').boots === 1) world.machine('worker-2').reset();
        },
      });
      expect(outcomes(ran)).toMatchObject({ 'worker-2': 'upgraded' });
      expect(world.machine('worker-2').boots).toBe(2);
      expectAllAt(world, NEW);
    },
  );

  test.each(['heartbeat worker-2', 'prove worker-2', 'commit worker-2'])(
    'on its trial, at %s: it fell back, and the image is refused there until that is retried',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => {
        if (world.machine('worker-2').active === 'B') world.machine('worker-2').reset();
      });
      expect(outcomes(ran)['worker-2']).toBe('fell back');
      expect(resultOf(ran).reason).toMatch(/slot B was up on trial, until something reset the node/);
      expectAt(world, 'worker-2', OLD);
      const again = await give(world, QUICK);
      expect(again.result?.exitCode).toBe(4);
      expect(resultOf(again).next).toContain('--retry-failed-image');
      expect((await give(world, { ...QUICK, request: { retryFailedImage: true } })).result?.exitCode).toBe(0);
      expectAllAt(world, NEW);
    },
  );
});

describe("somebody edits this run's annotation", () => {
  const edits: [string, (world: SimWorld) => void, RegExp][] = [
    ['removes it', (world) => (world.node('worker-2').record = undefined), /somebody removed this run's annotation/],
    [
      "puts an older run's there",
      (world) => {
        const { record } = world.node('worker-2');
        if (record !== undefined) world.node('worker-2').record = { ...record, run: 'older', token: 0 };
      },
      /somebody changed this run's annotation \(run older\)/,
    ],
  ];
  test.each(edits.flatMap(([name, edit, what]) => STEPS.map((call) => [name, call, edit, what] as const)))(
    '%s at %s: it is told, written anew, and the node is upgraded',
    async (_name, call, edit, what) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => edit(world));
      expect(outcomes(ran)['worker-2']).toBe('upgraded');
      expectNoticed(ran, what);
      expectAllAt(world, NEW);
    },
  );

  test.each(['launch stage worker-2', 'launch verify worker-2'])(
    'makes it unreadable before the cordon, at %s: the way ends, nothing is written over',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => (world.node('worker-2').annotations[ANNOTATION] = 'by hand'));
      expect(outcomes(ran)['worker-2']).toBe('failed');
      expectTold(ran);
      expect(world.node('worker-2')).toMatchObject({ cordoned: false, annotations: { [ANNOTATION]: 'by hand' } });
      expect(world.machine('worker-2').boots).toBe(1);
      world.node('worker-2').record = undefined;
      await expectCarriedOn(world);
    },
  );

  test.each(['record worker-2 arm', 'prove worker-2'])(
    'makes it unreadable once it is cordoned, at %s: it needs hands, nothing is written over',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => (world.node('worker-2').annotations[ANNOTATION] = 'by hand'));
      expect(outcomes(ran)['worker-2']).toBe('needs hands');
      expectTold(ran);
      expect(world.node('worker-2')).toMatchObject({ cordoned: true, annotations: { [ANNOTATION]: 'by hand' } });
      expect(world.machine('worker-2').env.next).toBeUndefined();
    },
  );

  test.each(['launch stage worker-2', 'record worker-2 arm'])(
    'no hand is blamed where the API refuses to have it written, at %s: the node ends with what the API says',
    async (call) => {
      const world = new SimWorld();
      const refusal = new PreflightError('not allowed to write the record', { reason: 'an admission webhook' });
      const ran = await meddle(world, call, () => world.refusesRecord.set('worker-2', refusal));
      const { what, reason, noticed } = resultOf(ran);
      expect([what, reason, noticed]).toEqual(['not allowed to write the record', 'an admission webhook', undefined]);
      expect(world.machine('worker-2').boots).toBe(1);
      expectAt(world, 'worker-2', OLD);
      world.refusesRecord.clear();
      await expectCarriedOn(world);
    },
  );

  test('once its trial has begun, that ends no trial', async () => {
    const world = new SimWorld();
    const refusal = new PreflightError('not allowed to write the record');
    const ran = await meddle(world, 'boot-report worker-2', () => world.refusesRecord.set('worker-2', refusal));
    expect(outcomes(ran)['worker-2']).toBe('upgraded');
    expect(resultOf(ran).noticed).toBeUndefined();
    expectAllAt(world, NEW);
  });

  test('puts a newer run there: this run changes nothing more, anywhere', async () => {
    const world = new SimWorld();
    const ran = await meddle(world, 'launch write worker-2', () => {
      const { record } = world.node('worker-2');
      if (record !== undefined) world.node('worker-2').record = { ...record, run: 'newer', token: 99 };
    });
    expect(outcomes(ran)).toMatchObject({ 'worker-2': 'failed', 'worker-3': 'not started' });
    expect(resultOf(ran).what).toMatch(/lost its lock/);
    await expectCarriedOn(world);
  });
});

describe('somebody changes the boot environment', () => {
  test.each(['arm worker-2, answered', 'record worker-2 reboot, answered', 'reboot trial worker-2'])(
    'clears next_entry once it is armed, at %s: it is not rebooted',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => delete world.machine('worker-2').env.next);
      expect(outcomes(ran)).toMatchObject({ 'worker-2': 'failed', 'worker-3': 'upgraded' });
      expectTold(ran);
      expect(world.machine('worker-2').boots).toBe(1);
      expectAt(world, 'worker-2', OLD);
      await expectCarriedOn(world);
    },
  );

  test.each(['arm worker-2, answered', 'reboot trial worker-2'])(
    'makes the other slot permanent once it is armed, at %s: it is not rebooted, and what the hand chose stays',
    async (call) => {
      const world = new SimWorld();
      const ran = await meddle(world, call, () => (world.machine('worker-2').env.saved = 'B'));
      expect(outcomes(ran)).toMatchObject({ 'worker-2': 'failed', 'worker-3': 'upgraded' });
      expect(resultOf(ran).reason).toMatch(/saved_entry|boot environment/);
      expect(world.machine('worker-2')).toMatchObject({ boots: 1, active: 'A', permanent: 'B' });
      await expectCarriedOn(world);
    },
  );

  test('makes the other slot permanent before the write: it is refused', async () => {
    const world = new SimWorld();
    const ran = await meddle(world, 'launch write worker-2', () => (world.machine('worker-2').env.saved = 'B'));
    expect(outcomes(ran)['worker-2']).toBe('failed');
    expect(world.machine('worker-2').slots.B.stamp).toBe(1);
  });

  test.each(['arm worker-2, answered', 'reboot trial worker-2'])(
    'makes it unreadable once it is armed, at %s: it needs hands, and is not rebooted',
    async (call) => {
      const world = new SimWorld();
      const machine = world.machine('worker-2');
      const ran = await meddle(world, call, () => (machine.env.problem = '1023 bytes'));
      expect(outcomes(ran)['worker-2']).toBe('needs hands');
      expect(`${resultOf(ran).reason}`).toMatch(/1023 bytes/);
      expect(machine.boots).toBe(1);
      expect(world.node('worker-2')).toMatchObject({ cordoned: true });
      delete machine.env.problem;
      await expectCarriedOn(world);
    },
  );
});

function expectTold(ran: Ran): void {
  const { what, next } = resultOf(ran);
  expect(what).toBeTruthy();
  expect(next).toBeTruthy();
}
