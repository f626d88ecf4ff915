import { describe, expect, test } from 'vitest';
import type { ClusterNode, NodeObservation } from '../../../src/rollout/facts.ts';
import { leftOvers } from '../../../src/rollout/left-overs.ts';
import { deriveStanding } from '../../../src/rollout/standing.ts';
import { clusterNode, holding, journal, record, seen, SHA2, SHA3, slot, UPGRADE, V2, V3 } from './fixtures.ts';

/** What a plan to 2.0.0 says of a node: its way's own notes and what is left on it. */
function told(observed: Partial<NodeObservation>, cluster: Partial<ClusterNode> = {}): string[] {
  const node = clusterNode(cluster);
  const facts = seen(observed);
  const standing = deriveStanding(node, facts, UPGRADE);
  if (standing.kind !== 'way') throw new Error(`it is ${standing.kind}`);
  return [...standing.notes, ...leftOvers(node, facts, UPGRADE, standing)];
}

const OF_3 = { version: V3, sha256: SHA3 };
const B = (content: ReturnType<typeof slot>): Partial<NodeObservation> => ({ slots: { A: slot(), B: content } });

describe('a changed spec over an interrupted run: the plan says of each node what carries over and what is done anew', () => {
  test('nothing where no run left anything', () => {
    expect(told({})).toEqual([]);
  });

  test('its image is there already: it is not fetched again', () => {
    expect(told({ artifact: { sha256: SHA2, bytes: 1 } })).toEqual([
      'its image is on the node already: it is not fetched again',
    ]);
  });

  test('its image is there, but the tool that decompresses it has gone: it comes anew', () => {
    expect(told({ artifact: { sha256: SHA2, bytes: 1, lacks: 'xz' } })).toEqual([
      'its image lies there compressed, and it has no xz: it comes anew',
    ]);
  });

  test('its image was streamed into the slot: that is read back, and no more', () => {
    const dirty = { ...slot(), content: 'dirty', streamed: SHA2 } as const;
    const mine = journal({ version: V2, sha256: SHA2, phase: 'started' });
    expect(told({ ...B(dirty), journal: mine })).toEqual([
      'an earlier run began here',
      'slot B was given the whole image as it arrived: it is read back',
    ]);
  });

  test('a slot verified for another version, never booted: it is written over', () => {
    expect(told({ ...B(holding(V3, SHA3)), journal: journal({ ...OF_3, phase: 'verified' }) })).toEqual([
      'an unfinished upgrade to KubeOS 3.0.0 (run r-1) is given up',
      'slot B holds KubeOS 3.0.0, verified by that run and never booted: it is written over',
    ]);
  });

  test('armed for another version: it is disarmed first', () => {
    const armed = journal({ ...OF_3, phase: 'armed', armedBootId: 'boot-1' });
    const bootEnv = { path: 'grubenv', saved: 'A', next: 'B' } as const;
    expect(told({ ...B(holding(V3, SHA3)), journal: armed, bootEnv })).toContain(
      'slot B is armed by an unfinished upgrade to KubeOS 3.0.0 (run r-1): it is disarmed first, and never booted',
    );
  });

  test('a trial of another version that ended in the old slot: that is recorded first', () => {
    const armed = journal({ ...OF_3, phase: 'armed', armedBootId: 'boot-0' });
    expect(told({ ...B(holding(V3, SHA3)), journal: armed })).toContain(
      'the trial of slot B by an unfinished upgrade to KubeOS 3.0.0 (run r-1) ended in slot A: that is recorded first',
    );
  });

  test('on trial of another version: it is proven and made permanent before the other slot changes', () => {
    const armed = journal({ ...OF_3, phase: 'armed', armedBootId: 'boot-0' });
    const facts = { active: 'B', osVersion: V3, slots: { A: slot(), B: holding(V3, SHA3) }, journal: armed } as const;
    expect(told(facts)).toEqual([
      'slot B is on trial for KubeOS 3.0.0: it is proven and made permanent before slot A changes',
    ]);
  });

  test('cordoned by the earlier run: its cordon is taken off in the end', () => {
    expect(told({}, { cordoned: true, record: record({ cordon: 'ours' }) })).toEqual([
      'run r-1 left it cordoned: that cordon is taken off at the end of its way',
    ]);
    expect(told({}, { cordoned: true, record: record({ cordon: 'found' }) })).toEqual([]);
    expect(told({}, { cordoned: false, record: record({ cordon: 'ours' }) })).toEqual([
      'run r-1 had cordoned it, and somebody uncordoned it since',
    ]);
  });

  test('the same spec again carries on where that run stood', () => {
    const mine = journal({ phase: 'verified' });
    expect(told({ ...B(holding(V2, SHA2)), journal: mine })).toEqual(['slot B was verified in an earlier run']);
  });
});
