import { describe, expect, test } from 'vitest';
import { assemblePlan, nodesToFetch, type PlanInput } from '../../../src/rollout/assemble-plan.ts';
import type { ClusterNode, NodeObservation } from '../../../src/rollout/facts.ts';
import type { RolloutRequest } from '../../../src/rollout/goal.ts';
import type { Look } from '../../../src/rollout/look.ts';
import { isSinceOpenEuler2209 } from '../../../src/rollout/openeuler.ts';
import type { Plan } from '../../../src/rollout/plan-types.ts';
import { exitForPlan } from '../../../src/rollout/plan-exit.ts';
import type { PreflightFacts } from '../../../src/rollout/preflight-types.ts';
import { clusterNode, dirty, journal, record, request, seen, SHA2, SHA3, slot, V1, V2 } from './fixtures.ts';

const GIB = 1024 ** 3;

const facts = (change: Partial<PreflightFacts> = {}): PreflightFacts => ({
  persistReadOnly: false,
  freeInodes: 1000,
  partBytes: 0,
  tools: ['openssl'],
  certificateProblems: [],
  ...change,
});

interface Given {
  seen?: Partial<NodeObservation>;
  preflight?: Partial<PreflightFacts>;
  node?: Partial<ClusterNode>;
}

function inputOf(
  given: Readonly<Record<string, Given>>,
  change: Partial<RolloutRequest> = {},
  more: Partial<PlanInput> = {},
): PlanInput {
  const names = Object.keys(given);
  return {
    request: request(change),
    nodes: names.map((name) => clusterNode({ name, ...given[name]?.node })),
    observed: new Map(
      names.map((name) => [
        name,
        seen({ bootId: `boot of ${name}`, ...given[name]?.seen, preflight: facts(given[name]?.preflight) }),
      ]),
    ),
    forecasts: new Map(),
    osResources: [],
    missingRights: [],
    ...more,
  };
}

const plan = (...args: Parameters<typeof inputOf>): Plan => assemblePlan(inputOf(...args));
const looked = (change: Partial<NonNullable<Look['seen']>> = {}): Look => ({
  seen: { from: 'a', sizeBytes: GIB, ranges: true, content: 'ext4', ...change },
  noWay: new Map(),
});
const whats = ({ notStarted }: Plan): string[] =>
  notStarted.flatMap(({ node, findings }) => findings.map(({ what }) => `${node}: ${what}`));
const artifact = { url: 'https://h/u.img', sha256: SHA2, flagSafe: false, cacert: 'ca.crt' };
const mutual = { ...artifact, clientcert: 'c.crt', clientkey: 'c.key' };
const over = (own: typeof artifact): Partial<RolloutRequest> => ({
  image: { type: 'disk', artifact: own, shownUrl: own.url },
});
const pulled = (engine: 'docker' | 'containerd', digest?: string): Partial<RolloutRequest> => ({
  image: {
    type: engine,
    artifact: { engine, reference: 'registry/kubeos:2', sha256: SHA2, ...(digest === undefined ? {} : { digest }) },
  },
});
const AHEAD = (ms: number) => ({ atLeastMs: ms - 400, atMostMs: ms + 600 });

describe("openEuler's release, by its kernel", () => {
  test.each([
    ['5.10.0-60.18.0.50.oe2203.x86_64', false],
    ['5.10.0-136.12.0.86.oe2203sp1.x86_64', true],
    ['5.10.0-106.1.0.55.oe2209.aarch64', true],
    ['6.6.0-28.0.0.34.oe2403.x86_64', true],
    ['4.19.90-2003.4.0.0036.oe1.x86_64', false],
    ['4.19.90-2312.1.0.0255.oe2003sp4.x86_64', false],
    ['5.10.0-216.0.0.oe2209', true],
    ['6.1.0-18-amd64', undefined],
    ['', undefined],
  ])('%s: since 22.09 is %s', (kernel, since) => {
    expect(isSinceOpenEuler2209(kernel)).toBe(since);
  });

  test('keeps a node from mTLS where it is older; where nobody can tell, it is a warning', () => {
    const old = { seen: { kernelVersion: '5.10.0-60.18.0.50.oe2203.x86_64' } };
    const made = plan({ a: old, b: {} }, over(mutual));
    expect(whats(made)).toEqual(['a: KubeOS supports mTLS (mtls: true) only in openEuler 22.09 or later']);
    expect(made.entries.map(({ node, warnings }) => [node, warnings?.map(({ what }) => what)])).toEqual([
      ['b', ['whether it runs openEuler 22.09 or later cannot be told, which KubeOS demands for mTLS (mtls: true)']],
    ]);
    expect(plan({ a: old }, over(artifact)).notStarted).toEqual([]);
    expect(whats(plan({ a: old }, pulled('docker')))).toEqual([
      'a: KubeOS supports a docker image only in openEuler 22.09 or later',
    ]);
  });
});

describe('a container image', () => {
  const engineProblem = 'docker does not answer: is it running?';

  test('keeps a node out whose engine is not there, or does not answer; none needs curl', () => {
    const made = plan(
      {
        a: { preflight: { engineProblem } },
        b: { preflight: { engineProblem, tools: ['docker'] } },
        c: { seen: { hasCurl: false } },
      },
      pulled('docker'),
    );
    expect(made.notStarted.map(({ node, findings }) => [node, findings.map(({ next }) => next)])).toEqual([
      ['a', ['install it on the node, or use a disk image: imagetype: disk']],
      ['b', ['see why on the node, and start it:\n  systemctl status docker']],
    ]);
    expect(made.entries.map(({ node }) => node)).toEqual(['c']);
  });

  test('is shown by its reference, and by its digest or as one that only a tag vouches for', () => {
    const byTag = plan({ a: {} }, pulled('containerd'));
    expect(byTag.image).toEqual({ type: 'containerd', shownUrl: 'registry/kubeos:2', sha256: SHA2, trusted: 'tag' });
    expect(byTag.notes.map(({ what }) => what)).toContain(
      'the image is trusted by its tag alone: the spec gives no digest',
    );
    const byDigest = plan({ a: {} }, pulled('containerd', SHA2));
    expect(byDigest.image?.trusted).toBe('digest');
    expect(byDigest.notes).toEqual([]);
  });

  test('is warned of where /persist has less room than KubeOS itself asks for', () => {
    const made = plan({ a: { seen: { freeBytes: GIB } }, b: {} }, pulled('docker', SHA2));
    const warned = made.entries.map(({ node, warnings }) => [node, warnings?.some(({ what }) => /fits/.test(what))]);
    expect(warned).toEqual([
      ['a', true],
      ['b', expect.not.stringMatching('true')],
    ]);
  });
});

describe('/persist', () => {
  test.each([
    ['read-only', { preflight: { persistReadOnly: true } }, '/persist is mounted read-only'],
    ['without inodes', { preflight: { freeInodes: 3 } }, '/persist has 3 inodes left'],
    ['too small for the image', { seen: { freeBytes: GIB } }, 'too little room in /persist for the image'],
  ])('%s keeps the node out', (_what, given, what) => {
    expect(whats(plan({ a: {}, b: given }, {}, { look: looked() }))).toEqual([`b: ${what}`]);
  });

  const XZ = looked({ content: 'xz' });
  test.each<[string, Partial<RolloutRequest>, string | undefined, string]>([
    ['this machine', { ways: { here: true, decompressors: ['xz'] } }, 'ssh xz', ''],
    [
      'nobody: neither has the tool',
      { ways: { here: true, decompressors: ['gzip'] } },
      undefined,
      'nor has this machine xz',
    ],
    ['nobody: this machine may not fetch it', { ways: { here: false } }, undefined, '--certs-dir'],
    [
      'nobody: the nodes are to fetch it',
      { ways: { here: true, via: 'curl', decompressors: ['xz'] } },
      undefined,
      '--via ssh',
    ],
  ])('an image whose tool a node lacks is decompressed by %s', (_who, change, way, words) => {
    const made = plan({ a: {}, b: { preflight: { tools: ['xz'] } } }, change, { look: XZ });
    const [a] = made.entries.filter(({ node }) => node === 'a');
    expect(a === undefined ? undefined : `${String(a.via)} ${String(a.decompress)}`).toBe(way);
    expect(made.entries.find(({ node }) => node === 'b')).not.toHaveProperty('decompress');
    const told = made.notStarted.flatMap(({ findings }) =>
      findings.map(({ reason, next }) => [reason, next].join(' ')),
    );
    expect(told.join()).toContain(words);
  });

  test.each<[string, Partial<RolloutRequest>, string, string]>([
    ['decompressed here', { ways: { here: true, decompressors: ['xz'] } }, 'stage ssh xz', ''],
    [
      'refused before anything is done',
      { ways: { here: false } },
      '',
      'it has no xz, and the image is compressed with it',
    ],
    ['refused where an engine brought it', pulled('containerd', SHA2), '', 'it has no xz'],
  ])('an image that a node has, but cannot decompress any more, is %s', (_what, change, way, words) => {
    const seen = { artifact: { sha256: SHA2, bytes: 1, lacks: 'xz' } } as const;
    const made = plan({ a: { seen } }, change, {});
    const ways = made.entries.map(({ firstStep, via, decompress }) => [firstStep, via, decompress].join(' '));
    expect(ways.join()).toBe(way);
    expect(made.notStarted.flatMap(({ findings }) => findings.map(({ what }) => what)).join()).toContain(words);
  });

  test('too small for the image is told with a way out, and keeps nobody out where the slot is written as it arrives', () => {
    const small = { seen: { freeBytes: GIB } };
    const made = (change: Partial<RolloutRequest>) => plan({ a: {}, b: small }, change, { look: looked() });
    expect(made({}).notStarted[0]?.findings[0]?.next).toContain('--stream');
    const streams = (stream: 'where-needed' | 'always') =>
      made({ ways: { here: false, stream } }).entries.map((entry) => `${entry.node} ${String(entry.stream)}`);
    expect(streams('where-needed')).toEqual(['a undefined', 'b true']);
    expect(streams('always')).toEqual(['a true', 'b true']);
    const full = plan({ a: { seen: { freeBytes: 2 ** 22 } } }, { ways: { here: false, stream: 'always' } });
    expect(whats(full)).toEqual(['a: too little room in /persist for the notes of a run']);
    // Where streaming would not help either, it is not offered.
    const unhelped = plan({ a: { seen: { freeBytes: 2 ** 22 } } }, {}, { look: looked() });
    expect(unhelped.notStarted[0]?.findings[0]?.next).toBe('make room in /persist on the node');
  });

  test('needs no more room than is left to fetch, or is made by what goes', () => {
    const half = { seen: { freeBytes: GIB / 2 + 2 ** 24 } };
    expect(whats(plan({ a: half }, {}, { look: looked() }))).toHaveLength(1);
    expect(whats(plan({ a: { ...half, preflight: { partBytes: GIB / 2 } } }, {}, { look: looked() }))).toEqual([]);
    const other = { seen: { ...half.seen, artifact: { sha256: SHA3, bytes: GIB } } };
    expect(whats(plan({ a: other }, {}, { look: looked() }))).toEqual([]);
  });

  test('that is full or read-only keeps a rollback out too', () => {
    const back: Partial<RolloutRequest> = { goal: { operation: 'rollback', version: V2, toOtherSlot: false } };
    const slots = { A: slot(), B: slot({ version: V2 }) };
    const made = plan(
      {
        a: { seen: { slots } },
        b: { seen: { slots, freeBytes: 1000 } },
        c: { seen: { slots }, preflight: { persistReadOnly: true } },
      },
      back,
    );
    expect(made.entries.map(({ node }) => node)).toEqual(['a']);
    expect(whats(made)).toEqual(['b: /persist is full: 1000 bytes free', 'c: /persist is mounted read-only']);
  });

  test('does not keep a node out that must be brought to its end', () => {
    const trial = {
      seen: {
        active: 'B' as const,
        osVersion: V2,
        bootId: 'boot-2',
        slots: { A: slot(), B: slot({ version: V2 }) },
        journal: journal({ phase: 'armed', armedBootId: 'boot-1' }),
      },
      preflight: { persistReadOnly: true, freeInodes: 0, certificateProblems: ['cacert has expired'] },
    };
    const made = plan({ a: trial }, { ...over(mutual), strict: true });
    expect(made.entries.map(({ node, firstStep }) => [node, firstStep])).toEqual([['a', 'prove']]);
  });
});

describe('certificates and tools', () => {
  test('each problem of a node that has to fetch is an error of it', () => {
    const bad = { preflight: { certificateProblems: ['cacert /etc/x has expired', 'clientkey /etc/y is not there'] } };
    const made = plan({ a: {}, b: bad }, over(artifact));
    expect(whats(made)).toEqual(['b: cacert /etc/x has expired', 'b: clientkey /etc/y is not there']);
    const staged = { ...bad, seen: { artifact: { sha256: SHA2, bytes: 5 } } };
    expect(whats(plan({ b: staged }, over(artifact)))).toEqual([]);
  });

  test('without openssl it is told that they cannot be judged; not where none are used', () => {
    const poor = { preflight: { tools: [] } };
    const [entry] = plan({ a: poor }, over(artifact)).entries;
    expect(entry?.warnings?.[0]?.what).toMatch(/no openssl/);
    expect(plan({ a: poor }, over({ ...artifact, url: 'http://h/u.img' })).entries[0]).not.toHaveProperty('warnings');
  });
});

describe('the image', () => {
  test('bigger than the slot keeps that node out, whether it is still to be fetched or there', () => {
    const small = { slots: { A: slot(), B: slot({ sizeBytes: GIB - 1 }) } };
    const staged = { ...small, artifact: { sha256: SHA2, bytes: GIB } };
    const made = plan({ a: {}, b: { seen: small }, c: { seen: staged } }, {}, { look: looked() });
    expect(whats(made)).toEqual(['b: the image is bigger than slot B', 'c: the image is bigger than slot B']);
    expect(made.image?.seen?.sizeBytes).toBe(GIB);
  });

  test('of a size that nobody says: a warning', () => {
    const look = looked();
    delete look.seen?.sizeBytes;
    expect(plan({ a: {} }, {}, { look }).entries[0]?.warnings?.[0]?.what).toMatch(/whether the image fits/);
  });

  const size = (sizeBytes: number) => ({ slots: { A: slot(), B: slot({ sizeBytes }) } });
  test.each(['tar', 'gzip', 'xz', 'zstd'] as const)('that is %s is judged by its tools, not by its size', (content) => {
    const tools = ['openssl', 'tar', 'find', 'sort', 'xargs', 'comm', 'mkfs.ext4', 'gzip', 'xz', 'zstd'];
    const whole = { seen: size(GIB - 1), preflight: { tools } };
    const look = looked({ content });
    expect(whats(plan({ a: whole }, {}, { look }))).toEqual([]);
    const poor = { preflight: { tools: tools.filter((tool) => tool !== content) } };
    const made = plan({ a: whole, b: poor }, {}, { look });
    const words =
      content === 'tar' ? 'GNU tar, which this image needs' : `${content}, and the image is compressed with it`;
    expect(whats(made)).toEqual([`b: it has no ${words}`]);
  });

  test('that is a tar is unpacked by what makes the file system of this very node', () => {
    const tools = ['openssl', 'tar', 'find', 'sort', 'xargs', 'comm', 'mkfs.ext4'];
    const xfs = { seen: { slots: { A: slot({ fsType: 'xfs' }), B: slot() } }, preflight: { tools } };
    const made = plan({ a: { preflight: { tools } }, b: xfs }, {}, { look: looked({ content: 'tar' }) });
    expect(whats(made)).toEqual(['b: it has no mkfs.xfs, which this image needs']);
  });

  test('of XFS is for a root on XFS alone', () => {
    const xfs = { slots: { A: slot({ fsType: 'xfs' }), B: slot() } };
    const made = plan({ a: {}, b: { seen: xfs } }, {}, { look: looked({ content: 'xfs' }) });
    expect(made.entries.map(({ node }) => node)).toEqual(['b']);
    expect(whats(made)).toEqual(['a: the image is xfs, but the root of this node is ext4']);
  });

  test('ext4 for a root on XFS keeps the node out', () => {
    const xfs = { slots: { A: slot({ fsType: 'xfs' }), B: slot() } };
    const made = plan({ a: {}, b: { seen: xfs } }, {}, { look: looked() });
    expect(whats(made)).toEqual(['b: the image is ext4, but the root of this node is xfs']);
  });

  test('comes from this machine, where it may fetch it, to a node that does not get to the server', () => {
    const look = { ...looked(), noWay: new Map([['b', 'no route']]) };
    const made = plan({ a: {}, b: {} }, { ways: { here: true } }, { look });
    expect(made.entries.map(({ node, via }) => `${node} ${String(via)}`)).toEqual(['a curl', 'b ssh']);
    expect(whats(plan({ a: {}, b: {} }, {}, { look }))).toEqual([
      'b: it does not get the image from its server, though another node does',
    ]);
  });

  test('is looked at only by nodes that have to fetch it', () => {
    const input = inputOf({
      a: { seen: { artifact: { sha256: SHA2, bytes: 5 } } },
      b: {},
      c: { seen: { hasCurl: false } },
      d: { seen: { osVersion: V2 }, node: { osImage: V2 } },
    });
    expect(nodesToFetch(input).map(({ name }) => name)).toEqual(['b']);
    const back: RolloutRequest = { ...input.request, goal: { operation: 'rollback', version: V1, toOtherSlot: false } };
    expect(nodesToFetch({ ...input, request: back })).toEqual([]);
  });
});

describe('clocks', () => {
  const clocks = (api: number | undefined, ...nodes: number[]): Plan => {
    const given = Object.fromEntries(nodes.map((ms, index) => [`n-${index}`, { preflight: { clock: AHEAD(ms) } }]));
    return plan(given, {}, api === undefined ? {} : { apiClock: AHEAD(api) });
  };
  const told = ({ entries, notes }: Plan): string[] => [
    ...entries.flatMap(({ node, warnings = [] }) => warnings.map(({ what, reason }) => `${node}: ${what}: ${reason}`)),
    ...notes.map(({ what, reason }) => [what, reason].filter(Boolean).join(': ')),
  ];

  test('within half a minute of each other are not spoken of', () => {
    expect(told(clocks(0, 0, 12_000, -12_000))).toEqual([]);
    // All agree: it does not matter what this machine thinks, but that is told.
    expect(told(clocks(600_000, 600_000, 601_000))).toEqual([
      "this machine's clock differs by more than 30s from the API server's: it is at least 10m behind",
    ]);
  });

  test("are held against the API server's, where that is known", () => {
    expect(told(clocks(0, 0, 120_000, -90_000))).toEqual([
      "n-1: its clock differs by more than 30s from the API server's: it is at least 1m 59s ahead",
      "n-2: its clock differs by more than 30s from the API server's: it is at least 1m 29s behind",
    ]);
    expect(told(clocks(undefined, 0, 120_000))).toEqual([
      "n-1: its clock differs by more than 30s from this machine's: it is at least 2m ahead",
    ]);
  });

  test('that are right, each for itself, may still be too far apart', () => {
    expect(told(clocks(0, 25_000, -25_000))).toEqual(['the clocks of n-1 and n-0 are at least 49s apart']);
  });

  test('that were asked for over a slow line are not accused', () => {
    const slow = { preflight: { clock: { atLeastMs: -60_000, atMostMs: 60_000 } } };
    expect(told(plan({ a: slow }, {}, { apiClock: AHEAD(0) }))).toEqual([]);
  });
});

describe('a node that is not Ready', () => {
  const SILENT = { ready: false, kubeletSilent: true, notReadyBecause: 'NodeStatusUnknown: no word' } as const;
  const warned = (given: Given, pods: number): unknown =>
    plan({ a: given }, {}, { forecasts: new Map([['a', { pods, obstacles: [] }]]) }).entries[0]?.warnings;

  test('whose kubelet is silent: that nobody ends the pods of its drain, and what to do', () => {
    expect(warned({ node: SILENT }, 3)).toEqual([
      {
        what: 'its kubelet is silent, so that nobody ends the 3 pods that its drain evicts',
        reason: 'NodeStatusUnknown: no word',
        next: expect.stringMatching(/start its kubelet first.*--drain-timeout/) as string,
      },
    ]);
  });

  test('and has no pods, or a kubelet that speaks: that it goes first, and must be Ready after its trial boot', () => {
    const next = expect.stringMatching(/^nothing: it goes first.*--health-timeout/) as string;
    expect(warned({ node: SILENT }, 0)).toMatchObject([{ what: 'its kubelet is silent', next }]);
    const unready = { ready: false, notReadyBecause: 'KubeletNotReady: cni' };
    expect(warned({ node: unready }, 3)).toEqual([{ what: 'it is not Ready', reason: 'KubeletNotReady: cni', next }]);
  });

  test('is not warned of where it is Ready, or on its trial already', () => {
    expect(warned({}, 3)).toBeUndefined();
    const trial = journal({ phase: 'armed', armedBootId: 'boot before' });
    const onTrial = {
      active: 'B',
      osVersion: V2,
      slots: { A: slot(), B: slot({ version: V2 }) },
      journal: trial,
    } as const;
    expect(warned({ node: SILENT, seen: onTrial }, 3)).toBeUndefined();
  });
});

describe('the whole run', () => {
  test('of two architectures is refused; what needs no write does not count', () => {
    const arm = { architecture: 'aarch64' };
    const made = plan({ a: {}, b: { seen: arm } });
    expect(made.refusals).toEqual([
      expect.objectContaining({
        what: 'the nodes are of 2 architectures, and an image fits one',
        reason: 'x86_64: a\naarch64: b',
      }),
    ]);
    const done = { seen: { ...arm, osVersion: V2 }, node: { osImage: V2 } };
    expect(plan({ a: {}, b: done }).refusals).toEqual([]);
  });

  test.each([
    [{ a: 1 }, 1, /a is the only node: the cluster's API is away/],
    [{ a: 1, w: 0 }, 1, /a is the only control plane: the cluster's API is away/],
    [{ a: 1, b: 1 }, 1, /1 of the 2 control planes may be down at once/],
    [{ a: 1, b: 1, c: 1 }, 2, /2 of the 3 control planes may be down at once/],
    [{ a: 1, b: 1, c: 1 }, 1, undefined],
  ] as const)('of control planes %o, %i at a time', (which, count, what) => {
    const given = Object.fromEntries(
      Object.entries(which).map(([name, plane]) => [name, { node: { controlPlane: plane === 1 } }]),
    );
    const selection = { includeControlPlane: true };
    const made = plan(given, { selection, maxUnavailable: { kind: 'count', count } });
    if (what === undefined) expect(made.notes).toEqual([]);
    else expect(made.notes.map((note) => note.what)).toEqual([expect.stringMatching(what)]);
  });

  test('with --strict is refused for any node that cannot be started, unless none is left or all is done', () => {
    const bad = { preflight: { persistReadOnly: true } };
    expect(exitForPlan(plan({ a: {}, b: bad }), false)).toBe(3);
    const strict = plan({ a: {}, b: bad }, { strict: true });
    expect([exitForPlan(strict, false), strict.refusals[0]?.reason]).toEqual([4, 'b']);
    expect(plan({ b: bad }, { strict: true }).refusals).toEqual([]);
    expect(exitForPlan(plan({ a: {} }, { strict: true }), false)).toBe(0);
  });

  test('says what an earlier run left on a node', () => {
    const left = {
      seen: {
        slots: { A: slot(), B: dirty() },
        artifact: { sha256: SHA3, bytes: GIB },
        detached: { step: 'stage', job: 'j', running: true },
      },
      preflight: { partBytes: 2048 },
      node: { record: record({ run: 'other', version: 'KubeOS 9.0.0', step: 'drain' }) },
    };
    expect(plan({ a: left }).entries[0]?.notes).toEqual([
      'run other had cordoned it, and somebody uncordoned it since',
      'run other left it at drain (upgrade to KubeOS 9.0.0): it is taken over',
      'a stage of an earlier run still runs there, detached: it is gone on with, or ended',
      'another image lies in /persist/KubeOS-Update (1.0 GiB): it is replaced',
      '2.0 KiB of an unfinished download lie there: gone on with where they are of this image',
      'slot B was written to and never verified: it is written anew',
    ]);
  });
});
