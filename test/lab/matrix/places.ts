import type { Call } from './calls.ts';

/** When the gate is asked: before a call has any effect, or after it, before its answer. */
export type Side = 'enter' | 'leave';

/** A moment in one node's way that can be told from outside, and always comes. */
export interface Mark {
  what: Call['what'];
  side: Side;
  /** Only on the boot after the one that was ordered. */
  newBoot?: true;
}

/** Where a run is disturbed: at a mark, or so far on the way from one mark to another. */
export interface Place {
  name: string;
  at: Mark;
  /** A share of the time that the step took undisturbed. */
  into?: { step: LongStep; share: number };
}

/** The steps that take their time, each from where it is under way to where it is over. */
export const LONG_STEPS = {
  stage: [mark('launch stage', 'enter'), mark('record write', 'enter')],
  write: [mark('launch write', 'enter'), mark('record verify', 'enter')],
  verify: [mark('launch verify', 'enter'), mark('record drain', 'enter')],
  drain: [mark('cordon', 'leave'), mark('record arm', 'enter')],
  'boot wait': [mark('reboot', 'leave'), { ...mark('boot-report', 'leave'), newBoot: true }],
  prove: [{ ...mark('boot-report', 'leave'), newBoot: true }, mark('prove', 'enter')],
} as const satisfies Record<string, readonly [Mark, Mark]>;

export type LongStep = keyof typeof LONG_STEPS;

/** Every step boundary of a node's way, in order. */
export const BOUNDARIES: readonly Place[] = [
  place('begin, before', 'begin', 'enter'),
  place('begin, after', 'begin', 'leave'),
  place('stage, before', 'launch stage', 'enter'),
  place('stage, after', 'record write', 'enter'),
  place('write, before', 'launch write', 'enter'),
  place('write, after', 'record verify', 'enter'),
  place('verify, before', 'launch verify', 'enter'),
  place('verify, after', 'record drain', 'enter'),
  place('cordon, before', 'cordon', 'enter'),
  place('cordon, after', 'cordon', 'leave'),
  place('drain, after', 'record arm', 'enter'),
  place('arm, before', 'arm', 'enter'),
  place('arm, after', 'arm', 'leave'),
  place('reboot, before', 'reboot', 'enter'),
  place('reboot, after', 'reboot', 'leave'),
  { name: 'boot, before', at: { ...mark('boot-report', 'enter'), newBoot: true } },
  { name: 'boot, after', at: { ...mark('boot-report', 'leave'), newBoot: true } },
  place('prove, before', 'prove', 'enter'),
  place('prove, after', 'prove', 'leave'),
  place('commit, before', 'commit', 'enter'),
  place('commit, after', 'commit', 'leave'),
  place('uncordon, before', 'release', 'enter'),
  place('uncordon, after', 'release', 'leave'),
];

/** Instants inside the long steps, in turn, drawn from a seed: the same seed, the same instants. */
export function instants(count: number, seed: number): readonly Place[] {
  const steps = Object.keys(LONG_STEPS) as LongStep[];
  const random = mulberry32(seed);
  return Array.from({ length: count }, (_, index): Place => {
    const step = steps[index % steps.length]!;
    // Not the last tenth: what is left of the step must be left on a slower machine's run too.
    const share = Math.round(random() * 90) / 100;
    return { name: `${step}, at ${Math.round(share * 100)} %`, at: LONG_STEPS[step][0], into: { step, share } };
  }).sort((a, b) => steps.indexOf(a.into!.step) - steps.indexOf(b.into!.step) || a.into!.share - b.into!.share);
}

function place(name: string, what: Call['what'], side: Side): Place {
  return { name, at: mark(what, side) };
}

function mark(what: Call['what'], side: Side): Mark {
  return { what, side };
}

/** Numbers from 0 to 1 by Tommy Ettinger's public-domain generator of that name. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
