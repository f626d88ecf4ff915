import { describe, expect, it } from 'vitest';
import { renderBootReset, renderBootResetPlan } from '../../../src/report/boot-reset-screen.ts';
import type { BootResetPlan } from '../../../src/rollout/boot-reset.ts';
import { bootResetWithoutWork } from '../../../src/rollout/boot-reset.ts';
import { DISPLAY, screen } from './fixtures.ts';

const PLAN: BootResetPlan = {
  highestToken: 3,
  entries: [
    { node: 'worker-1', now: 'KubeOS 2.0.0', does: 'take out', unreachable: false },
    { node: 'worker-2', now: 'KubeOS 2.0.0', does: 'none', unreachable: false },
    {
      node: 'worker-3',
      now: 'KubeOS 1.0.0',
      does: 'blocked',
      finding: {
        what: 'the trial of its slot B has not ended',
        next: 'bring it to its end first: give the command again that began it (kubeos status)',
      },
      unreachable: false,
    },
  ],
};

describe('node reset-boot', () => {
  it('shows what becomes of each node before it asks', () => {
    expect(renderBootResetPlan(PLAN, DISPLAY)).toEqual(screen('reset-boot'));
  });

  it('tells what it did to each', () => {
    const { nodes, ...result } = bootResetWithoutWork('run-1', PLAN, false);
    const done = nodes.map((one) => (one.node === 'worker-1' ? { ...one, outcome: 'taken out' as const } : one));
    expect(renderBootReset({ ...result, nodes: done }, DISPLAY)).toEqual(screen('reset-boot-done'));
  });

  it('ends with 4 where nothing could be done, with 3 where some was left, with 10 where nobody answered', () => {
    const codeOf = (entries: BootResetPlan['entries']): number =>
      bootResetWithoutWork('run-1', { entries, highestToken: 0 }, false).exitCode;
    const [, none, blocked] = PLAN.entries;
    expect(codeOf([blocked!])).toBe(4);
    expect(codeOf([none!, blocked!])).toBe(3);
    expect(codeOf([none!])).toBe(0);
    expect(codeOf([{ ...blocked!, unreachable: true }])).toBe(10);
    expect(codeOf([])).toBe(4);
  });
});
