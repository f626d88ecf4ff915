import { describe, expect, it } from 'vitest';
import { ApiUnreachableError, KubeosError, LockHeldError } from '../../../src/errors.ts';
import { renderError } from '../../../src/report/error-screen.ts';
import { renderConfirm, renderPlan } from '../../../src/report/plan-screen.ts';
import { renderResult } from '../../../src/report/result-screen.ts';
import { renderStatus } from '../../../src/report/status-screen.ts';
import { refuseImage } from '../../../src/rollout/look.ts';
import { statusReport } from '../../../src/report/status.ts';
import { width } from '../../../src/report/text.ts';
import type { NodeObservation, SlotFacts } from '../../../src/rollout/facts.ts';
import type { PlanEntry, SlotTrust } from '../../../src/rollout/plan-types.ts';
import type { DrainObstacle } from '../../../src/rollout/ports.ts';
import {
  at,
  clusterNode,
  DISPLAY,
  entry,
  journal,
  nodeResult,
  observation,
  plan,
  rollbackPlan,
  rolloutResult,
  RUN,
  samplePlan,
  preflightPlan,
  screen,
  screenNames,
  slotFacts,
  upgraded,
} from './fixtures.ts';

const COMMAND = 'kubeos upgrade -f upgrade.yaml';

describe('docs/screens.md', () => {
  it('has no line wider than 80 columns, but for the log of a pipeline', () => {
    for (const name of screenNames().filter((one) => !one.endsWith('plain'))) {
      for (const line of screen(name)) expect(width(line), `${name}: ${line}`).toBeLessThanOrEqual(80);
    }
  });
});

describe('the plan', () => {
  it('says what will happen to which node, and what stands in the way', () => {
    expect(renderPlan(samplePlan(), DISPLAY, { dryRun: true, command: COMMAND, exitCode: 3 })).toEqual(screen('plan'));
  });

  it('puts a refusal of the whole run first', () => {
    const refusal = {
      what: 'KubeOS 1.0.0 -> KubeOS 2.0.0 crosses a major version',
      reason: 'KubeOS does not support upgrades across major versions',
      next: 'insist with --allow-major',
    };
    const lines = renderPlan(plan({ refusals: [refusal] }), DISPLAY, { dryRun: true, command: COMMAND });
    expect(lines).toEqual(screen('plan-refused'));
  });

  it('says that there is nothing to do', () => {
    const already = ['worker-1', 'worker-2'].map((node) => ({ node, now: 'KubeOS 2.0.0', notes: [] }));
    const lines = renderPlan(plan({ entries: [], already }), DISPLAY, { dryRun: true, command: COMMAND });
    expect(lines).toEqual(screen('plan-nothing'));
  });

  it('shows what preflight found, once for what nodes share', () => {
    expect(renderPlan(preflightPlan(), DISPLAY, { dryRun: true, command: COMMAND, exitCode: 3 })).toEqual(
      screen('plan-preflight'),
    );
  });

  it('shows how the image comes to each node', () => {
    const vias = ['curl', 'curl', 'wget', 'ssh'] as const;
    const entries = vias.map((via, index) => entry(`worker-${index + 1}`, 7, { via, canary: index === 0 }));
    const lines = renderPlan(plan({ entries }), DISPLAY, { dryRun: true, command: COMMAND });
    expect(lines).toEqual(screen('plan-ways'));
  });

  it('says whose slots are written as the image arrives, and what that gives up, in the question too', () => {
    const streamed = { via: 'curl', stream: true, loses: 'KubeOS 0.9.1' } as const;
    const entries = [entry('worker-1', 7, { via: 'curl', canary: true }), entry('worker-2', 7, streamed)];
    const lines = renderPlan(plan({ entries }), DISPLAY, { dryRun: true, command: `${COMMAND} --stream` });
    expect(lines).toEqual(screen('plan-stream'));
    expect([renderConfirm(plan({ entries }))]).toEqual(screen('confirm-stream'));
  });

  it('shows the kind of an image that no node could take before everything else', () => {
    const seen = { ...preflightPlan().image!.seen!, from: 'worker-1', content: 'disk' as const };
    const refusals = refuseImage({ seen, noWay: new Map() });
    const made = plan({ refusals, image: { ...plan().image!, seen } });
    expect(renderPlan(made, DISPLAY, { dryRun: true, command: COMMAND })).toEqual(screen('plan-image'));
  });

  it('names no more than a few reasons where each node has its own', () => {
    const warned = Array.from({ length: 9 }, (_, index) =>
      entry(`n-${index}`, 1, { warnings: [{ what: 'its clock is off', reason: `by ${index}m` }] }),
    );
    const lines = renderPlan(plan({ entries: warned }), DISPLAY, { dryRun: false });
    expect(lines.slice(-6)).toEqual([
      '    cause  n-0: by 0m',
      '           n-1: by 1m',
      '           n-2: by 2m',
      '           n-3: by 3m',
      '           n-4: by 4m',
      '           and 4 more',
    ]);
  });

  it('says what a trial that fails would end in, unless that is proven on every node', () => {
    const back = (...verdicts: (PlanEntry['fallback'] | undefined)[]): string[] => {
      const entries = verdicts.map((fallback, index) => entry(`n-${index}`, 1, fallback && { fallback }));
      const lines = renderPlan(plan({ entries }), DISPLAY, { dryRun: false });
      const from = lines.findIndex((line) => line.startsWith('  back'));
      return from < 0 ? [] : lines.slice(from, lines.indexOf('', from));
    };
    expect(back('proven', 'proven', undefined)).toEqual([]);
    expect(back('likely', 'likely')).toEqual([
      '  back   a trial that fails most likely ends by itself: no boot has shown yet',
      '         that GRUB can clear next_entry',
    ]);
    expect(back('none', 'proven', 'proven')).toEqual([
      '  back   a trial that fails does not end by itself, on n-0',
      '         a trial that fails ends by itself: GRUB was seen to clear next_entry,',
      '         on n-1, n-2',
    ]);
  });

  it('says which trials go by a managed boot', () => {
    const boot = (...managed: boolean[]): string[] => {
      const entries = managed.map((is, index) => entry(`n-${index}`, 1, is ? { managedBoot: true } : {}));
      const lines = renderPlan(plan({ entries }), DISPLAY, { dryRun: false });
      const from = lines.findIndex((line) => line.startsWith('  boot'));
      return from < 0 ? [] : lines.slice(from, lines.indexOf('', from));
    };
    expect(boot(false, false)).toEqual([]);
    expect(boot(true, true)).toEqual([
      '  boot   managed: a slot that GRUB cannot load leads back too, and an initramfs',
      '         that halts',
    ]);
    expect(boot(true, false)).toEqual([
      '  boot   managed on n-0: a slot that GRUB cannot load leads back too, and an',
      '         initramfs that halts',
    ]);
  });

  it('shows a rollback without an image', () => {
    const lines = renderPlan(rollbackPlan(), DISPLAY, { dryRun: true, command: 'kubeos rollback --to-previous' });
    expect(lines).toEqual(screen('plan-rollback'));
  });

  it('names the nodes where not the same vouches for the slots that a rollback leads to', () => {
    const { entries, ...rest } = rollbackPlan();
    const trusts: readonly SlotTrust[] = [
      { basis: 'recorded digest', verifiedAt: '2026-11-20T09:30:00.000Z' },
      { basis: 'recorded digest', verifiedAt: '2026-11-20T09:30:00.000Z', changed: true },
      { basis: 'content only', verifiedAt: '2026-11-21T09:30:00.000Z' },
      { basis: 'content only' },
    ];
    const pods = [7, 5, 4, 6];
    const mixed = trusts.map((trust, index) => {
      const drain = { pods: pods[index] ?? 0, obstacles: [] };
      return { ...entries[0]!, node: `worker-${index + 1}`, canary: index === 0, trust, drain };
    });
    const lines = renderPlan({ ...rest, leftOut: [], already: [], entries: mixed }, DISPLAY, {
      dryRun: true,
      command: 'kubeos rollback -f rollback.yaml',
    });
    expect(lines).toEqual(screen('plan-rollback-trust'));
  });

  it('does not say that nothing was changed where it is about to ask', () => {
    const lines = renderPlan(samplePlan(), DISPLAY, { dryRun: false, command: COMMAND });
    expect(lines.join('\n')).not.toContain('Nothing was changed');
  });

  it('tells nodes that are down, adopted, fallen back or resumed', () => {
    const slotB = { ...entry('n', 0).assignment, from: 'B', target: 'B' } as const;
    const entries = [
      entry('down', 1, { alreadyDown: true }),
      entry('adopted', 1, { adopt: true, assignment: slotB, firstStep: 'prove' }),
      entry('returned', 1, { fellBackEarlier: true, firstStep: 'uncordon' }),
      entry('left', 0, { firstStep: 'uncordon' }),
    ];
    expect(renderPlan(plan({ entries }), DISPLAY, { dryRun: false }).slice(5)).toEqual([
      '  #  NODE      RUNS          SLOT    DRAIN   NOTE',
      '  1  down      KubeOS 1.0.0  A -> B  1 pod   down already',
      '  2  adopted   KubeOS 1.0.0  B       1 pod   commit only',
      '  3  returned  KubeOS 1.0.0  A       1 pod   fell back earlier',
      '  4  left      KubeOS 1.0.0  B       0 pods  only tidied up',
    ]);
  });

  it('says once what keeps several nodes, or several of their pods, back', () => {
    const blocked = (node: string) => ({
      node,
      now: 'KubeOS 1.0.0',
      unreachable: false,
      findings: [{ what: 'it has no curl to fetch the image with', next: 'put curl on the node' }],
    });
    const held = (pod: string): DrainObstacle => ({
      kind: 'finalizer',
      verdict: 'waits',
      pod: `shop/${pod}`,
      message: 'its finalizer x/y keeps it until whoever set it takes it off',
      remedy: 'it is waited for (--drain-timeout)',
    });
    const drain = { pods: 12, obstacles: ['a', 'b', 'c', 'd'].map(held) };
    const made = plan({ entries: [entry('a', 12, { drain })], notStarted: ['b', 'c'].map(blocked) });
    const lines = renderPlan(made, DISPLAY, { dryRun: false });
    expect(lines.slice(5)).toEqual([
      '  #  NODE  RUNS          SLOT    DRAIN',
      '  1  a     KubeOS 1.0.0  A -> B  12 pods, waits (1)',
      '',
      '(1) a: 4 pods: shop/a, shop/b … and 2 more',
      '      cause  its finalizer x/y keeps it until whoever set it takes it off',
      '      next   it is waited for (--drain-timeout)',
      '',
      '✗ b, c cannot be started: it has no curl to fetch the image with',
      '    next  put curl on the node',
    ]);
  });

  it('leaves a long command in one piece, on a line of its own', () => {
    const command = `kubeos upgrade -f upgrade.yaml --nodes ${'worker-1,'.repeat(12)}worker-2`;
    const lines = renderPlan(samplePlan(), DISPLAY, { dryRun: true, command });
    expect(lines.slice(-2)).toEqual(['Nothing was changed. To do it:', `  ${command}`]);
  });

  it('asks for no version where nobody could be asked what to go back to', () => {
    const lost = { node: 'a', now: 'KubeOS 1.0.0', unreachable: true, findings: [{ what: 'a:22 does not answer' }] };
    const [first] = renderPlan(plan({ version: '', entries: [], notStarted: [lost] }), DISPLAY, { dryRun: false });
    expect(first).toBe('No node can be started: none of 1 could be asked what to go back to.');
  });

  it('ends with the exit code where no node can be started', () => {
    const lost = { node: 'a', now: 'KubeOS 1.0.0', unreachable: true, findings: [{ what: 'a:22 does not answer' }] };
    for (const dryRun of [true, false]) {
      const lines = renderPlan(plan({ entries: [], notStarted: [lost] }), DISPLAY, { dryRun });
      expect(lines).toEqual([
        'No node can be started: 1 of 1 should become KubeOS 2.0.0.',
        '',
        '✗ a cannot be started: a:22 does not answer',
        '',
        'Exit 10: the API, or every node, cannot be reached or refuses the login.',
      ]);
    }
  });

  it('wraps a long node name instead of cutting it', () => {
    const node = 'ip-10-0-1-23.a-rather-long-region-name.compute.a-rather-long-domain.internal';
    const lines = renderPlan(plan({ entries: [entry(node, 7)] }), DISPLAY, { dryRun: false });
    const table = lines.slice(lines.findIndex((line) => line.includes('NODE')) + 1);
    const end = lines.find((line) => line.includes('NODE'))?.indexOf('RUNS');
    expect(table.map((line) => line.slice(5, end).trim()).join('')).toBe(node);
    for (const line of lines) expect(width(line)).toBeLessThanOrEqual(80);
  });
});

describe('the question', () => {
  it('says what a yes means', () => {
    expect([renderConfirm(samplePlan())]).toEqual(screen('confirm'));
  });

  it('counts only the nodes that are rebooted', () => {
    const entries = [entry('a', 1), entry('b', 1, { firstStep: 'prove' }), entry('c', 1, { firstStep: 'uncordon' })];
    expect(renderConfirm(plan({ entries }))).toBe('Write, drain and reboot 1 node, tidy up 2 more? [y/N] ');
  });

  it('does not speak of reboots where there are none', () => {
    expect(renderConfirm(plan({ entries: [entry('a', 1, { adopt: true })] }))).toBe('Tidy up 1 node? [y/N] ');
  });
});

describe('the result', () => {
  const done = [upgraded('worker-1', 171_000, 62_000), upgraded('worker-2', 184_000, 70_000)];
  const already = nodeResult('worker-5', 'already there', { now: 'KubeOS 2.0.0' });

  it('puts failures first, then counts, then the exit code in words', () => {
    const reason = 'slot A booted, but it was not healthy within 10m: kubelet not Ready';
    const fellBack = nodeResult('worker-3', 'fell back', {
      now: 'KubeOS 1.0.0',
      slot: 'B',
      step: 'prove',
      what: 'healthy and in service again',
      reason,
      logTail: [
        'Nov 23 12:11:02 worker-3 kubeos: reboot to the trial of slot A (KubeOS 2.0.0)',
        '2026-11-23T12:21:07.120734+00:00 worker-3 kubeos[812]: sent back: reboot to slot B',
        `Nov 23 12:22:11 worker-3 kubeos: fell-back: ${reason}`,
      ],
      next: 'mend the image or the node, then give the same command again; the same image needs --retry-failed-image',
      tookMs: 700_000,
    });
    const stopped = 'after 1 failure (--max-failures 1)';
    const waiting = nodeResult('worker-4', 'not started', { what: `not started: stopped ${stopped}`, next: 'again' });
    const result = rolloutResult([...done, fellBack, waiting, already], { exitCode: 5, stopped, tookMs: 1_023_000 });
    const logDir = `/home/ci/.local/state/kubeos/runs/${RUN}`;
    expect(renderResult(result, DISPLAY, { command: COMMAND, logDir })).toEqual(screen('result'));
  });

  it('is short where all is well', () => {
    const more = [upgraded('worker-3', 171_000, 62_000), upgraded('worker-4', 184_000, 70_000)];
    const result = rolloutResult([...done, ...more, already], { tookMs: 680_000 });
    expect(renderResult(result, DISPLAY, { command: COMMAND })).toEqual(screen('result-ok'));
  });

  it('puts a node that needs hands before one that failed, and that before one that fell back', () => {
    const results = (['fell back', 'failed', 'needs hands'] as const).map((outcome) =>
      nodeResult(outcome.replace(' ', '-'), outcome),
    );
    const lines = renderResult(rolloutResult(results, { exitCode: 6 }), DISPLAY, { command: COMMAND });
    expect(lines.filter((line) => line.startsWith('✗')).map((line) => line.split(' ')[1])).toEqual([
      'needs-hands',
      'failed',
      'fell-back',
    ]);
  });

  it('says of nodes that were stopped on their way how they are left, once for all that are left alike', () => {
    const left =
      'it runs slot B on trial: any reset brings it back to slot A, and so does the node by itself 15m after its last ' +
      'sign of life from kubeos; the node is left cordoned by this run';
    const stopped = {
      step: 'prove',
      what: 'interrupted during prove',
      left,
      next: AGAIN,
      logTail: ['a line'],
    } as const;
    const idle = { what: 'not started: the run was interrupted', next: 'give the same command again' };
    const results = [
      ...['worker-1', 'worker-2'].map((node) => nodeResult(node, 'interrupted', stopped)),
      nodeResult('worker-3', 'not started', idle),
    ];
    const result = rolloutResult(results, { exitCode: 130, stopped: 'interrupted', tookMs: 192_000 });
    expect(renderResult(result, DISPLAY, { command: COMMAND })).toEqual(screen('result-interrupted'));
  });

  it('lists nodes by name, whatever order they came to their end in', () => {
    const names = ['worker-10', 'worker-3', 'worker-2'];
    const lines = renderResult(
      rolloutResult(
        names.map((node) => nodeResult(node, 'not started', { what: 'no room' })),
        { exitCode: 3 },
      ),
      DISPLAY,
      { command: COMMAND },
    );
    expect(lines.filter((line) => line.includes('worker-3'))).toEqual([
      '- worker-2, worker-3, worker-10  not started',
      '  not started  3  worker-2, worker-3, worker-10',
    ]);
  });

  it('says what hundreds of nodes have in common once', () => {
    const results = Array.from({ length: 300 }, (_, index) =>
      nodeResult(`node-${index}`, 'not started', { reason: 'the run stopped first' }),
    );
    const lines = renderResult(rolloutResult(results, { exitCode: 3 }), DISPLAY, { command: COMMAND });
    expect(lines.length).toBeLessThan(20);
    expect(lines.join(' ')).toContain('and 281 more');
    expect(lines.filter((line) => line.includes('the run stopped first'))).toHaveLength(1);
  });

  it('offers to carry on only where that helps', () => {
    const refused = rolloutResult([nodeResult('a', 'not started')], { exitCode: 4 });
    expect(renderResult(refused, DISPLAY, { command: COMMAND }).at(-1)).toBe(
      'Exit 4: refused by preflight or forecast; nothing was changed.',
    );
    const interrupted = rolloutResult([nodeResult('a', 'not started')], { exitCode: 130, tookMs: 5000 });
    expect(renderResult(interrupted, DISPLAY, { command: COMMAND }).slice(-3)).toEqual([
      'KubeOS 2.0.0: the node does not run it, after 5s.',
      'Exit 130: interrupted.',
      `To carry on: ${COMMAND}`,
    ]);
    expect(renderResult(rolloutResult([]), DISPLAY, { command: COMMAND })).toEqual([
      '✓ KubeOS 2.0.0: no node was to be changed.',
    ]);
  });

  it('does not tell to give the same command again for nodes that must be mended first', () => {
    const fellBack = nodeResult('a', 'fell back', { next: 'mend the image' });
    const lines = renderResult(rolloutResult([fellBack], { exitCode: 5 }), DISPLAY, { command: COMMAND });
    expect(lines.join('\n')).not.toContain('To carry on');
  });

  it('shows of a log what this run did, and only its last lines', () => {
    const line = (text: string) => `Nov 23 12:00:00 a kubeos: ${text}`;
    const logTail = [line('an older run'), line(`upgrade to KubeOS 2.0.0 begins: slot B, run ${RUN}`)];
    const failed = (more: readonly string[]) =>
      renderResult(
        rolloutResult([nodeResult('a', 'failed', { logTail: [...logTail, ...more.map(line)] })], { exitCode: 3 }),
        DISPLAY,
        { command: COMMAND },
      ).slice(0, 6);
    expect(failed([])[1]).toBe('');
    expect(failed(['1', '2', '3', '4', '5'])).toEqual([
      '✗ a  failed',
      '    log  12:00:00 2',
      '         12:00:00 3',
      '         12:00:00 4',
      '         12:00:00 5',
      '         (all of it: kubeos logs a)',
    ]);
  });

  it('points to where all of the log is: what kubectl said is in the log folder, and on no node', () => {
    const change = { logTail: ['error: unable to drain node "a"'], saidToRun: true } as const;
    const result = rolloutResult([nodeResult('a', 'failed', change)], { exitCode: 3 });
    const logFile = (node: string) => `/runs/1/${node}.log`;
    const lines = renderResult(result, DISPLAY, { command: COMMAND, logDir: '/runs/1', logFile });
    expect(lines[2]).toBe('         (all of it: /runs/1/a.log)');
    expect(renderResult(result, DISPLAY, { command: COMMAND }).join('\n')).not.toContain('all of it');
  });

  it('names the log folder', () => {
    const lines = renderResult(rolloutResult(done), DISPLAY, { command: COMMAND, logDir: '/home/u/runs/1' });
    expect(lines.at(-1)).toBe('Logs: /home/u/runs/1');
  });
});

const AGAIN = 'give the same command again: it carries on from here';

describe('the status', () => {
  const [v09, v1, v2] = ['KubeOS 0.9.1', 'KubeOS 1.0.0', 'KubeOS 2.0.0'] as const;
  const noRoute = new KubeosError('10.1.0.15:22 cannot be reached', 10, {
    reason: 'connect: no route to host',
    next: "look at the node's console",
    node: 'worker-5',
  });
  const nodes = [
    clusterNode('cp-1', { controlPlane: true }),
    clusterNode('worker-1', { osImage: v2 }),
    clusterNode('worker-2', { osImage: v2 }),
    clusterNode('worker-3'),
    clusterNode('worker-4', {
      ready: false,
      notReadyBecause: 'NodeStatusUnknown: Kubelet stopped posting node status.',
      cordoned: true,
      record: { run: RUN, token: 3, operation: 'upgrade', version: v2, step: 'reboot', cordon: 'ours' },
    }),
    clusterNode('worker-5', { osImage: v2 }),
  ];
  const observations = new Map<string, NodeObservation | KubeosError>([
    ['cp-1', observation('A', v1, v09)],
    ['worker-1', observation('B', v1, v2, { journal: journal() })],
    ['worker-2', observation('B', v1, v2, { journal: journal() })],
    [
      'worker-3',
      observation('B', v2, v1, {
        slots: { A: slotFacts('A', v2, { failedTrial: true }), B: slotFacts('B', v1) },
        journal: journal({ phase: 'fell-back', reason: 'kubelet not Ready for 10m' }),
      }),
    ],
    [
      'worker-4',
      observation('A', v1, v2, {
        bootEnv: { path: '/boot/grub2/grubenv', saved: 'A', next: 'B' },
        journal: journal({ phase: 'armed' }),
      }),
    ],
    ['worker-5', noRoute],
  ]);
  const lock = {
    held: false,
    holder: 'ci@runner-7, pid 4121',
    what: 'upgrade to KubeOS 2.0.0',
    run: RUN,
    acquiredAt: '2026-11-23T12:03:44Z',
    renewedAt: '2026-11-23T12:20:00Z',
    durationMs: 60_000,
    token: 3,
    version: '7',
  };

  it('shows where every node stands, and what a run left behind', () => {
    const report = statusReport(nodes, observations, lock, at('12:24:30'));
    expect(renderStatus(report, DISPLAY, { wide: false, ssh: true })).toEqual(screen('status'));
  });

  it('shows more when asked for, as wide as it needs to be', () => {
    const seen = observations.get('worker-1') as NodeObservation;
    const fallback = { verdict: 'proven', because: 'GRUB has cleared what it was told for one boot' } as const;
    const managedBoot = { state: 'yes' } as const;
    const { A, B } = seen.slots ?? {};
    if (A === undefined || B === undefined) throw new Error('worker-1 has no slots');
    const byTag = {
      version: 'KubeOS 2.0.0',
      sha256: 'd'.repeat(64),
      tag: '10.0.0.5:5000/os/kubeos:2.0.0',
      verifiedAt: 0,
    };
    const slots = { A: { ...A, content: 'dirty' } as const, B: { ...B, record: byTag, recordHolds: true } };
    const observed = new Map(observations).set('worker-1', { ...seen, slots, fallback, managedBoot });
    const report = statusReport(nodes.slice(1, 2), observed, undefined, at('12:24:30'));
    expect(renderStatus(report, DISPLAY, { wide: true, ssh: true })).toEqual([
      'NODE      READY  OS            SLOT  OTHER SLOT    NEXT BOOT  STATE      FALLBACK         KERNEL      ARCH   DEVICE     IMAGE         OTHER DEVICE  OTHER IMAGE',
      'worker-1  yes    KubeOS 2.0.0  B     not verified  B          committed  proven, managed  5.10.0-216  amd64  /dev/vda3  kubeos:2.0.0  /dev/vda2     -',
    ]);
    // Nothing has that digest.
    expect(JSON.stringify(report)).not.toContain(byTag.sha256);
  });

  it('has nothing to explain about the empty slots of a fresh install', () => {
    const empty: SlotFacts = { ...slotFacts('B', ''), content: 'unbootable', problem: 'it has no kernel' };
    delete empty.version;
    const seen = observation('A', v1, '', { slots: { A: slotFacts('A', v1), B: empty } });
    const fresh = ['worker-1', 'worker-2'];
    const observed = new Map(fresh.map((node) => [node, seen]));
    const nodesOf = fresh.map((node) => clusterNode(node));
    const render = (wide: boolean) =>
      renderStatus(statusReport(nodesOf, observed, undefined, 0), DISPLAY, { wide, ssh: true });
    expect(render(false)).toEqual([
      'NODE      READY  OS            SLOT  OTHER SLOT  NEXT BOOT',
      'worker-1  yes    KubeOS 1.0.0  A     nothing     A',
      'worker-2  yes    KubeOS 1.0.0  A     nothing     A',
    ]);
    expect(render(true).at(-1)).toBe('worker-1, worker-2: slot B: it has no kernel');
  });

  it.each([
    [754_000, '; without a sign of life from kubeos, in 12m'],
    [9_500, '; without a sign of life from kubeos, in 9s'],
    [undefined, ''],
  ])('tells when a trial goes back by itself, %s ms ahead', (deadManMs, byItself) => {
    const seen = observation('B', v1, v2, {
      bootEnv: { path: '/boot/grub2/grubenv', saved: 'A' },
      journal: journal({ phase: 'armed', armedBootId: 'another boot' }),
      ...(deadManMs === undefined ? {} : { deadManMs }),
    });
    const report = statusReport(nodes.slice(1, 2), new Map([['worker-1', seen]]), undefined, 0);
    expect(report.nodes[0]?.deadManMs).toBe(deadManMs);
    expect(renderStatus(report, { ...DISPLAY, columns: 120 }, { wide: false, ssh: true }).at(-1)).toBe(
      `worker-1: slot B is on trial: a reset returns to slot A${byItself}`,
    );
  });

  it.each([
    ['not started', 'stage', {}],
    ['not started', 'verify', {}],
    ['left at stage', 'stage', { journal: journal({ phase: 'started' }) }],
    ['left at verify', 'verify', { journal: journal({ phase: 'started' }) }],
    ['left at drain', 'drain', {}],
  ] as const)(
    'tells a node that a dead run has only marked from one that it began on: %s, %s',
    (words, step, changes) => {
      const record = { run: RUN, token: 3, operation: 'upgrade', version: v2, step, cordon: 'none' } as const;
      const observed = new Map([['worker-1', observation('A', v1, v2, changes)]]);
      const report = statusReport([clusterNode('worker-1', { record })], observed, lock, 0);
      const lines = renderStatus(report, { ...DISPLAY, columns: 120 }, { wide: false, ssh: true });
      expect(lines[1]).toMatch(new RegExp(`${words}$`));
      expect(lines[3]).toBe(`worker-1: the upgrade to KubeOS 2.0.0 was ${words} by run ${RUN}`);
    },
  );

  it.each([
    [true, 'worker-1: its detached step verify runs'],
    [false, undefined],
  ])('tells of a detached step only while it runs: %s', (running, line) => {
    const seen = observation('A', v1, v2, { detached: { step: 'verify', job: 'j-1', running } });
    const report = statusReport([clusterNode('worker-1')], new Map([['worker-1', seen]]), undefined, 0);
    expect(renderStatus(report, DISPLAY, { wide: false, ssh: true })[3]).toBe(line);
  });

  it('says once what is the same of several nodes', () => {
    const error = new KubeosError('the login was refused', 10, { reason: 'no key fits', next: 'give a key' });
    const observed = new Map(['worker-1', 'worker-2'].map((node) => [node, error]));
    const lines = renderStatus(statusReport(nodes.slice(1, 3), observed, undefined, 0), DISPLAY, {
      wide: false,
      ssh: true,
    });
    expect(lines.slice(4)).toEqual([
      'worker-1, worker-2: the login was refused',
      '    cause  no key fits',
      '    next   give a key',
    ]);
  });

  it('works without SSH, and says so', () => {
    const report = statusReport(nodes.slice(0, 1), new Map(), undefined, 0);
    expect(renderStatus(report, DISPLAY, { wide: false, ssh: false })).toEqual([
      'NODE  READY  OS            SLOT  OTHER SLOT  NEXT BOOT  NOTE',
      'cp-1  yes    KubeOS 1.0.0  ?     ?           ?          control plane',
      '',
      '? not asked for: --no-ssh',
    ]);
  });

  it('says of a run that shows no sign of life for how long, and that it is not at work', () => {
    const silent = { ...lock, held: true, silentMs: 270_000 };
    const report = statusReport(nodes.slice(4, 5), observations, silent, at('12:24:30'));
    expect(report.lastRun).toMatchObject({ running: false, silentMs: 270_000 });
    const text = renderStatus(report, DISPLAY, { wide: false, ssh: true }).join('\n');
    expect(text).toContain('No sign of life for 4m: upgrade to KubeOS 2.0.0, by ci@runner-7, pid 4121');
    expect(text).toMatch(/left at\s+reboot/);
    expect(text).toContain('next  kubeos upgrade');
  });

  it('tells a run that is still at work', () => {
    const report = statusReport(nodes.slice(4, 5), observations, { ...lock, held: true }, at('12:20:10'));
    const text = renderStatus(report, DISPLAY, { wide: false, ssh: true }).join('\n');
    expect(text).toMatch(/cordoned, at\s+reboot, armed/);
    expect(text).toContain('Running: upgrade to KubeOS 2.0.0, by ci@runner-7, pid 4121');
    expect(text).not.toContain('next  kubeos');
  });
});

describe('an error', () => {
  it('names the holder of the lock and the way out', () => {
    const error = new LockHeldError('another run holds the lock', {
      reason: [
        'who    ci@runner-7, pid 4121, https://ci.example/jobs/981',
        'since  2026-11-23T12:01:55.000000Z (9m ago), last sign of life 6s ago',
        'what   upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
      ].join('\n'),
      next: [
        'wait for it: --lock-wait 30m, or look: kubeos status',
        'one that died gives it up by itself after 60s; where you know that it is dead, free it at once:',
        'kubeos lock release',
      ].join('\n'),
    });
    expect(renderError(error, DISPLAY, '0.1.0')).toEqual(screen('error-lock'));
  });

  it('leaves a command to be copied in one piece', () => {
    const error = new KubeosError('its host key is not known', 10, {
      node: 'worker-2',
      reason: '10.1.0.12:22 offered ED25519 SHA256:q0mB7xJ4kQh1W2aV3cN5dR6eT8fY9gU0hI1jK2lM9XE',
      next: "compare it with the node's console, then:\n  ssh-keyscan -t ed25519 10.1.0.12 >> ~/.ssh/known_hosts\nor trust the first contact: --accept-new-host-keys",
    });
    expect(renderError(error, DISPLAY, '0.1.0')).toEqual(screen('error-host-key'));
  });

  it('of a login names where, whose and why', () => {
    const refused = new ApiUnreachableError('the cluster refuses the login', {
      reason:
        'https://10.0.0.1:6443 does not accept the client certificate in /home/ci/prod.crt of user ci (context prod), ' +
        'which expired on 2026-11-20 08:00 UTC: Unauthorized',
      next: 'get a new login into the kubeconfig, then give the same command again',
    });
    expect(renderError(refused, DISPLAY, '0.1.0')).toEqual(screen('error-login'));
    const plugin = new ApiUnreachableError('the login plugin gives no login, or the API cannot be reached', {
      reason:
        'your session has ended: corp login\ngetting credentials: exec: executable corp failed with exit code 1\n' +
        'plugin  corp\nserver  https://10.0.0.1:6443 (context prod)',
      next: 'sign in, or mend the connection, until this works:\n  kubectl get --raw=/version',
    });
    expect(renderError(plugin, DISPLAY, '0.1.0')).toEqual(screen('error-plugin'));
  });

  it('that is not known is a bug, with its stack and how to report it', () => {
    const error = new TypeError("cannot read 'x' of undefined");
    error.stack = `${String(error)}\n    at plan (src/rollout/plan.ts:10:3)\n    at main (src/main.ts:20:5)`;
    const lines = renderError(error, DISPLAY, '0.1.0');
    const here = `node ${process.version} on ${process.platform} ${process.arch}`;
    expect(lines.slice(0, -1)).toEqual(screen('error-bug').slice(0, -1));
    expect(lines.at(-1)).toBe(`           kubeos 0.1.0, ${here}`);
  });

  it('shows its node, step and log, and never a secret or an escape sequence', () => {
    const error = new KubeosError('the image server did not deliver', 3, {
      node: 'worker-1',
      step: 'stage',
      reason: 'GET https://me:hunter2@10.0.0.5/update.img: 403',
      logTail: ['\u001b[31mred\u001b[0m\u0007 and \u202eevil'],
    });
    expect(renderError(error, DISPLAY, '0.1.0')).toEqual([
      '✗ worker-1: the image server did not deliver',
      '    step   stage',
      '    cause  GET https://***@10.0.0.5/update.img: 403',
      '    log    red and evil',
      '           (all of it: kubeos logs worker-1)',
    ]);
  });

  it('whatever was thrown', () => {
    for (const thrown of [undefined, null, 'text', 7, { circular: {} }]) {
      expect(renderError(thrown, DISPLAY, '0.1.0')[0]).toMatch(/^✗ a bug in kubeos: /);
    }
  });
});
