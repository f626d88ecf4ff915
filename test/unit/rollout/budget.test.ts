import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { UsageError } from '../../../src/errors.ts';
import { BudgetError, BudgetGate, parseMaxUnavailable, resolveMaxUnavailable } from '../../../src/rollout/budget.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { clusterNode } from './fixtures.ts';

describe('--maxunavailable', () => {
  test.each([
    ['1', 10, 1],
    ['7', 3, 7],
    ['25%', 10, 2],
    ['100%', 7, 7],
    ['1%', 3, 1],
    ['34%', 3, 1],
    ['50%', 0, 1],
  ])('%s of %i nodes are %i', (text, nodes, count) => {
    expect(resolveMaxUnavailable(parseMaxUnavailable(text), nodes)).toBe(count);
  });

  test.each(['0', '-1', '0%', '101%', '1.5', 'two', '', '%', '1e3', '10 %'])('%j is refused', (text) => {
    expect(() => parseMaxUnavailable(text)).toThrow(UsageError);
  });
});

const NAMES = ['a', 'b', 'c', 'd'];
const signal = new AbortController().signal;

function setUp(maxUnavailable: number, waitMs = 60_000) {
  const clock = new VirtualClock();
  const nodes = new Map<string, ClusterNode>(NAMES.map((name) => [name, clusterNode({ name })]));
  const waits: (readonly string[])[] = [];
  const gate = new BudgetGate({
    addressed: NAMES,
    maxUnavailable,
    waitMs,
    nodes: () => nodes,
    clock,
    onWaiting: (eatenBy) => void waits.push(eatenBy),
  });
  const set = (name: string, change: Partial<ClusterNode>): void =>
    void nodes.set(name, clusterNode({ name, ...change }));
  return { clock, gate, set, waits };
}

describe('the budget gate', () => {
  test('lets as many start as may be unavailable, and the next one when one has ended', async () => {
    const { clock, gate } = setUp(2);
    await clock.run(Promise.all([gate.admit('a', signal), gate.admit('b', signal)]));
    let third = false;
    const waiting = gate.admit('c', signal).then(() => (third = true));
    await clock.pass(600_000);
    expect(third).toBe(false);
    gate.leave('a', false);
    await clock.run(waiting);
    expect(third).toBe(true);
  });

  test('a node that is down already takes nothing, however many are', async () => {
    const { clock, gate, set } = setUp(1);
    set('a', { ready: false });
    set('b', { cordoned: true });
    await clock.run(Promise.all([gate.admit('a', signal), gate.admit('b', signal)]));
    await clock.run(Promise.all([gate.hold('a', signal), gate.hold('b', signal)]));
  });

  test('nodes that are down and not ours eat it, and are named when the wait is over', async () => {
    const { clock, gate, set, waits } = setUp(1);
    set('d', { ready: false, cordoned: true });
    const started = clock.now();
    await expect(clock.run(gate.admit('a', signal))).rejects.toThrow(BudgetError);
    expect(clock.now() - started).toBe(60_000);
    expect(waits).toEqual([['d (not Ready, cordoned)']]);
  });

  test('the wait only counts while nothing in flight can free it', async () => {
    const { clock, gate } = setUp(1);
    await clock.run(gate.admit('a', signal));
    const waiting = gate.admit('b', signal);
    await clock.pass(3_600_000);
    gate.leave('a', false);
    await clock.run(waiting);
  });

  test('a wait that is over at the next look is not told', async () => {
    const { clock, gate, set, waits } = setUp(1);
    set('d', { cordoned: true });
    const waiting = gate.admit('a', signal);
    await clock.pass(500);
    set('d', {});
    await clock.run(waiting);
    expect(waits).toEqual([]);
  });

  test('0 waits for ever', async () => {
    const { clock, gate, set } = setUp(1, 0);
    set('d', { ready: false });
    const waiting = gate.admit('a', signal);
    await clock.pass(24 * 3_600_000);
    set('d', {});
    await clock.run(waiting);
  });

  test('it is recounted before the drain', async () => {
    const { clock, gate, set } = setUp(1);
    await clock.run(gate.admit('a', signal));
    set('d', { ready: false });
    const holding = gate.hold('a', signal);
    await clock.pass(30_000);
    expect(gate.holds('a')).toBe(false);
    set('d', {});
    await clock.run(holding);
    expect(gate.holds('a')).toBe(true);
  });

  test('a node that queues behind others of its run for its drain says so once', async () => {
    const { clock, gate, set } = setUp(2);
    await clock.run(Promise.all([gate.admit('a', signal), gate.admit('b', signal)]));
    await clock.run(gate.hold('a', signal));
    set('d', { ready: false });
    let queued = 0;
    const holding = gate.hold('b', signal, () => queued++);
    await clock.pass(30_000);
    expect([queued, gate.holds('b')]).toEqual([1, false]);
    gate.leave('a', false);
    await clock.run(holding);
  });

  test('a node that is left unavailable goes on being counted', async () => {
    const { clock, gate } = setUp(1);
    await clock.run(gate.admit('a', signal));
    await clock.run(gate.hold('a', signal));
    gate.leave('a', true);
    await expect(clock.run(gate.admit('b', signal))).rejects.toThrow(BudgetError);
  });

  test('waiting can be called off', async () => {
    const { clock, gate, set } = setUp(1);
    set('d', { ready: false });
    const stop = new AbortController();
    const waiting = clock.run(gate.admit('a', stop.signal));
    clock.after(5000, () => stop.abort(new Error('stop')));
    await expect(waiting).rejects.toThrow('stop');
  });

  test('whatever the order, never more than the budget are held beyond those that were down', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.subarray(NAMES),
        fc.shuffledSubarray(NAMES),
        async (max, down, order) => {
          const { clock, gate, set } = setUp(max, 1000);
          for (const name of down) set(name, { ready: false });
          await clock.run(Promise.allSettled(order.map((name) => gate.hold(name, signal))));
          const held = order.filter((name) => gate.holds(name));
          const unavailable = new Set([...down, ...held]);
          expect(unavailable.size).toBeLessThanOrEqual(Math.max(max, down.length));
        },
      ),
      { numRuns: 60 },
    );
  });
});
