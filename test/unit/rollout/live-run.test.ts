import { describe, expect, test } from 'vitest';
import { assemblePlan } from '../../../src/rollout/assemble-plan.ts';
import type { NodeObservation } from '../../../src/rollout/facts.ts';
import type { Plan } from '../../../src/rollout/plan-types.ts';
import type { LockState } from '../../../src/rollout/ports.ts';
import { clusterNode, holding, journal, record, request, seen, SHA2, slot } from './fixtures.ts';

const LOCK: LockState = {
  held: true,
  holder: 'ci@runner-7',
  what: 'upgrade to KubeOS 2.0.0, 0 of 2 nodes done',
  run: 'r-1',
  durationMs: 60_000,
  token: 4,
  version: '1',
};

/** Node a is drained by run r-1, b is none of its nodes. */
function plan(liveLock?: LockState): Plan {
  const drained: Partial<NodeObservation> = {
    slots: { A: slot(), B: holding('KubeOS 2.0.0', SHA2) },
    journal: journal({ phase: 'verified' }),
  };
  return assemblePlan({
    request: request(),
    nodes: [clusterNode({ name: 'a', record: record({ step: 'drain' }), cordoned: true }), clusterNode({ name: 'b' })],
    observed: new Map([
      ['a', seen(drained)],
      ['b', seen({ bootId: 'boot-2' })],
    ]),
    forecasts: new Map(),
    osResources: [],
    missingRights: [],
    ...(liveLock === undefined ? {} : { liveLock }),
  });
}

describe('a plan that is made while another run is at work', () => {
  test('names that run, its nodes and where they stand', () => {
    const { what, holder, run } = LOCK;
    expect(plan(LOCK).liveRun).toEqual({ run, what, holder, nodes: [{ node: 'a', step: 'drain' }] });
    expect(plan().liveRun).toBeUndefined();
  });

  test("does not call that run's doings an earlier run's", () => {
    const notesOnA = (made: Plan): unknown => made.entries.find(({ node }) => node === 'a')?.notes;
    expect(notesOnA(plan(LOCK))).toEqual([]);
    expect(notesOnA(plan({ ...LOCK, run: 'another' }))).toEqual([
      'slot B was verified in an earlier run',
      'run r-1 left it cordoned: that cordon is taken off at the end of its way',
    ]);
  });
});
