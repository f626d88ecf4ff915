import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { KubeosError, UsageError } from '../../../src/errors.ts';
import { EXIT } from '../../../src/exit-codes.ts';
import { combineReports } from '../../../src/report/combine.ts';
import { formatData } from '../../../src/report/data.ts';
import {
  errorToJson,
  exitName,
  insecureToJson,
  lockToJson,
  planToJson,
  resultToJson,
  statusToJson,
  validationToJson,
} from '../../../src/report/json.ts';
import { statusReport } from '../../../src/report/status.ts';
import type { RolloutEvent } from '../../../src/rollout/events.ts';
import type { LockState } from '../../../src/rollout/ports.ts';
import { declinedResult } from '../../../src/rollout/use-cases.ts';
import {
  clusterNode,
  event,
  journal,
  nodeResult,
  observation,
  rolloutResult,
  RUN,
  samplePlan,
  slotFacts,
  upgraded,
} from './fixtures.ts';

describe('data for programs', () => {
  it('tells how a rollout ended', () => {
    const result = rolloutResult([upgraded('a', 10, 5), nodeResult('b', 'not started')], { exitCode: 3, tookMs: 99 });
    expect(resultToJson(result, '/logs/1')).toEqual({
      schemaVersion: 1,
      kind: 'RolloutResult',
      run: RUN,
      operation: 'upgrade',
      version: 'KubeOS 2.0.0',
      exitCode: 3,
      exitName: 'incomplete',
      exitMeaning: 'not all nodes done, all of them safe',
      tookMs: 99,
      counts: {
        upgraded: 1,
        'rolled back': 0,
        'already there': 0,
        'fell back': 0,
        failed: 0,
        interrupted: 0,
        'needs hands': 0,
        'not started': 1,
      },
      nodes: [upgraded('a', 10, 5), nodeResult('b', 'not started')],
      logDir: '/logs/1',
    });
  });

  it('tells that nothing was done where the question was answered with no', () => {
    const shown = samplePlan();
    const told = resultToJson(declinedResult(shown, RUN));
    expect(told).toMatchObject({
      kind: 'RolloutResult',
      exitCode: 4,
      exitName: 'refused',
      stopped: 'the question was answered with no',
    });
    const outcomes = new Set(told.nodes.map(({ outcome }) => outcome));
    expect(outcomes).toEqual(new Set(['not started', 'already there']));
    expect(told.nodes.map(({ node }) => node)).toEqual(expect.arrayContaining(shown.entries.map(({ node }) => node)));
  });

  it('is the plan itself', () => {
    expect(planToJson(samplePlan(), EXIT.changesFound)).toEqual({
      schemaVersion: 1,
      kind: 'Plan',
      exitCode: 7,
      exitName: 'changes-found',
      exitMeaning: 'plan --detailed-exitcode: there are changes to make',
      ...samplePlan(),
    });
  });

  it('explains an error, and shows the stack of a bug only', () => {
    const known = new UsageError('no spec', { next: 'give -f' });
    expect(errorToJson(known, EXIT.usage, '0.1.0')).toEqual({
      schemaVersion: 1,
      kind: 'Error',
      kubeosVersion: '0.1.0',
      exitCode: 2,
      exitName: 'usage',
      exitMeaning: 'wrong usage or an invalid spec; no node was touched',
      error: { name: 'UsageError', what: 'no spec', next: 'give -f', logTail: [], bug: false },
    });
    const bug = errorToJson(new TypeError('oops'), EXIT.bug, '0.1.0');
    expect(bug.error).toMatchObject({ name: 'TypeError', what: 'oops', bug: true });
    expect(bug.error.stack?.length).toBeGreaterThan(0);
  });

  it('holds no secret of a URL, at any depth', () => {
    const secret = 'https://me:hunter2@10.0.0.5/update.img';
    const failed = nodeResult('a', 'failed', { reason: secret, logTail: [`GET ${secret}`] });
    const error = new KubeosError(secret, 3, { logTail: [secret] });
    const data = [resultToJson(rolloutResult([failed])), errorToJson(error, 3, '0')];
    expect(JSON.stringify(data)).not.toContain('hunter2');
  });

  it('is the same in YAML', async () => {
    const report = statusToJson(statusReport([clusterNode('a')], new Map(), undefined, 0));
    expect(parse(await formatData(report, 'yaml'))).toEqual(report);
    expect(JSON.parse(await formatData(report, 'json'))).toEqual(report);
  });

  const LOCK: LockState = {
    held: true,
    holder: 'h',
    what: 'w',
    run: RUN,
    acquiredAt: 'x',
    renewedAt: 'y',
    durationMs: 60_000,
    silentMs: 61_000,
    token: 1,
    version: '7',
  };

  it('is described, field by field, in docs/json.md', () => {
    const page = readFileSync(new URL('../../../docs/json.md', import.meta.url), 'utf8');
    const seen = statusReport(
      [
        clusterNode('a', {
          record: { run: RUN, token: 1, operation: 'upgrade', version: 'v', step: 'arm', cordon: 'ours' },
        }),
      ],
      new Map([['a', observation('A', 'KubeOS 1.0.0', 'KubeOS 2.0.0', { journal: journal() })]]),
      LOCK,
      0,
    );
    const objects = [
      resultToJson(rolloutResult([upgraded('a', 1, 1)], { stopped: 'x' }), '/logs'),
      planToJson(samplePlan(), EXIT.done),
      statusToJson(seen),
      seen.nodes[0] ?? {},
      seen.lastRun ?? {},
      errorToJson(new UsageError('x'), EXIT.usage, '0'),
      validationToJson({ file: 'a.yaml', diagnostics: [] }, EXIT.usage),
      lockToJson(LOCK),
      lockToJson({ ...LOCK, held: false, freedBy: 'ann@laptop' }),
      insecureToJson({ message: 'm', told: [], unreached: [] }),
    ];
    const missing = objects
      .flatMap((object) => Object.keys(object))
      .filter((key) => !new RegExp(`[\`.]${key}\\b`).test(page));
    expect(missing).toEqual([]);
    for (const code of Object.values(EXIT)) expect(page).toContain(`\`${exitName(code)}\``);
  });
});

describe('the state of a node', () => {
  const env = (saved: 'A' | 'B' | undefined, next?: 'A' | 'B') => ({
    path: '/boot/grub2/grubenv',
    ...(saved === undefined ? {} : { saved }),
    ...(next === undefined ? {} : { next }),
  });
  const state = (changes: Parameters<typeof observation>[3]) => {
    const seen = observation('B', 'KubeOS 1.0.0', 'KubeOS 2.0.0', changes);
    const row = statusReport([clusterNode('a')], new Map([['a', seen]]), undefined, 0).nodes[0];
    return [row?.state, row?.nextBoot];
  };

  it.each([
    ['saved where it runs', { bootEnv: env('B') }, ['committed', 'B']],
    ['armed for the other slot', { bootEnv: env('B', 'A') }, ['armed', 'A']],
    ['on a trial of a run', { bootEnv: env('A'), journal: journal({ phase: 'armed' }) }, ['trial', 'A']],
    ['proven, not yet committed', { bootEnv: env('A'), journal: journal({ phase: 'proven' }) }, ['trial', 'A']],
    ['in a slot that someone chose', { bootEnv: env('A'), journal: journal() }, ['booted by hand', 'A']],
    ['with no saved entry: GRUB boots its first', { bootEnv: env(undefined) }, ['booted by hand', 'A']],
    [
      'with a boot environment that cannot be trusted',
      { bootEnv: { ...env('B'), problem: '1023 bytes' } },
      ['unknown', undefined],
    ],
  ] as const)('%s', (_what, changes, expected) => {
    expect(state(changes)).toEqual(expected);
  });

  describe('of a slot with a record', () => {
    const record = { version: 'KubeOS 1.0.0', sha256: 'ab'.repeat(32), verifiedAt: 1_700_000_000 };
    const other = (recordHolds: boolean, verifiedAt = record.verifiedAt) => {
      const recorded = slotFacts('A', 'KubeOS 1.0.0', { record: { ...record, verifiedAt }, recordHolds });
      const seen = observation('B', '', '', { slots: { A: recorded, B: slotFacts('B', 'KubeOS 2.0.0') } });
      return statusReport([clusterNode('a')], new Map([['a', seen]]), undefined, 0).nodes[0]?.otherSlot;
    };

    it('has a digest only where the record still holds', () => {
      expect(other(true)).toMatchObject({ sha256: record.sha256, verifiedAt: '2023-11-14T22:13:20.000Z' });
      expect(other(false)).not.toHaveProperty('sha256');
    });

    it.each([0, 999_999_999_999_999])('says no time that no clock can have said (%d)', (verifiedAt) => {
      expect(other(true, verifiedAt)).toMatchObject({ sha256: record.sha256 });
      expect(other(true, verifiedAt)).not.toHaveProperty('verifiedAt');
    });
  });
});

describe('several reports', () => {
  it('all get every event, even after one that throws', () => {
    const seen: RolloutEvent[][] = [[], []];
    const failing = {
      event: () => {
        throw new Error('full');
      },
    };
    const report = combineReports([
      { event: (one) => seen[0]?.push(one) },
      failing,
      { event: (one) => seen[1]?.push(one) },
    ]);
    const notice = event('12:00:00', 'notice', { message: 'x' });
    report.event(notice);
    expect(seen).toEqual([[notice], [notice]]);
  });
});
