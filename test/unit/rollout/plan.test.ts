import { describe, expect, test } from 'vitest';
import type { KubeosError } from '../../../src/errors.ts';
import { ConnectError } from '../../../src/errors.ts';
import { assemblePlan, nodesToDrain, type PlanInput } from '../../../src/rollout/assemble-plan.ts';
import type { ClusterNode, NodeObservation, SlotFacts } from '../../../src/rollout/facts.ts';
import type { RolloutRequest } from '../../../src/rollout/goal.ts';
import { exitForPlan } from '../../../src/rollout/plan-exit.ts';
import type { Plan } from '../../../src/rollout/plan-types.ts';
import { clusterNode, holding, journal, record, request, seen, SHA2, SHA3, slot, V1, V2 } from './fixtures.ts';

type Facts = [Partial<ClusterNode>, (Partial<NodeObservation> | KubeosError)?];

function inputOf(
  facts: Record<string, Facts>,
  change: Partial<RolloutRequest> = {},
  more: Partial<PlanInput> = {},
): PlanInput {
  const nodes = Object.entries(facts).map(([name, [node]]) =>
    clusterNode({ name, bootId: `told of ${name}`, ...node }),
  );
  const observed = new Map(
    Object.entries(facts).map(([name, [, own]], index) => {
      const bootId = index === 0 ? {} : { bootId: `boot-1 of ${name}` };
      return [name, own instanceof Error ? own : seen({ ...bootId, ...own })] as const;
    }),
  );
  return {
    request: request(change),
    nodes,
    observed,
    forecasts: new Map(),
    osResources: [],
    missingRights: [],
    ...more,
  };
}

const plan = (...args: Parameters<typeof inputOf>): Plan => assemblePlan(inputOf(...args));
const away = new ConnectError('no route to host', 'unreachable', { next: 'see the network' });
const atB = { osVersion: V2, active: 'B', bootEnv: { path: '/boot/grub2/grubenv', saved: 'B' } } as const;
const atV2: Facts = [{ osImage: V2 }, { osVersion: V2, slots: { A: holding(V2, SHA2), B: slot() } }];

describe('the plan', () => {
  test('names each node once, in the order in which it goes', () => {
    const made = plan({
      'w-10': [{}],
      'w-2': [{}],
      'w-3': [{ cordoned: true }],
      'w-4': atV2,
      'w-5': [{}, away],
      'cp-1': [{ controlPlane: true }],
    });
    expect(made.entries.map(({ node, canary, alreadyDown }) => [node, canary, alreadyDown])).toEqual([
      ['w-3', true, true],
      ['w-2', false, false],
      ['w-10', false, false],
    ]);
    expect(made.already).toEqual([{ node: 'w-4', now: V2, notes: [] }]);
    expect(made.notStarted).toEqual([
      { node: 'w-5', now: V1, findings: [{ what: 'no route to host', next: 'see the network' }], unreachable: true },
    ]);
    expect(made.leftOut).toEqual([{ node: 'cp-1', because: 'control plane; --include-control-plane' }]);
    expect(made.addressed).toEqual(['w-2', 'w-3', 'w-4', 'w-5', 'w-10']);
  });

  test('is data: it survives JSON, and holds no credential', () => {
    const made = plan({ 'w-1': [{}] });
    expect(JSON.parse(JSON.stringify(made))).toEqual(made);
    expect(JSON.stringify(made)).not.toContain('u:p@');
  });

  test('says what a write destroys, but not where the slot holds this very image', () => {
    const made = plan({
      a: [{}, { slots: { A: slot(), B: slot({ version: 'KubeOS 0.9.1' }) } }],
      b: [{}, { slots: { A: slot(), B: holding(V2, SHA2) } }],
      c: [{}],
    });
    expect(made.entries.map(({ loses }) => loses)).toEqual(['KubeOS 0.9.1', undefined, undefined]);
  });

  test.each([
    [V2, 'upgrade'],
    ['KubeOS 0.9.0', 'downgrade'],
    [V1, 'upgrade'],
  ])('to %s it is called %s', (version, direction) => {
    const made = plan({ a: [{}] }, { goal: { operation: 'upgrade', version, toOtherSlot: false } });
    expect(made.direction).toBe(direction);
  });

  test('says of a rollback what vouches for the slot that it leads to', () => {
    const inB = (target: SlotFacts): Facts => [{ osImage: V2 }, { ...atB, slots: { A: target, B: slot() } }];
    const day = { record: { version: V1, sha256: SHA2, verifiedAt: 1_763_800_000 } };
    const made = plan(
      {
        a: inB(holding(V1, SHA2, day)),
        b: inB(holding(V1, SHA2, { ...day, recordHolds: false })),
        c: inB(slot({ contentJudgedAt: day.record.verifiedAt, recordHolds: true })),
        d: inB(slot()),
        e: inB(holding(V1, SHA2, { record: { ...day.record, verifiedAt: 1e18 } })),
      },
      { goal: { operation: 'rollback', version: V1, toOtherSlot: false } },
    );
    const verifiedAt = '2025-11-22T08:26:40.000Z';
    expect(made.entries.map(({ trust }) => trust)).toEqual([
      { basis: 'recorded digest', verifiedAt },
      { basis: 'recorded digest', verifiedAt, changed: true },
      { basis: 'content only', verifiedAt },
      { basis: 'content only' },
      { basis: 'recorded digest' },
    ]);
    expect(plan({ a: [{}, { slots: { A: slot(), B: holding(V1, SHA2) } }] }).entries[0]?.trust).toBeUndefined();
  });

  test('--reinstall writes nodes at the version again, and is called so', () => {
    const other: Facts = [{ osImage: V2 }, { osVersion: V2, slots: { A: holding(V2, SHA3), B: slot() } }];
    expect(plan({ a: other }).already[0]?.notes[0]).toContain('--reinstall');
    const made = plan({ a: other, b: atV2 }, { reinstall: true });
    expect(made.direction).toBe('reinstall');
    expect(made.entries.map(({ node }) => node)).toEqual(['a']);
    expect(made.already.map(({ node }) => node)).toEqual(['b']);
  });

  test('a node at the version that SSH does not reach is already there, with a note; a suspicious one is not', () => {
    const made = plan({
      a: [{ osImage: V2 }, away],
      b: [{ osImage: V2, ready: false }, away],
      c: [{ osImage: V2, record: record() }, away],
    });
    expect(made.already.map(({ node }) => node)).toEqual(['a']);
    expect(made.notStarted.map(({ node }) => node)).toEqual(['b', 'c']);
  });

  test('a node at the version that SSH does not reach is not written again by --reinstall, and that is told', () => {
    const made = plan({ a: [{ osImage: V2 }, away] }, { reinstall: true });
    expect(made.already).toEqual([]);
    expect(made.notStarted).toMatchObject([{ node: 'a', unreachable: true }]);
  });

  test('the highest token seen on nodes and in annotations is kept', () => {
    expect(plan({ a: [{}, { token: 7 }], b: [{ record: record({ token: 12 }) }] }).highestToken).toBe(12);
    expect(plan({ a: [{}, { token: 7 }], b: [{}, { token: 2 ** 31 - 1 }] }).highestToken).toBe(7);
  });

  test('the budget is a share of all addressed nodes, and what eats it is noted', () => {
    const nodes: Record<string, Facts> = { a: [{}], b: [{}], c: [{ ready: false }], d: [{}] };
    const narrowed = { selection: { includeControlPlane: false, nodes: ['a'] } };
    const made = plan(nodes, { ...narrowed, maxUnavailable: { kind: 'percent', percent: 50 } });
    expect(made.maxUnavailable).toBe(2);
    expect(made.notes[0]).toMatchObject({
      what: expect.stringContaining('1 of the budget of 2') as string,
      reason: 'c (not Ready)',
    });
  });
});

describe('what cannot be started', () => {
  const pods = {
    kind: 'bare-pod' as const,
    verdict: 'certain' as const,
    pod: 'x/y',
    message: 'bare pod',
    remedy: '--force',
  };

  test('nodes for which SSH reaches the same machine, each naming the others; those beside them go on', () => {
    const made = plan({ a: [{}, { bootId: 'x' }], b: [{}, { bootId: 'x' }], c: [{}], d: [{}, { bootId: '' }] });
    const next = expect.stringContaining('--hosts') as string;
    expect(made.notStarted).toMatchObject([
      { node: 'a', findings: [{ what: 'SSH reaches the same machine for it as for b', next }] },
      { node: 'b', findings: [{ what: 'SSH reaches the same machine for it as for a', next }] },
    ]);
    expect(made.entries.map(({ node }) => node)).toEqual(['c', 'd']);
  });

  test('a node for which SSH reaches one that was not asked, be it that it is down', () => {
    const made = plan(
      { a: [{ ready: false }, { bootId: 'x' }], b: [{ bootId: 'x', controlPlane: true }, away], c: [{}] },
      { selection: { includeControlPlane: false } },
    );
    expect(made.notStarted).toMatchObject([
      { node: 'a', findings: [{ what: 'SSH reaches the same machine for it as for b' }] },
    ]);
    expect(made.entries.map(({ node }) => node)).toEqual(['c']);
  });

  test('a node that says a lock token which would use up all there are', () => {
    const made = plan({ a: [{}, { token: 2 ** 31 - 1 }], b: [{}] });
    const next = expect.stringContaining('/persist/kubeos/token') as string;
    expect(made.notStarted).toMatchObject([{ node: 'a', findings: [{ next }] }]);
    expect(made.entries.map(({ node }) => node)).toEqual(['b']);
  });

  test('a node whose version runs, but on a machine that another shares', () => {
    const own = { osVersion: V2, slots: { A: holding(V2, SHA2), B: slot() }, bootId: 'x' };
    const made = plan({ a: [{ osImage: V2 }, own], b: [{ osImage: V2 }, own] });
    expect(made.already).toEqual([]);
    expect(made.notStarted.map(({ node }) => node)).toEqual(['a', 'b']);
    expect(exitForPlan(made, false)).not.toBe(0);
  });

  test('a drain that is certain to fail; one that only waits is no obstacle', () => {
    const forecasts = new Map([
      ['a', { pods: 1, obstacles: [pods] }],
      ['b', { pods: 1, obstacles: [{ ...pods, verdict: 'waits' as const }] }],
    ]);
    const made = plan({ a: [{}], b: [{}] }, {}, { forecasts });
    expect(made.notStarted).toMatchObject([
      { node: 'a', findings: [{ what: 'its drain is certain to fail: bare pod', reason: 'pod x/y', next: '--force' }] },
    ]);
    expect(made.entries.map(({ node }) => node)).toEqual(['b']);
  });

  test('pods that the same keeps from being evicted are one finding, which names them', () => {
    const guarded = [1, 2, 3, 4, 5, 6, 7].map((number) => ({ ...pods, pod: `x/y-${number}`, owner: 'ReplicaSet x/y' }));
    const forecasts = new Map([['a', { pods: 7, obstacles: guarded }]]);
    const [blocked] = plan({ a: [{}] }, {}, { forecasts }).notStarted;
    expect(blocked?.findings).toHaveLength(1);
    expect(blocked?.findings[0]?.reason?.split('\n')).toEqual([
      ...[1, 2, 3, 4, 5].map((number) => `pod x/y-${number} of ReplicaSet x/y`),
      'and 2 more',
    ]);
  });

  test('the node that kubeos itself runs on', () => {
    const made = plan({ a: [{}], b: [{}] }, { ownNode: 'a' });
    expect(made.notStarted[0]).toMatchObject({ node: 'a', unreachable: false });
  });

  test('only nodes that will be rebooted are asked for their drain', () => {
    const trial: Partial<NodeObservation> = {
      bootId: 'boot-2',
      active: 'B',
      osVersion: V2,
      slots: { A: slot(), B: holding(V2, SHA2) },
      journal: journal({ phase: 'armed', armedBootId: 'boot-1' }),
    };
    expect(nodesToDrain(inputOf({ a: [{}], b: [{}, trial], c: atV2, d: [{}, away] }))).toEqual(['a']);
  });
});

describe('what refuses the whole run', () => {
  const refusals = (...args: Parameters<typeof inputOf>): string =>
    plan(...args)
      .refusals.map(({ what }) => what)
      .join('\n');

  test('missing rights, by verb and resource', () => {
    const missingRights = [{ verb: 'patch', resource: 'nodes', toRead: false }];
    expect(plan({ a: [{}] }, {}, { missingRights }).refusals[0]?.reason).toBe('patch nodes');
  });

  test("KubeOS's operator with another version, or at work; with the same version it is no rival", () => {
    const os = { name: 'default/os-sample', osversion: V1, opstype: 'upgrade' };
    const made = plan({ a: [{}] }, {}, { osResources: [os] });
    expect(made.refusals[0]?.next).toBe('kubectl delete os os-sample -n default');
    expect(refusals({ a: [{}] }, {}, { osResources: [{ ...os, osversion: V2 }] })).toBe('');
    expect(refusals({ a: [{ operatorUpgrading: true }] })).toContain('is at work');
  });

  test('crossing a major version, unless insisted upon; going back to previous never is refused', () => {
    const strict = { allowMajor: false };
    expect(refusals({ a: [{}] }, strict)).toContain('another major version');
    expect(
      refusals({ a: [{}] }, { ...strict, goal: { operation: 'upgrade', version: 'KubeOS 1.5', toOtherSlot: false } }),
    ).toBe('');
    expect(refusals({ a: atV2 }, strict)).toBe('');
    const upgraded: Facts = [
      { osImage: V2 },
      { osVersion: V2, slots: { A: slot({ version: V2 }), B: slot() }, journal: journal({ phase: 'committed' }) },
    ];
    const goal = { operation: 'rollback' as const, toOtherSlot: false };
    expect(refusals({ a: upgraded }, { ...strict, goal })).toBe('');
    expect(refusals({ a: upgraded }, { ...strict, goal: { ...goal, version: V1 } })).toContain('another major version');
  });

  test('a selection that holds nothing', () => {
    expect(refusals({ 'cp-1': [{ controlPlane: true }] })).toBe('no node is selected');
  });

  test('a previous version that nobody knows', () => {
    const made = plan({ a: [{}] }, { goal: { operation: 'rollback', toOtherSlot: false } });
    expect(made.refusals).toHaveLength(1);
    expect(made.version).toBe('');
    expect(made.entries).toEqual([]);
  });
});

describe('the exit code of a plan', () => {
  const exit = (facts: Record<string, Facts>, detailed = false, more: Partial<PlanInput> = {}): number =>
    exitForPlan(plan(facts, {}, more), detailed);
  const noCurl: Facts = [{}, { hasCurl: false }];

  test.each<[string, number, Record<string, Facts>, boolean]>([
    ['nothing to do', 0, { a: atV2 }, false],
    ['nothing to do, in detail', 0, { a: atV2 }, true],
    ['changes to make', 0, { a: [{}] }, false],
    ['changes to make, in detail', 7, { a: [{}] }, true],
    ['some cannot be started', 3, { a: [{}], b: noCurl }, false],
    ['none can be started', 4, { a: noCurl }, false],
    ['none answers', 10, { a: [{}, away], b: [{}, away] }, false],
    ['none that needs it answers', 4, { a: atV2, b: [{}, away] }, false],
    ['one does not answer, one cannot', 4, { a: noCurl, b: [{}, away] }, false],
  ])('%s: %i', (_name, code, facts, detailed) => {
    expect(exit(facts, detailed)).toBe(code);
  });

  test('a refusal comes before everything: 4', () => {
    expect(exit({ a: [{}] }, true, { missingRights: [{ verb: 'get', resource: 'pods', toRead: false }] })).toBe(4);
  });
});
