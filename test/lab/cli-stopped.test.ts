import { spawn } from 'node:child_process';
import { chmod, open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Step } from '../../src/rollout/steps.ts';
import { type CliBed, type Doc, nodeOf, readLogs, startCliBed } from './cli-bed.ts';
import { type Running, until } from './lab-bed.ts';

let bed: CliBed;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';

beforeAll(async () => {
  bed = await startCliBed();
});

afterEach(async () => {
  await bed.fresh('worker-1', 'worker-2');
});

afterAll(async () => {
  await bed.stop();
});

const command = (...flags: readonly string[]): string[] => [
  ...['upgrade', '-f', bed.lab.paths.spec, '-y', '-o', 'json'],
  ...flags,
];

/** Starts an upgrade and waits until worker-1 is in this step. */
async function upTo(step: Step, ...flags: readonly string[]): Promise<Running> {
  const running = bed.start(command(...flags));
  await Promise.race([
    bed.untilStep('worker-1', step),
    running.done.then(({ stderr }) => Promise.reject(new Error(`it ended before ${step}:\n${stderr}`))),
  ]);
  return running;
}

async function ended(running: Running): Promise<Doc & { code: number | null; stderr: string }> {
  const { code, stdout, stderr } = await running.done;
  return { ...(JSON.parse(stdout) as Doc), code, stderr };
}

const holder = (): unknown => bed.lab.api.get('leases', 'kube-system', 'kubeos')?.spec?.['holderIdentity'];

/** Nothing of the run is left on the node or in the cluster, and it would boot its old slot. */
async function expectUntouched(name: string): Promise<void> {
  expect(bed.stepOf(name)).toBeUndefined();
  expect(bed.isCordoned(name)).toBe(false);
  expect(await bed.lab.node(name).machine.processes()).toEqual([]);
  const grub = await bed.lab.node(name).machine.grubVariables();
  expect([grub?.get('saved_entry'), grub?.get('next_entry') ?? '']).toEqual(['A', '']);
}

const HEAD_BYTES = 4096;

/** Part of the image is on the slot, and it is not the whole: its head comes last. */
async function untilSlotIsPartlyWritten(name: string): Promise<void> {
  const image = await readFile(bed.lab.update.path);
  const part = 512 * 1024;
  await until(async () => {
    const handle = await open(bed.lab.node(name).machine.device('B'));
    try {
      const written = Buffer.alloc(part);
      await handle.read(written, 0, part, HEAD_BYTES);
      return written.equals(image.subarray(HEAD_BYTES, HEAD_BYTES + part));
    } finally {
      await handle.close();
    }
  });
}

describe('Ctrl-C', () => {
  it('in the middle of a write ends the work on the node, and says 130 and how to carry on', async () => {
    await bed.lab.setFault('worker-1', 'slow-write');
    const running = await upTo('write', '--log-dir', `${bed.folder}/interrupted`);
    await untilSlotIsPartlyWritten('worker-1');
    running.kill('SIGINT');
    const done = await ended(running);
    expect([done.code, done.exitCode, done.exitName]).toEqual([130, 130, 'interrupted']);
    expect(nodeOf(done, 'worker-1')).toMatchObject({
      outcome: 'interrupted',
      step: 'write',
      what: 'interrupted during write',
    });
    expect(nodeOf(done, 'worker-2').outcome).toBe('not started');
    expect(done.stderr).toContain('nothing more is started');
    await expectUntouched('worker-1');
    expect(holder()).toBe('');
    expect((await bed.look('worker-1')).otherSlot).toMatchObject({ content: 'dirty' });
    expect((await readLogs(done.logDir ?? ''))['run.ndjson']).toContain('"exitCode":130');

    await bed.lab.clearFault('worker-1');
    expect(await bed.json(command('--nodes', 'worker-1').slice(0, 4).concat('--nodes', 'worker-1'))).toMatchObject({
      exitCode: 0,
      nodes: [{ node: 'worker-1', outcome: 'upgraded' }],
    });
  });

  it('while it drains takes our own cordon off, and no other; so does SIGTERM', async () => {
    bed.cordon('worker-2', true);
    await bed.lab.setFault('worker-1', 'drain-blocked');
    const running = await upTo('drain', '--nodes', 'worker-1', '--maxunavailable', '2');
    await until(() => bed.isCordoned('worker-1'));
    running.kill('SIGTERM');
    const done = await ended(running);
    expect([done.code, nodeOf(done, 'worker-1').what]).toEqual([130, 'interrupted during drain']);
    await expectUntouched('worker-1');
    expect(bed.isCordoned('worker-2')).toBe(true);
  });

  it('once a node is armed brings it to its end, and starts nothing more; a hang-up changes nothing', async () => {
    const running = await upTo('reboot');
    running.kill('SIGHUP');
    running.kill('SIGINT');
    const done = await ended(running);
    expect(done.code).toBe(130);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'upgraded' });
    expect(nodeOf(done, 'worker-2')).toMatchObject({ outcome: 'not started' });
    expect(await bed.look('worker-1')).toMatchObject({
      osVersion: NEW,
      active: 'B',
      state: 'committed',
      cordoned: false,
    });
    await expectUntouched('worker-2');
  });

  it('given twice stops at once, says what it leaves behind, and the same command ends it', async () => {
    await bed.lab.setFault('worker-1', 'unready');
    const running = await upTo('prove', '--nodes', 'worker-1');
    running.kill('SIGINT');
    await running.untilSays('nothing more is started');
    running.kill('SIGINT');
    const done = await ended(running);
    expect(done.code).toBe(130);
    expect(nodeOf(done, 'worker-1')).toMatchObject({ outcome: 'interrupted', step: 'prove' });
    expect(nodeOf(done, 'worker-1').left).toMatch(/on trial: any reset.*by itself 15m after[^]*left cordoned/);
    expect(bed.isCordoned('worker-1')).toBe(true);
    const left = await bed.json(['status']);
    const onTrial = nodeOf(left, 'worker-1');
    expect(onTrial).toMatchObject({ state: 'trial', active: 'B', nextBoot: 'A' });
    // Of --dead-man's quarter of an hour some is over.
    expect(onTrial.deadManMs).toBeGreaterThan(600_000);
    expect(onTrial.deadManMs).toBeLessThanOrEqual(900_000);
    expect(left.lastRun?.unfinished).toContain('worker-1');

    // Its kubelet gets well: no reboot is needed any more.
    bed.lab.api.setNode('worker-1', { ready: true });
    await bed.lab.clearFault('worker-1');
    const again = await bed.json(command('--nodes', 'worker-1'));
    expect([again.exitCode, nodeOf(again, 'worker-1').outcome]).toEqual([0, 'upgraded']);
    expect(await bed.look('worker-1')).toMatchObject({ active: 'B', state: 'committed', cordoned: false });
  });

  it('on a trial whose /persist takes no note any more: the same command still leads it back', async () => {
    await bed.lab.setFault('worker-1', 'unready');
    const running = await upTo('prove', '--nodes', 'worker-1');
    running.kill('SIGKILL');
    await running.done;
    const notes = path.join(bed.lab.node('worker-1').machine.root, 'persist/kubeos');
    await chmod(notes, 0o555);
    const led = await bed.json(command('--nodes', 'worker-1', '--health-timeout', '3s'));
    await chmod(notes, 0o755);
    expect([led.exitCode, nodeOf(led, 'worker-1')]).toEqual([
      6,
      expect.objectContaining({
        outcome: 'needs hands',
        what: 'the notes of kubeos on the node cannot be read or written',
        reason: expect.stringMatching(
          /^cannot write \S+\/persist\/kubeos\/\S+: Permission denied\nit runs its old slot again$/,
        ) as string,
        next: expect.stringMatching(/remount,rw.*then give the same command again/) as string,
      }),
    ]);
    const there = { osVersion: OLD, active: 'A', nextBoot: 'A' };
    expect(await bed.look('worker-1')).toMatchObject({ ...there, cordoned: true });
    const mended = await bed.json(command('--nodes', 'worker-1'));
    expect([mended.exitCode, nodeOf(mended, 'worker-1').outcome]).toEqual([5, 'fell back']);
    expect(await bed.look('worker-1')).toMatchObject({ ...there, cordoned: false });
  });

  it('for good on a trial leaves a node that goes back by itself, and the same command upgrades it', async () => {
    await bed.lab.setFault('worker-1', 'unready');
    const running = await upTo('prove', '--nodes', 'worker-1', '--dead-man', '15s');
    running.kill('SIGKILL');
    await running.done;
    await until(async () => (await bed.look('worker-1')).state === 'committed');
    expect(await bed.look('worker-1')).toMatchObject({ active: 'A', nextBoot: 'A', journal: { phase: 'aborted' } });
    await bed.lab.clearFault('worker-1');
    const again = await bed.json(command('--nodes', 'worker-1'));
    expect([again.exitCode, nodeOf(again, 'worker-1').outcome]).toEqual([0, 'upgraded']);
  });

  it('before anything has begun changes nothing', async () => {
    const running = bed.start(command());
    await running.untilSays('reading the cluster');
    running.kill('SIGINT');
    const { code } = await running.done;
    expect(code).toBe(130);
    expect(holder() ?? '').toBe('');
    await expectUntouched('worker-1');
  });
});

describe('the question on a terminal', () => {
  const atTerminal = (
    before: string,
    after: string,
  ): { type: (text: string) => void; shown: () => string; ended: Promise<unknown> } => {
    const line = [
      before,
      process.execPath,
      path.join(ROOT, 'bin/kubeos.js'),
      'upgrade',
      '-f',
      bed.lab.paths.spec,
      after,
    ];
    const terminal = spawn('script', ['-qec', line.join(' '), '/dev/null'], { env: bed.env, stdio: 'pipe' });
    let shown = '';
    terminal.stdout.setEncoding('utf8').on('data', (text: string) => (shown += text));
    const ended = new Promise((resolve) => terminal.once('close', resolve));
    return { type: (text) => void terminal.stdin.write(text), shown: () => shown, ended };
  };

  it.each([
    ['n', 'n\n', 4, 'nothing was changed (exit 4)', ''],
    ['Enter', '\n', 4, 'nothing was changed (exit 4)', ''],
    ['Ctrl-C', '\u0003', 130, 'interrupted by SIGINT: nothing was changed', ''],
    ['n where standard error goes elsewhere', 'n\n', 4, '', '2>/dev/null'],
  ])('answered by %s: nothing is changed, and it says so', async (_what, typed, code, said, after) => {
    const terminal = atTerminal('exec', after);
    await until(() => terminal.shown().includes('2 at a time? [y/N] '), terminal.shown);
    expect(terminal.shown()).toMatch(/Upgrade \d of \d nodes: KubeOS [\d.]+ -> KubeOS [\d.]+/);
    terminal.type(typed);
    expect(await terminal.ended).toBe(code);
    expect(terminal.shown()).toContain(said);
    expect(terminal.shown()).not.toContain('carries on');
    await expectUntouched('worker-1');
    await expectUntouched('worker-2');
  });

  it('that cannot be asked, though somebody sits there, is no yes', async () => {
    const log = path.join(bed.folder, 'unasked.log');
    expect(await atTerminal('setsid -w', `2>${log}`).ended).toBe(2);
    expect(await readFile(log, 'utf8')).toContain('say so: --yes');
    await expectUntouched('worker-1');
  });
});

describe('kill -9', () => {
  it('in the middle of a write: status shows it, and the same command ends 0', async () => {
    await bed.lab.setFault('worker-1', 'slow-write');
    const running = await upTo('write');
    await untilSlotIsPartlyWritten('worker-1');
    running.kill('SIGKILL');
    expect(await running.done).toMatchObject({ signal: 'SIGKILL' });
    const left = await bed.json(['status']);
    expect(left.nodes.find(({ node }) => node === 'worker-1')).toMatchObject({
      osVersion: OLD,
      active: 'A',
      nextBoot: 'A',
      run: { step: 'write', cordon: 'none' },
    });
    const screen = await bed.kubeos(['status']);
    expect(screen.stdout).toMatch(/worker-1.*left at write/s);

    await bed.lab.clearFault('worker-1');
    const done = await bed.json(command());
    expect(done.exitCode).toBe(0);
    for (const name of ['worker-1', 'worker-2']) {
      expect(nodeOf(done, name).outcome).toBe('upgraded');
      expect(await bed.look(name)).toMatchObject({ osVersion: NEW, active: 'B', nextBoot: 'B', cordoned: false });
    }
  });

  it('at one step after the other: each time the same command goes on, and the last one ends 0', async () => {
    const only = ['--nodes', 'worker-1'];
    const killAt = async (step: Step, when: () => boolean = () => true): Promise<void> => {
      const running = await upTo(step, ...only);
      await until(when);
      running.kill('SIGKILL');
      await running.done;
    };
    await bed.lab.setFault('worker-1', 'slow-download');
    await killAt('stage');
    await bed.lab.clearFault('worker-1');
    await killAt('verify');
    await bed.lab.setFault('worker-1', 'drain-blocked');
    await killAt('drain', () => bed.isCordoned('worker-1'));
    await bed.lab.clearFault('worker-1');
    await killAt('arm');
    await bed.lab.setFault('worker-1', 'unready');
    await killAt('reboot');
    await killAt('prove');
    bed.lab.api.setNode('worker-1', { ready: true });
    await bed.lab.clearFault('worker-1');
    const done = await bed.json(command(...only));
    expect([done.exitCode, nodeOf(done, 'worker-1').outcome]).toEqual([0, 'upgraded']);
    expect(await bed.look('worker-1')).toMatchObject({ osVersion: NEW, state: 'committed', cordoned: false });
    expect(bed.stepOf('worker-1')).toBeUndefined();
  });

  it('of a run that fell back meanwhile: the same command tells it, tidies up and ends 5', async () => {
    await bed.lab.setFault('worker-1', 'boot-fails');
    const running = await upTo('reboot', '--nodes', 'worker-1');
    const consoleLog = path.join(bed.lab.node('worker-1').machine.stateDir, 'console.log');
    await until(async () => (await readFile(consoleLog, 'utf8')).includes('trial entry B: panic'));
    running.kill('SIGKILL');
    await running.done;
    const done = await bed.json(command('--nodes', 'worker-1'));
    expect([done.exitCode, nodeOf(done, 'worker-1').outcome]).toEqual([5, 'fell back']);
    await expectUntouched('worker-1');
  });
});

describe('the lock', () => {
  it('keeps a second run out (exit 11), and says who holds it and how to free it', async () => {
    await bed.lab.setFault('worker-1', 'slow-write');
    const running = await upTo('write', '--nodes', 'worker-1');
    const env = { GITLAB_CI: 'true', CI_JOB_URL: 'https://ci.example/jobs/981' };
    const second = await bed.json(command('--nodes', 'worker-2').slice(0, 4).concat('--nodes', 'worker-2'), { env });
    expect([second.kind, second.exitCode, second.exitName]).toEqual(['Error', 11, 'locked']);
    expect(second.error.what).toBe('another run holds the lock');
    expect(second.error.reason).toMatch(/^who .*pid \d+.*\nsince .*\nwhat +upgrade to KubeOS 1\.1\.0/);
    expect(second.error.next).toContain('--lock-wait 30m');
    expect(second.error.next).toContain('kubeos lock release');
    await expectUntouched('worker-2');
    const status = await bed.kubeos(['status']);
    expect(status.stdout).toContain(`pid ${running.pid}`);
    running.kill('SIGINT');
    expect((await running.done).code).toBe(130);
  });
});
