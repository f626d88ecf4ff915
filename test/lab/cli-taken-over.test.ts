import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FaultKind } from '../../src/lab/faults.ts';
import type { Step } from '../../src/rollout/steps.ts';
import { type CliBed, nodeOf, startCliBed } from './cli-bed.ts';
import { type Running, until } from './lab-bed.ts';
import {
  asFromElsewhere,
  ended,
  freeze,
  lockHolder,
  lockLease,
  otherHome,
  traces,
  untilEnded,
  writers,
} from './lock-bed.ts';

let bed: CliBed;
const NODE = 'worker-1';

beforeAll(async () => {
  bed = await startCliBed();
});

afterEach(async () => {
  await bed.fresh(NODE, 'worker-2');
});

afterAll(async () => {
  await bed.stop();
});

const command = (...flags: readonly string[]): string[] => [
  ...['upgrade', '-f', bed.lab.paths.spec, '-y', '-o', 'json', '--nodes', NODE],
  ...flags,
];

interface Moment {
  step: Step;
  fault?: FaultKind;
  /** What else must be so before it is frozen. */
  when?: () => Promise<boolean>;
  flags?: readonly string[];
}

async function frozenAt({ step, fault, when, flags = [] }: Moment): Promise<Running> {
  if (fault !== undefined) await bed.lab.setFault(NODE, fault);
  const running = bed.start(command(...flags));
  await Promise.race([
    bed.untilStep(NODE, step),
    running.done.then(({ stderr }) => Promise.reject(new Error(`it ended before ${step}:\n${stderr}`))),
  ]);
  if (when !== undefined) await until(when);
  await freeze(running);
  return running;
}

async function heal(): Promise<void> {
  bed.lab.api.setNode(NODE, { ready: true });
  await bed.lab.clearFault(NODE);
}

/** The annotation says `stage` before the run has looked at the node. */
const begun = async (): Promise<boolean> =>
  (await readdir(path.join(bed.lab.node(NODE).machine.root, 'persist/kubeos')).catch((): string[] => [])).includes(
    'journal',
  );

const armed = async (): Promise<boolean> =>
  (await bed.lab.node(NODE).machine.grubVariables())?.get('next_entry') === 'B';

describe('a run that was frozen, and woken after another took the lock over', () => {
  it.each<[string, Moment]>([
    ['while it stages', { step: 'stage', fault: 'slow-download', when: begun }],
    ['while it writes', { step: 'write', fault: 'slow-write', when: async () => (await writers(bed, NODE)) > 0 }],
    ['before it arms', { step: 'arm' }],
    ['between arming and the reboot', { step: 'arm', when: armed }],
    ['while it proves the trial', { step: 'prove', fault: 'unready' }],
    ['before the commit', { step: 'commit' }],
  ])('%s changes nothing any more, and says who has the lock', async (_when, moment) => {
    const old = await frozenAt(moment);
    asFromElsewhere(bed, 1);
    await heal();
    const token = Number(lockLease(bed)?.spec?.['leaseTransitions']);
    const newer = bed.start(command(), { env: otherHome(bed) });
    let most = 0;
    const watched = newer.done.then(() => false);
    while (await Promise.race([watched, writers(bed, NODE).then((count) => ((most = Math.max(most, count)), true))]));
    const took = await ended(newer);
    expect([took.code, nodeOf(took, NODE).outcome], took.stderr).toEqual([0, 'upgraded']);
    expect(took.stderr).toMatch(/took the lock over after .* from .*pid \d+/);
    // A detached write that the old run left is ended before another is begun.
    expect(most).toBeLessThanOrEqual(1);
    const left = await traces(bed, NODE, 'worker-2');
    const lease = lockLease(bed);

    old.kill('SIGCONT');
    const woken = await ended(old);
    expect([woken.code, woken.exitCode, nodeOf(woken, NODE).outcome]).toEqual([3, 3, 'failed']);
    expect(woken.stopped).toMatch(new RegExp(`the lock was lost: it was taken over by .*pid ${newer.pid} \\(run`));
    expect(nodeOf(woken, NODE).reason).toContain(`pid ${newer.pid}`);
    await untilEnded(bed, NODE);
    expect(await traces(bed, NODE, 'worker-2')).toEqual(left);
    expect(lockLease(bed)).toEqual(lease);
    expect([lockHolder(bed), lease?.spec?.['leaseTransitions']]).toEqual(['', token + 1]);
  });

  it('while it drains evicts nothing any more by the time its lock is taken over', async () => {
    const old = await frozenAt({
      step: 'drain',
      fault: 'drain-blocked',
      when: () => Promise.resolve(bed.isCordoned(NODE)),
      flags: ['--lock-duration', '15s'],
    });
    asFromElsewhere(bed);
    const newer = bed.start(command(), { env: otherHome(bed) });
    await newer.untilSays('took the lock over');
    // The guard has ended the frozen run's kubectl drain: the newer one's is the only one.
    await bed.untilStep(NODE, 'drain');
    await heal();
    const took = await ended(newer);
    expect([took.code, nodeOf(took, NODE).outcome], took.stderr).toEqual([0, 'upgraded']);
    const left = await traces(bed, NODE, 'worker-2');
    old.kill('SIGCONT');
    const woken = await ended(old);
    expect([woken.code, nodeOf(woken, NODE).what]).toEqual([3, 'this run lost its lock during drain']);
    expect(await traces(bed, NODE, 'worker-2')).toEqual(left);
  });

  it('for shorter than its duration goes on as if nothing had happened', async () => {
    const old = await frozenAt({ step: 'write', fault: 'slow-write' });
    await bed.lab.clearFault(NODE);
    const kept = await bed.json(['lock', 'status']);
    expect(kept).toMatchObject({ kind: 'Lock', standing: 'held' });
    old.kill('SIGCONT');
    const done = await ended(old);
    expect([done.code, nodeOf(done, NODE).outcome]).toEqual([0, 'upgraded']);
  });
});
