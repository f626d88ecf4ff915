import { describe, expect, test } from 'vitest';
import type { NodeJournal, NodeObservation, NodeRecord } from '../../../src/rollout/facts.ts';
import { otherSlotVersion, previousVersion, type ObservedNode } from '../../../src/rollout/previous.ts';
import { clusterNode, empty, journal, record, seen, slot, V1, V2, V3 } from './fixtures.ts';

let counter = 0;
function node(facts: Partial<NodeObservation>, left?: Partial<NodeRecord>): ObservedNode {
  const name = `w-${++counter}`;
  return { node: clusterNode({ name, ...(left === undefined ? {} : { record: record(left) }) }), seen: seen(facts) };
}
const runs = (now: string, other: string | undefined, change?: Partial<NodeJournal>): Partial<NodeObservation> => ({
  osVersion: now,
  slots: { A: slot({ version: now }), B: other === undefined ? empty() : slot({ version: other }) },
  ...(change === undefined ? {} : { journal: journal(change) }),
});

describe('--to-previous', () => {
  test('is what the latest upgrade replaced', () => {
    const nodes = [
      node(runs(V2, V1, { phase: 'committed', token: 9 })),
      node(runs(V1, undefined)),
      node(runs(V1, V2, { phase: 'fell-back', token: 9 })),
      node(runs(V1, 'KubeOS 0.9', { version: V1, replaced: 'KubeOS 0.9', token: 3, phase: 'committed' })),
    ];
    expect(previousVersion(nodes)).toEqual({ version: V1 });
  });

  test('is the same where two runs were needed for the upgrade', () => {
    const nodes = [
      node(runs(V2, V1, { phase: 'committed', token: 9 })),
      node(runs(V2, V1, { phase: 'committed', token: 12 })),
    ];
    expect(previousVersion(nodes)).toEqual({ version: V1 });
  });

  test('after a rollback it is where that led to: given again it changes nothing', () => {
    const rolledBack = {
      operation: 'rollback' as const,
      version: V1,
      replaced: V2,
      token: 11,
      phase: 'committed' as const,
    };
    const nodes = [node(runs(V1, V2, rolledBack)), node(runs(V2, V1, { phase: 'committed', token: 9 }))];
    expect(previousVersion(nodes)).toEqual({ version: V1 });
  });

  test('a rollback that died before any journal is known by its annotations', () => {
    const nodes = [
      node(runs(V3, V2, { version: V3, replaced: V2, token: 9, phase: 'committed' }), {
        operation: 'rollback',
        version: V1,
        token: 10,
      }),
    ];
    expect(previousVersion(nodes)).toEqual({ version: V1 });
  });

  test('the annotation of an upgrade that replaced nothing yet says nothing', () => {
    const nodes = [
      node(runs(V2, V1, { phase: 'committed', token: 9 }), { operation: 'upgrade', version: V3, token: 12 }),
    ];
    expect(previousVersion(nodes)).toEqual({ version: V1 });
  });

  test('journals that disagree are listed', () => {
    counter = 0;
    const nodes = [
      node(runs(V3, V1, { version: V3, replaced: V1, token: 9 })),
      node(runs(V3, V2, { version: V3, replaced: V2, token: 9 })),
      node(runs(V3, V1, { version: V3, replaced: V1, token: 8 })),
    ];
    expect(previousVersion(nodes)).toEqual({
      refusals: [
        {
          what: `the journals disagree about what the upgrade to ${V3} replaced`,
          reason: `w-1, w-3: ${V1}\nw-2: ${V2}`,
          next: expect.stringContaining('--nodes') as string,
        },
      ],
    });
  });

  test('without any journal it is what the other slots hold, where that is older', () => {
    expect(previousVersion([node(runs(V2, V1)), node(runs(V2, V1)), node(runs(V2, undefined))])).toEqual({
      version: V1,
    });
  });

  test.each([
    ['newer', [runs(V1, V2)], '--to-other-slot'],
    ['incomparable', [runs(V2, 'the blue one')], '--to-other-slot'],
    ['different', [runs(V3, V1), runs(V3, V2)], '--nodes'],
    ['nothing', [runs(V2, undefined)], 'kubeos upgrade'],
  ])('without any journal, other slots that hold something %s: refused with the way out', (_name, all, next) => {
    const found = previousVersion(all.map((facts) => node(facts)));
    expect(found).toEqual({ refusals: [expect.objectContaining({ next: expect.stringContaining(next) as string })] });
  });
});

describe('--to-other-slot', () => {
  test('is what the other slots hold, newer or not', () => {
    expect(otherSlotVersion([node(runs(V1, V2)), node(runs(V1, V2))])).toEqual({ version: V2 });
  });

  test('goes on to where a run that died had set out for', () => {
    const left = { operation: 'rollback' as const, version: V2 };
    expect(otherSlotVersion([node(runs(V2, V1), left), node(runs(V1, V2), left)])).toEqual({ version: V2 });
  });

  const back = { operation: 'rollback', version: V1, replaced: V2, token: 7, phase: 'committed' } as const;

  test('goes on where a run was stopped that left only its journals', () => {
    const nodes = [node(runs(V1, V2, back)), node(runs(V2, V1, { token: 4, phase: 'committed' }))];
    expect(otherSlotVersion(nodes)).toEqual({ version: V1 });
    expect(otherSlotVersion([...nodes].reverse())).toEqual({ version: V1 });
  });

  test('flips once all nodes have come there, or none that is left could', () => {
    const all = [node(runs(V1, V2, back)), node(runs(V1, V2, back))];
    expect(otherSlotVersion(all)).toEqual({ version: V2 });
    expect(otherSlotVersion([...all, node(runs(V3, undefined))])).toEqual({ version: V2 });
  });

  test('a rollback before the latest upgrade is past', () => {
    const nodes = [node(runs(V1, V2, back)), node(runs(V2, V1, { token: 9, phase: 'committed' }))];
    expect(otherSlotVersion(nodes)).toHaveProperty('refusals');
  });

  test('different versions are listed', () => {
    expect(otherSlotVersion([node(runs(V2, V1)), node(runs(V1, V2))])).toHaveProperty('refusals');
  });
});
