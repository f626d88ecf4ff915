import { describe, expect, it } from 'vitest';
import { renderPlan, type PlanScreenOptions } from '../../../src/report/plan-screen.ts';
import type { ExitCode } from '../../../src/exit-codes.ts';
import type { Plan } from '../../../src/rollout/plan-types.ts';
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

describe('the title of a plan', () => {
  const onTrial = entry('worker-1', 0, {
    now: 'KubeOS 1.0.0',
    firstStep: 'prove',
    assignment: {
      operation: 'rollback',
      version: 'KubeOS 1.0.0',
      replaced: 'KubeOS 2.0.0',
      from: 'B',
      target: 'A',
      sha256: '',
    },
  });
  const titleOf = (entries: Plan['entries']): string | undefined =>
    renderPlan(plan({ operation: 'rollback', direction: 'rollback', version: 'KubeOS 1.0.0', entries }), DISPLAY, {
      dryRun: false,
    })[0];

  it('leads from what a node on trial ran before, since it runs the version already', () => {
    expect(titleOf([onTrial])).toBe('Roll back 1 of 1 node: KubeOS 2.0.0 -> KubeOS 1.0.0');
  });

  it('names only where it leads, where nothing tells what it leads away from', () => {
    const unknown = { ...onTrial, assignment: { ...onTrial.assignment, replaced: 'unknown' } };
    expect(titleOf([unknown])).toBe('Roll back 1 of 1 node: KubeOS 1.0.0');
  });
});

describe('the end of a plan', () => {
  it('says why it is not exit 0, though some nodes can be started', () => {
    const notStarted = [{ node: 'b', now: 'KubeOS 1.0.0', findings: [{ what: 'x' }], unreachable: false }];
    const last = (exitCode: ExitCode, made = plan({ notStarted })): string | undefined =>
      renderPlan(made, DISPLAY, { dryRun: true, command: 'kubeos upgrade -f u', exitCode }).at(-1);
    expect(last(3)).toBe('Exit 3: 1 node cannot be started.');
    expect(last(7)).toBe('Exit 7: there are changes to make.');
    expect(last(0, plan())).toBe('Nothing was changed. To do it: kubeos upgrade -f u');
  });
});
