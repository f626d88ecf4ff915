import { describe, expect, test } from 'vitest';
import type { ClusterNode, NodeObservation } from '../../../src/rollout/facts.ts';
import type { NodeGoal } from '../../../src/rollout/goal.ts';
import { deriveStanding } from '../../../src/rollout/standing.ts';
import {
  clusterNode,
  dirty,
  empty,
  holding,
  journal,
  record,
  ROLLBACK,
  seen,
  SHA2,
  SHA3,
  slot,
  UPGRADE,
  V1,
  V2,
  V3,
} from './fixtures.ts';

interface Case {
  node?: Partial<ClusterNode>;
  seen?: Partial<NodeObservation>;
  goal?: Partial<NodeGoal>;
  expected: object;
}

const on = (facts: Partial<NodeObservation>): Partial<NodeObservation> => facts;
const env = (saved: 'A' | 'B', next?: 'A' | 'B'): Pick<NodeObservation, 'bootEnv'> => ({
  bootEnv: { path: '/boot/grub2/grubenv', saved, ...(next === undefined ? {} : { next }) },
});
const way = (firstStep: string, more: object = {}): object => ({ kind: 'way', firstStep, adopt: false, ...more });
const toB = { operation: 'upgrade', version: V2, replaced: V1, from: 'A', target: 'B', sha256: SHA2 };
const back = { operation: 'rollback', version: V1, replaced: V2, from: 'B', target: 'A', sha256: '' };
const verified = { A: slot(), B: holding(V2, SHA2) };
/** Upgraded to 2.0.0 in B by us, permanently; A still holds 1.0.0. */
const upgradedToB = on({
  osVersion: V2,
  bootId: 'boot-2',
  active: 'B',
  slots: { A: slot(), B: holding(V2, SHA2) },
  ...env('B'),
  journal: journal({ phase: 'committed', armedBootId: 'boot-1' }),
});
const blocked = (what: string): object => ({
  kind: 'blocked',
  findings: expect.arrayContaining([expect.objectContaining({ what: expect.stringContaining(what) as string })]) as [],
});
const fellBack = (closed: boolean): object => ({ kind: 'fell-back', closed, assignment: toB });
const settles = (adopt: boolean, target: 'A' | 'B', version: string): object => ({
  preliminary: { kind: 'settle', adopt, assignment: { target, version } },
});

const CASES: Record<string, Record<string, Case>> = {
  'a node that was never touched': {
    'needs everything': { expected: way('stage', { assignment: toB }) },
    'with the artifact there already begins with the write': {
      seen: { artifact: { sha256: SHA2, bytes: 1 } },
      expected: way('write', { assignment: toB }),
    },
    'with the artifact there, but without the tool that decompresses it, stages anew': {
      seen: { artifact: { sha256: SHA2, bytes: 1, lacks: 'xz' } },
      expected: way('stage'),
    },
    'with another artifact stages anew': { seen: { artifact: { sha256: SHA3, bytes: 1 } }, expected: way('stage') },
    'running B writes A': {
      seen: { active: 'B', slots: { A: empty(), B: slot() }, ...env('B') },
      expected: way('stage', { assignment: { ...toB, from: 'B', target: 'A' } }),
    },
    'whose saved_entry names no slot boots A, which it runs': {
      seen: { bootEnv: { path: '/g' } },
      expected: way('stage', { assignment: toB }),
    },
    'whose saved_entry names no slot, but which runs B, is settled first': {
      seen: { active: 'B', slots: { A: empty(), B: slot() }, bootEnv: { path: '/g' } },
      expected: way('stage', settles(true, 'B', V1)),
    },
    'without curl cannot be started': { seen: { hasCurl: false }, expected: blocked('no curl') },
    'without curl, but with the artifact, can': {
      seen: { hasCurl: false, artifact: { sha256: SHA2, bytes: 1 } },
      expected: way('write'),
    },
    'that runs the version is done': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: empty() } },
      expected: { kind: 'done', notes: [] },
    },
    'is compared byte for byte': { seen: { osVersion: 'KubeOS  2.0.0' }, expected: way('stage') },
  },
  'a node that cannot be worked on': {
    'dm-verity': {
      seen: { unsupported: { code: 'verity', message: 'its root is dm-verity' } },
      expected: blocked('dm-verity'),
    },
    'slots unknown': {
      seen: { slots: { A: slot(), B: empty() }, unsupported: { code: 'partitions', message: 'three root partitions' } },
      expected: blocked('three root partitions'),
    },
    'a boot environment that cannot be trusted': {
      seen: { bootEnv: { path: '/g', saved: 'A', problem: '1025 bytes' } },
      expected: blocked('1025 bytes'),
    },
    'an unreadable journal': {
      seen: { journalProblem: 'line 3' },
      expected: blocked('journal cannot be read: line 3'),
    },
    'an unreadable annotation': {
      node: { recordProblem: 'no JSON' },
      expected: blocked('annotation of an earlier run'),
    },
    'but runs the version: nothing is needed of it': {
      seen: { osVersion: V2, unsupported: { code: 'verity', message: 'its root is dm-verity' } },
      expected: { kind: 'done', notes: ['its root is dm-verity'] },
    },
    'at the version with an untrusted boot environment: told': {
      seen: { ...upgradedToB, bootEnv: { path: '/g', saved: 'B', problem: 'read-only' } },
      expected: { kind: 'done', notes: [expect.stringContaining('read-only')] },
    },
  },
  'an upgrade killed': {
    'after the annotation, before the journal': { node: { record: record() }, expected: way('stage') },
    'after begin': { seen: { journal: journal() }, expected: way('stage', { assignment: toB }) },
    'while staging': {
      seen: { journal: journal(), detached: { step: 'stage', job: 'j', running: true } },
      expected: way('stage'),
    },
    'after staging': {
      seen: { journal: journal(), artifact: { sha256: SHA2, bytes: 1 } },
      expected: way('write', { assignment: toB }),
    },
    'in the middle of the write': {
      seen: { journal: journal(), slots: { A: slot(), B: dirty() }, artifact: { sha256: SHA2, bytes: 1 } },
      expected: way('write'),
    },
    'in the middle of the write, the artifact gone since': {
      seen: { journal: journal(), slots: { A: slot(), B: dirty() } },
      expected: way('stage'),
    },
    'after verify': { seen: { journal: journal({ phase: 'verified' }), slots: verified }, expected: way('drain') },
    'after verify, and the slot changed since': {
      seen: {
        journal: journal({ phase: 'verified' }),
        slots: { A: slot(), B: holding(V2, SHA2, { recordHolds: false }) },
        artifact: { sha256: SHA2, bytes: 1 },
      },
      expected: way('write', { notes: [expect.stringContaining('changed after it was verified')] }),
    },
    'after the cordon': {
      node: { cordoned: true, record: record({ step: 'drain' }) },
      seen: { journal: journal({ phase: 'verified' }), slots: verified },
      expected: way('drain'),
    },
    'between two lines of arming': {
      seen: { journal: journal({ phase: 'verified', armedBootId: 'boot-1' }), slots: verified, ...env('A', 'B') },
      expected: way('drain'),
    },
    'between two lines of arming, and the power went': {
      seen: {
        ...on({ bootId: 'boot-2', active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ phase: 'verified', armedBootId: 'boot-1' }),
      },
      expected: way('prove', { assignment: toB }),
    },
    'after arming': {
      seen: { journal: journal({ phase: 'armed', armedBootId: 'boot-1' }), slots: verified, ...env('A', 'B') },
      expected: way('reboot', { assignment: toB }),
    },
    'after arming, and someone took next_entry away': {
      seen: { journal: journal({ phase: 'armed', armedBootId: 'boot-1' }), slots: verified },
      expected: way('drain', { assignment: toB }),
    },
    'after the reboot, on trial': {
      seen: {
        ...on({ bootId: 'boot-2', active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ phase: 'armed', armedBootId: 'boot-1' }),
      },
      expected: way('prove', { assignment: toB }),
    },
    'after the proof': {
      seen: {
        ...on({ bootId: 'boot-2', active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ phase: 'proven', armedBootId: 'boot-1' }),
      },
      expected: way('prove', { assignment: toB }),
    },
    'after the commit, still cordoned': {
      node: { cordoned: true, osImage: V2, record: record({ step: 'commit' }) },
      seen: upgradedToB,
      expected: way('uncordon', { assignment: toB }),
    },
    'after the uncordon': { node: { osImage: V2 }, seen: upgradedToB, expected: { kind: 'done', notes: [] } },
    'and its trial panicked: it came up in its old slot': {
      seen: { bootId: 'boot-2', journal: journal({ phase: 'armed', armedBootId: 'boot-1' }), slots: verified },
      expected: fellBack(false),
    },
    'and a reset came between proof and commit': {
      seen: { bootId: 'boot-3', journal: journal({ phase: 'proven', armedBootId: 'boot-1' }), slots: verified },
      expected: fellBack(false),
    },
    'after the fall-back was written down, still annotated': {
      node: { cordoned: true, record: record({ step: 'prove' }) },
      seen: { bootId: 'boot-2', journal: journal({ phase: 'fell-back', armedBootId: 'boot-1', reason: 'not Ready' }) },
      expected: { ...fellBack(true), reason: 'not Ready' },
    },
    'with a journal that cannot be: armed on this boot, yet it runs the target': {
      seen: {
        ...on({ active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ phase: 'armed', armedBootId: 'boot-1' }),
      },
      expected: blocked('was armed on this very boot'),
    },
  },
  'after an upgrade that ended otherwise': {
    'aborted before the write: everything is looked at again': {
      seen: { journal: journal({ phase: 'aborted' }) },
      expected: way('stage', { assignment: toB }),
    },
    'aborted after the slot was verified: it is read once more, and not written': {
      seen: { journal: journal({ phase: 'aborted' }), slots: verified, hasCurl: false },
      expected: way('verify', { assignment: toB, notes: [expect.stringContaining('slot B was written')] }),
    },
    'aborted, and the slot has changed since': {
      seen: {
        journal: journal({ phase: 'aborted' }),
        slots: { A: slot(), B: holding(V2, SHA2, { recordHolds: false }) },
      },
      expected: way('stage'),
    },
    'aborted, and the slot holds another image of that version': {
      seen: { journal: journal({ phase: 'aborted' }), slots: { A: slot(), B: holding(V2, SHA3) } },
      expected: way('stage'),
    },
    'aborted, and the slot was written from a tag, which may name another image by now': {
      seen: {
        journal: journal({ phase: 'aborted' }),
        slots: {
          A: slot(),
          B: slot({
            version: V2,
            record: { version: V2, sha256: SHA2, tag: 'os:2', verifiedAt: 1 },
            recordHolds: true,
          }),
        },
      },
      goal: { byEngine: true },
      expected: way('stage'),
    },
    'aborted, and its write is insisted on': {
      seen: { journal: journal({ phase: 'aborted' }), slots: verified },
      goal: { reinstall: true },
      expected: way('stage'),
    },
    'fell back: the same image is refused': {
      seen: { bootId: 'boot-2', journal: journal({ phase: 'fell-back', reason: 'kubelet not Ready' }) },
      expected: { kind: 'blocked', findings: [expect.objectContaining({ reason: 'kubelet not Ready' })] },
    },
    'fell back: the same image is refused though the journal is another one by now': {
      seen: { slots: { A: slot(), B: holding(V2, SHA2, { failedTrial: true }) } },
      expected: blocked('failed its trial here'),
    },
    'fell back: insisting on the same image': {
      seen: { journal: journal({ phase: 'fell-back' }) },
      goal: { retryFailedImage: true },
      expected: way('stage'),
    },
    'fell back: insisting clears the left-overs too': {
      node: { cordoned: true, record: record({ step: 'prove' }) },
      seen: { journal: journal({ phase: 'fell-back' }) },
      goal: { retryFailedImage: true },
      expected: way('stage'),
    },
    'fell back: another image of the same version may be tried': {
      seen: {
        journal: journal({ phase: 'fell-back' }),
        slots: { A: slot(), B: holding(V2, SHA2, { failedTrial: true }) },
      },
      goal: { sha256: SHA3 },
      expected: way('stage', { assignment: { ...toB, sha256: SHA3 } }),
    },
  },
  'another goal than the run before': {
    'which had only begun': {
      seen: { journal: journal({ version: V3, sha256: SHA3 }) },
      expected: way('stage', { notes: [expect.stringContaining('is given up')] }),
    },
    'which had armed': {
      seen: {
        journal: journal({ version: V3, sha256: SHA3, phase: 'armed', armedBootId: 'boot-1' }),
        slots: { A: slot(), B: holding(V3, SHA3) },
        ...env('A', 'B'),
      },
      expected: way('stage', { preliminary: { kind: 'disarm' } }),
    },
    'which had half armed': {
      seen: { journal: journal({ version: V3, sha256: SHA3, phase: 'verified' }), ...env('A', 'B') },
      expected: way('stage', { preliminary: { kind: 'disarm' } }),
    },
    'whose trial fell back unseen': {
      seen: {
        bootId: 'boot-2',
        journal: journal({ version: V3, sha256: SHA3, phase: 'armed', armedBootId: 'boot-1' }),
      },
      expected: way('stage', { preliminary: { kind: 'close-fell-back' } }),
    },
    'whose trial runs: it is finished first': {
      seen: {
        ...on({
          bootId: 'boot-2',
          active: 'B',
          osVersion: V3,
          slots: { A: slot(), B: holding(V3, SHA3) },
          ...env('A'),
        }),
        journal: journal({ version: V3, sha256: SHA3, phase: 'armed', armedBootId: 'boot-1' }),
      },
      expected: way('stage', {
        ...settles(false, 'B', V3),
        assignment: { ...toB, replaced: V3, from: 'B', target: 'A' },
      }),
    },
    'whose trial runs the very version, from another image: it is finished, and that is all': {
      seen: {
        ...on({ bootId: 'boot-2', active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ sha256: SHA3, phase: 'armed', armedBootId: 'boot-1' }),
      },
      expected: way('prove', { assignment: { ...toB, sha256: SHA3 } }),
    },
    'a rollback while the node waits armed: it is disarmed, no more': {
      node: { record: record({ step: 'reboot' }) },
      seen: { journal: journal({ phase: 'armed', armedBootId: 'boot-1' }), slots: verified, ...env('A', 'B') },
      goal: ROLLBACK,
      expected: way('uncordon', { preliminary: { kind: 'disarm' } }),
    },
    'a rollback while the node is on trial: the trial is finished first, then it goes back': {
      seen: {
        ...on({ bootId: 'boot-2', active: 'B', osVersion: V2, slots: verified, ...env('A') }),
        journal: journal({ phase: 'armed', armedBootId: 'boot-1' }),
      },
      goal: ROLLBACK,
      expected: way('verify', { ...settles(false, 'B', V2), assignment: back }),
    },
    'a rollback after a write that never ended: nothing but tidying up': {
      node: { record: record() },
      seen: { journal: journal(), slots: { A: slot(), B: dirty() } },
      goal: ROLLBACK,
      expected: way('uncordon', { preliminary: { kind: 'disarm' } }),
    },
  },
  'a slot that was booted by hand': {
    'is the one that the upgrade leads to: proven and committed where it runs': {
      seen: { ...upgradedToB, bootId: 'boot-3', ...env('A') },
      expected: { kind: 'way', firstStep: 'prove', adopt: true, assignment: { ...toB, replaced: V1 } },
    },
    'is the one that the rollback leads to': {
      seen: { ...upgradedToB, bootId: 'boot-3', active: 'A', osVersion: V1, ...env('B') },
      goal: ROLLBACK,
      expected: { kind: 'way', firstStep: 'prove', adopt: true, assignment: back },
    },
    'has to be left: it is made permanent before the other one changes': {
      seen: { ...upgradedToB, bootId: 'boot-3', active: 'A', osVersion: V1, ...env('B') },
      goal: { version: V3, sha256: SHA3 },
      expected: way('stage', settles(true, 'A', V1)),
    },
    'is proven already by a run that died': {
      seen: {
        ...on({ bootId: 'boot-3', active: 'A', osVersion: V1, slots: verified, ...env('B') }),
        journal: journal({ ...back, operation: 'rollback', from: 'B', target: 'A', phase: 'proven' }),
      },
      goal: ROLLBACK,
      expected: { kind: 'way', firstStep: 'prove', adopt: true, assignment: back },
    },
    'is begun to be proven by a run that died': {
      seen: {
        ...on({ bootId: 'boot-3', active: 'A', osVersion: V1, slots: verified, ...env('B') }),
        journal: journal({ ...back, operation: 'rollback', from: 'B', target: 'A', phase: 'started' }),
      },
      goal: ROLLBACK,
      expected: { kind: 'way', firstStep: 'prove', adopt: true, assignment: back },
    },
  },
  'at the version': {
    'not Ready is told': {
      node: { ready: false, notReadyBecause: 'PLEG' },
      seen: upgradedToB,
      expected: { kind: 'done', notes: ['not Ready: PLEG'] },
    },
    'with another digest names --reinstall': {
      seen: upgradedToB,
      goal: { sha256: SHA3 },
      expected: { kind: 'done', notes: [expect.stringContaining('--reinstall')] },
    },
    'with --reinstall and another digest is written again': {
      seen: upgradedToB,
      goal: { sha256: SHA3, reinstall: true },
      expected: way('stage', { assignment: { from: 'B', target: 'A', replaced: V2, sha256: SHA3 } }),
    },
    'with --reinstall and the same digest is done: so it ends': {
      seen: upgradedToB,
      goal: { reinstall: true },
      expected: { kind: 'done' },
    },
    'with --reinstall and no recorded digest is written again': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: empty() } },
      goal: { reinstall: true },
      expected: way('stage'),
    },
    'a next boot elsewhere is told': {
      seen: { ...upgradedToB, ...env('B', 'A') },
      expected: { kind: 'done', notes: [expect.stringContaining('next boot goes to slot A')] },
    },
    'what a run with another goal left is tidied up': {
      node: { record: record({ version: V3 }) },
      seen: { ...upgradedToB, journal: journal({ version: V3, sha256: SHA3, from: 'B', target: 'A' }) },
      expected: way('uncordon', { preliminary: { kind: 'disarm' } }),
    },
  },
  'a rollback': {
    'begins with the verification of the other slot': {
      seen: upgradedToB,
      goal: ROLLBACK,
      expected: way('verify', { assignment: back }),
    },
    'to a slot without a record is possible': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: slot({ version: V1 }) } },
      goal: ROLLBACK,
      expected: way('verify'),
    },
    'killed after verify': {
      seen: {
        ...upgradedToB,
        journal: journal({ ...back, operation: 'rollback', from: 'B', target: 'A', phase: 'verified' }),
      },
      goal: ROLLBACK,
      expected: way('drain', { assignment: back }),
    },
    'to a slot that an upgrade streamed, and never verified, is refused': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: { ...dirty(), streamed: SHA2 } } },
      goal: ROLLBACK,
      expected: { kind: 'blocked' },
    },
    'to an empty slot is refused with the reason': {
      seen: { osVersion: V2 },
      goal: ROLLBACK,
      expected: { kind: 'blocked', findings: [expect.objectContaining({ reason: 'no kernel' })] },
    },
    'to a half-written slot is refused': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: dirty() } },
      goal: ROLLBACK,
      expected: blocked('holds no system to go back to'),
    },
    'to a slot whose image failed its trial is refused, with a way that a rollback has': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: holding(V1, SHA3, { failedTrial: true }) } },
      goal: ROLLBACK,
      expected: {
        kind: 'blocked',
        findings: [
          {
            what: 'this image failed its trial here',
            next: 'leave the node out (--exclude), or bring it there by its image: kubeos upgrade --retry-failed-image',
          },
        ],
      },
    },
    'to a slot that holds another version is refused': {
      seen: { osVersion: V2, slots: { A: slot({ version: V2 }), B: slot({ version: V3 }) } },
      goal: ROLLBACK,
      expected: blocked(`holds ${V3}, not ${V1}`),
    },
    'needs no curl': { seen: { ...upgradedToB, hasCurl: false }, goal: ROLLBACK, expected: way('verify') },
    'that is done already': { goal: ROLLBACK, expected: { kind: 'done' } },
  },
};

describe.each(Object.entries(CASES))('%s', (_group, cases) => {
  test.each(Object.entries(cases))('%s', (_name, { node, seen: facts, goal, expected }) => {
    const standing = deriveStanding(clusterNode(node), seen(facts), { ...UPGRADE, ...goal });
    expect(standing).toMatchObject(expected);
  });
});

test('the table is long enough to trust', () => {
  const count = Object.values(CASES).reduce((sum, cases) => sum + Object.keys(cases).length, 0);
  expect(count).toBeGreaterThanOrEqual(60);
});

describe('a node that kubeos does not work on', () => {
  const replace = 'put a node that has the wanted system in its place, and leave this one out: --exclude';
  test.each([
    [
      'verity',
      `leave it to KubeOS's own operator, with a container image (imagetype docker or containerd), or ${replace}`,
    ],
    ['partitions', replace],
    ['unknown-root', replace],
    ['no-trial', `leave it to KubeOS's own operator, which tries no slot before it is permanent, or ${replace}`],
    ['no-boot-environment', 'make it on the node (grub2-editenv FILE create), or leave it out: --exclude'],
    ['missing-tool', 'install it on the node, or leave the node out: --exclude'],
  ] as const)('for %s is told of another way', (code, next) => {
    const standing = deriveStanding(clusterNode(), seen({ unsupported: { code, message: 'why' } }), UPGRADE);
    expect(standing).toEqual({ kind: 'blocked', findings: [{ what: 'why', next }], unclear: true });
  });

  const lacks = { unsupported: { code: 'missing-tool', message: 'the node has no awk' } } as const;
  const armed = { journal: journal({ phase: 'armed', armedBootId: 'boot-1' }) };
  test.each([
    ['on a trial of it', { osVersion: V2, bootId: 'boot-2', ...armed }, UPGRADE],
    ['armed for another', { osVersion: V1, bootId: 'boot-1', ...armed }, { ...ROLLBACK, version: V1 }],
  ])('is not done with while a run left it %s, whatever it runs', (_how, facts, goal) => {
    expect(deriveStanding(clusterNode(), seen({ ...lacks, ...facts }), goal)).toMatchObject({
      kind: 'blocked',
      findings: [
        { what: 'the node has no awk' },
        {
          what: 'a run left slot B armed, or on trial',
          next: 'a reset leads a trial back to slot A; once what is in the way is mended, give the same command again',
        },
      ],
      unclear: true,
    });
  });

  test('is not done with while the annotation of a run is on it', () => {
    const node = clusterNode({ record: record() });
    expect(deriveStanding(node, seen({ ...lacks, osVersion: V2 }), UPGRADE)).toMatchObject({
      kind: 'blocked',
      findings: [{ what: 'the node has no awk' }, { what: `run ${record().run} left it at ${record().step}` }],
    });
  });

  test('is done with where it runs the version and no run left anything', () => {
    expect(deriveStanding(clusterNode(), seen({ ...lacks, osVersion: V2 }), UPGRADE)).toEqual({
      kind: 'done',
      notes: ['the node has no awk'],
    });
  });
});
