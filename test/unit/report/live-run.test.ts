import { describe, expect, it } from 'vitest';
import { renderPlan, type PlanScreenOptions } from '../../../src/report/plan-screen.ts';
import { DISPLAY, entry, plan, RUN, screen } from './fixtures.ts';

const liveRun = {
  run: RUN,
  what: 'upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
  holder: 'ci@runner-7, pid 4121',
  nodes: [{ node: 'worker-3', step: 'drain' as const }],
};
const entries = [entry('worker-3', 0, { canary: true, alreadyDown: true, firstStep: 'drain' }), entry('worker-4', 6)];

const rendered = (options: PlanScreenOptions): string[] => renderPlan(plan({ entries, liveRun }), DISPLAY, options);

describe('a plan that is made while another run is at work', () => {
  it('says so before everything else, and at the nodes of that run', () => {
    const command = 'kubeos upgrade -f upgrade.yaml --lock-wait 30m';
    expect(rendered({ dryRun: true, command })).toEqual(screen('plan-live-run'));
  });

  it('tells to wait for it only where the command does not wait already', () => {
    const next = (lockWaitMs?: number): string[] =>
      rendered({ dryRun: false, ...(lockWaitMs === undefined ? {} : { lockWaitMs }) }).slice(3, 5);
    expect(next()).toEqual([
      '    next  unless that run is over by then, this command ends with exit 11; to',
      '          wait for it: --lock-wait 30m',
    ]);
    expect(next(1_800_000)[0]).toBe('    next  that run is waited for, at most 30m; then the plan is made anew');
    expect(next(0)[0]).toBe('    next  that run is waited for; then the plan is made anew');
  });
});
