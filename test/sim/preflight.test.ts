import { describe, expect, test } from 'vitest';
import { system } from './machine.ts';
import { TO_PREVIOUS, expectAllAt, give, outcomes, type Ran } from './scenario.ts';
import { SimWorld } from './world.ts';

const changed = (world: SimWorld): unknown[] =>
  [...world.nodes.values()].map(({ machine, record, cordoned }) => [machine.journal, machine.token, record, cordoned]);

function expectUntouched(world: SimWorld): void {
  expect(changed(world)).toEqual([...world.nodes.values()].map(() => [undefined, 0, undefined, false]));
  expect(world.lease.token).toBe(0);
}

const refusal = ({ plan }: Ran): string => plan?.refusals.map(({ what }) => what).join('; ') ?? '';

describe('a node that fails preflight', () => {
  test('does not stop the others', async () => {
    const world = new SimWorld();
    world.machine('worker-2').preflight = { ...world.machine('worker-2').preflight, persistReadOnly: true };
    const ran = await give(world);
    expect(outcomes(ran)).toEqual({ 'worker-1': 'upgraded', 'worker-2': 'not started', 'worker-3': 'upgraded' });
    expect(ran.result?.exitCode).toBe(3);
    expect(world.machine('worker-2').journal).toBeUndefined();
  });

  test('stops all of them with --strict, before anything is changed', async () => {
    const world = new SimWorld();
    world.machine('worker-2').preflight = { ...world.machine('worker-2').preflight, persistReadOnly: true };
    const ran = await give(world, { request: { strict: true } });
    expect(ran.result?.exitCode).toBe(4);
    expectUntouched(world);
  });

  test('only since the plan was shown, under --strict: nothing is changed, and the lock is given back', async () => {
    const world = new SimWorld();
    const onShown = (): void => void (world.fault('worker-2').refusesSsh = true);
    const ran = await give(world, { request: { strict: true }, onShown });
    expect(ran.result?.exitCode).toBe(4);
    expect([world.lease.token, world.lease.held]).toEqual([1, false]);
    for (const name of world.nodes.keys()) expect(world.machine(name).journal).toBeUndefined();
  });
});

describe('a node without room for the image', () => {
  const ways = { here: false, stream: 'where-needed' as const };
  const small = (): SimWorld => {
    const world = new SimWorld();
    world.machine('worker-2').freeBytes = 10 ** 8;
    return world;
  };

  test('stays out unless its slot may be written as the image arrives', async () => {
    const world = small();
    const refused = await give(world);
    expect([outcomes(refused)['worker-2'], refused.result?.exitCode]).toEqual(['not started', 3]);
    const ran = await give(world, { request: { ways } });
    expect([outcomes(ran)['worker-2'], ran.result?.exitCode]).toEqual(['upgraded', 0]);
    const told = ran.events.filter((event) => event.type === 'step-done' && event.node === 'worker-2');
    expect(told.slice(0, 2)).toMatchObject([
      { step: 'stage', skipped: true, detail: 'nothing in /persist: the image is streamed into the slot' },
      { step: 'write', skipped: false, detail: expect.stringContaining('streamed') as string },
    ]);
  });

  test('has lost its rollback image where what arrives is another one; the next run streams anew', async () => {
    const world = small();
    world.fault('worker-2').corruptDownload = true;
    const ran = await give(world, { request: { ways } });
    expect(outcomes(ran)['worker-2']).toBe('failed');
    expect(world.machine('worker-2').slots.B).toMatchObject({ dirty: true });
    world.fault('worker-2').corruptDownload = false;
    expect((await give(world, { request: { ways } })).result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 2.0.0');
  });
});

describe('the look at the image', () => {
  test('is made by each node that would fetch it, after the first one, and once', async () => {
    const looks: string[] = [];
    await give(new SimWorld(), {
      onBreath: (_client, _count, doing) => {
        if (doing.startsWith('look') && !doing.includes('answered')) looks.push(doing);
      },
    });
    expect(looks).toEqual(['look worker-1', 'look worker-2', 'look worker-3']);
  });

  test('is one where the server refuses it', async () => {
    const world = new SimWorld();
    world.imageServer = { blame: 'server', reason: 'the server has no such file (HTTP 404)' };
    const looks: string[] = [];
    const ran = await give(world, {
      onBreath: (_client, _count, doing) => {
        if (doing.startsWith('look') && !doing.includes('answered')) looks.push(doing);
      },
    });
    expect(looks).toEqual(['look worker-1']);
    expect(ran.result?.exitCode).toBe(4);
    expectUntouched(world);
  });

  test.each([
    ['tar', 'slot B, each file read back equal, KubeOS 2.0.0'],
    ['zstd', 'slot B, read back equal, KubeOS 2.0.0'],
  ] as const)('of kind %s: every node takes it, and the run says what the proof stands on', async (content, words) => {
    const world = new SimWorld();
    world.imageServer = { sizeBytes: 5, ranges: true, content };
    const ran = await give(world);
    expect(ran.result?.exitCode).toBe(0);
    const verified = ran.events.filter((event) => event.type === 'step-done' && event.step === 'verify');
    expect(verified).toMatchObject([{ detail: words }, { detail: words }, { detail: words }]);
  });

  test('of a kind that is not written refuses the run before it begins', async () => {
    const world = new SimWorld();
    world.imageServer = { sizeBytes: 5, ranges: true, content: 'bzip2' };
    const ran = await give(world);
    expect([ran.result?.exitCode, refusal(ran)]).toEqual([
      4,
      'the image is compressed with bzip2, which kubeos does not write',
    ]);
    expectUntouched(world);
  });

  test.each(['worker-1', 'worker-3'])('finds %s without a way, which stays out through the whole run', async (name) => {
    const world = new SimWorld();
    world.fault(name).noWayToImages = true;
    const ran = await give(world);
    const others = ['worker-1', 'worker-2', 'worker-3'].filter((one) => one !== name);
    expect(outcomes(ran)).toEqual(
      Object.fromEntries([[name, 'not started'], ...others.map((one) => [one, 'upgraded'])]),
    );
    expect(world.machine(name).journal).toBeUndefined();
  });

  test('is not made for a rollback, nor where every node has the image', async () => {
    const world = new SimWorld();
    await give(world);
    world.imageServer = { blame: 'server', reason: 'gone' };
    const ran = await give(world, { request: TO_PREVIOUS });
    expect(ran.result?.exitCode).toBe(0);
    expectAllAt(world, 'KubeOS 1.0.0');
  });
});

test('a cluster of one node is upgraded and rolled back, though its API is away while it reboots', async () => {
  const world = new SimWorld([]);
  world.addNode('only', system('KubeOS 1.0.0')).controlPlane = true;
  let wasAway = 0;
  const onBreath = (): void => {
    // Its API server starts with the kubelet, some seconds after the machine.
    const away = world.machine('only').power !== 'up' || !world.machine('only').kubelet.registered;
    const isBack = world.apiAway && !away;
    world.apiAway = away;
    if (away) wasAway += 1;
    if (isBack) world.changed();
  };
  const selection = { includeControlPlane: true };
  const ran = await give(world, { request: { selection }, onBreath });
  expect(ran.plan?.notes.map(({ what }) => what)).toEqual([
    "only is the only node: the cluster's API is away while it reboots",
  ]);
  expect([ran.error, outcomes(ran)]).toEqual([undefined, { only: 'upgraded' }]);
  expect(wasAway).toBeGreaterThan(0);
  expectAllAt(world, 'KubeOS 2.0.0');
  const back = await give(world, { request: { ...TO_PREVIOUS, selection }, onBreath });
  expect(outcomes(back)).toEqual({ only: 'rolled back' });
  expectAllAt(world, 'KubeOS 1.0.0');
});

test('a cluster of one node whose new system never brings its API back is sent back to the old one', async () => {
  const world = new SimWorld([]);
  world.addImage(system('KubeOS 2.0.0', { kubelet: 'dead' }));
  world.addNode('only', system('KubeOS 1.0.0')).controlPlane = true;
  const onBreath = (): void => {
    const { power, running } = world.machine('only');
    world.apiAway = power !== 'up' || running.kubelet === 'dead';
  };
  const ran = await give(world, { request: { selection: { includeControlPlane: true } }, onBreath });
  expect(outcomes(ran)).toEqual({ only: 'fell back' });
  expectAllAt(world, 'KubeOS 1.0.0');
});
