import { describe, expect, it } from 'vitest';
import { Rate } from '../../../src/rollout/rate.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';

const KIB = 1024;
const PIECE = 256 * KIB;
/** Of that a piece takes a quarter of a second. */
const RATE = 4 * PIECE;

/** A rate, and what went by when, in milliseconds since its beginning. */
function metered() {
  const clock = new VirtualClock();
  const began = clock.now();
  const rate = new Rate(clock, RATE);
  const went: { who: string; ms: number }[] = [];
  const send = async (who: string, pieces: number): Promise<void> => {
    for (let piece = 0; piece < pieces; piece++) {
      await rate.take(PIECE);
      went.push({ who, ms: clock.now() - began });
    }
  };
  return { clock, rate, went, send };
}

describe('a rate', () => {
  it('lets a piece by at once, and each further one when its time has come', async () => {
    const { clock, went, send } = metered();
    await clock.run(send('a', 9));
    expect(went.map(({ ms }) => ms)).toEqual([0, 250, 500, 750, 1000, 1250, 1500, 1750, 2000]);
  });

  it('is one for all who ask: each gets its share, and all together no more than one would', async () => {
    const { clock, went, send } = metered();
    await clock.run(Promise.all(['a', 'b', 'c', 'd'].map((who) => send(who, 4))));
    expect(went.map(({ ms }) => ms)).toEqual(Array.from({ length: 16 }, (_, piece) => 250 * piece));
    for (const round of [0, 4, 8, 12]) {
      expect(went.slice(round, round + 4).map(({ who }) => who)).toEqual(['a', 'b', 'c', 'd']);
    }
  });

  it('saves up no more than a piece while nothing moves', async () => {
    const { clock, went, send } = metered();
    await clock.run(send('a', 4));
    await clock.pass(3_600_000);
    went.length = 0;
    const resumed = 750 + 3_600_000;
    await clock.run(send('a', 5));
    expect(went.map(({ ms }) => ms - resumed)).toEqual([0, 250, 500, 750, 1000]);
  });

  it('holds nobody back who is slower', async () => {
    const { clock, went, send } = metered();
    for (let second = 0; second < 5; second++) {
      await clock.run(send('a', 1));
      await clock.pass(1000);
    }
    expect(went.map(({ ms }) => ms)).toEqual([0, 1000, 2000, 3000, 4000]);
  });

  it('is waited for no longer than until the run is given up, with its reason', async () => {
    const { clock, rate } = metered();
    await clock.run(rate.take(100 * PIECE));
    const before = clock.now();
    const run = new AbortController();
    const waiting = rate.take(PIECE, run.signal);
    run.abort(new Error('given up'));
    await expect(clock.run(waiting)).rejects.toThrow('given up');
    expect(clock.now()).toBe(before);
  });
});
