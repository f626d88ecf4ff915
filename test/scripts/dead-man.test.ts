import { spawnSync } from 'node:child_process';
import { access, chmod, mkdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { composeScript } from '../../src/remote/compose.ts';
import { DEAD_MAN_WATCH } from '../../src/remote/scripts/index.ts';
import { type Answer, SHELLS, type Shell, makeBin } from './node-bed.ts';
import { exec, expectRefused, node, nodeAt, prepareStages, put, rooted, type Stage, toB, use, yard } from './stages.ts';

prepareStages();

const bins = new Map<Shell, string>();
beforeAll(async () => {
  for (const shell of SHELLS) bins.set(shell, await makeBin(path.join(yard.dir, `bin-${shell}`), shell));
});

afterEach(async () => {
  await node.machine.killAll();
});

/** It looks more often, so that the tests need not wait. */
const WATCH = composeScript(DEAD_MAN_WATCH.replace('left=5', 'left=1'), {});
const plant = (span: number): Promise<Answer> => node.must('dead-man', { span, payload: WATCH });
const running = (): Promise<number[]> => node.machine.processes();
const rebootOrdered = (): Promise<boolean> =>
  access(path.join(node.machine.stateDir, 'reboot')).then(
    () => true,
    () => false,
  );

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await isSo())) if (Date.now() > deadline) throw new Error(`never: ${what}`);
}

/** Those that watch, without what starts them again. */
async function watchers(): Promise<number[]> {
  const found: number[] = [];
  for (const pid of await running()) {
    const [, script, ...more] = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (script === rooted('run/kubeos/dead-man.sh') && more.join('') === '') found.push(pid);
  }
  return found;
}

/** How many processes those of the node may be. */
async function mayStart(count: string): Promise<void> {
  for (const pid of await running()) {
    spawnSync('prlimit', [`--nproc=${count}:`, '--pid', String(pid)], { ...node.machine.identity });
  }
}

async function runOut(): Promise<void> {
  const timer = await readFile(rooted('run/kubeos/dead-man'), 'utf8');
  await put('run/kubeos/dead-man', timer.replace(/^\d+/, '1'));
}

const gone = (): Promise<void> => until('the watcher is gone', async () => (await running()).length === 0);

async function trialOf(shell: Shell, way: string, stage: Stage = 'trial'): Promise<void> {
  await nodeAt(stage);
  node.bin = bins.get(shell)!;
  if (way === 'systemd') await mkdir(rooted('run/systemd/system'), { recursive: true });
  await handOver(node.machine.root, node.machine.identity);
}

const WAYS = [
  ...SHELLS.map((shell) => [shell, 'setsid'] as const),
  ['dash', 'systemd'] as const,
] satisfies readonly (readonly [Shell, string])[];

describe.each(WAYS)("the dead man's timer of a trial, sh is %s, by %s", (shell, way) => {
  it('brings the node back once it has run out, and says so', async () => {
    await trialOf(shell, way);
    await plant(1);
    await until('a reboot is ordered', rebootOrdered);
    expect(await node.observe()).toMatchObject({
      active: 'B',
      'env.saved': 'A',
      'journal.phase': 'aborted',
      'journal.reason': 'no sign of life from kubeos for 1s on trial: the node went back by itself',
    });
    expect(await readFile(rooted('var/log/messages'), 'utf8')).toContain('no sign of life from kubeos for 1s');
    // What is proven while it goes down would not stand.
    const late = node.run('prove', { target: 'B', version: 'KubeOS 1.1.0' });
    await node.machine.killAll();
    expect((await late).ended).not.toBe('ok');
    await rm(path.join(node.machine.stateDir, 'reboot'));
    expect(await node.machine.boot()).toMatchObject({ slot: 'A', trial: false });
  });

  it('is renewed, and ended by the commit', async () => {
    await trialOf(shell, way, 'proven');
    await plant(100);
    const watcher = await running();
    expect(watcher.length).toBeGreaterThan(0);
    await plant(600);
    const left = Number((await node.observe())['dead_man']);
    expect(left).toBeGreaterThan(500);
    expect(left).toBeLessThanOrEqual(600);
    await node.must('commit', { target: 'B' });
    expect(await node.observe()).not.toHaveProperty('dead_man');
    await gone();
    expect(await rebootOrdered()).toBe(false);
  });
});

describe.each(WAYS)("the watcher of a dead man's timer, sh is %s, by %s", (shell, way) => {
  it('that was killed comes back by itself', async () => {
    await trialOf(shell, way);
    await plant(600);
    const [killed = 0] = await watchers();
    await runOut();
    process.kill(killed, 'SIGKILL');
    await until('a reboot is ordered', rebootOrdered);
  });
});

// Bash tries again for a quarter of a minute, and then ends all the same: systemd starts it again.
describe.each(WAYS.filter(([shell]) => shell !== 'bash'))(
  'a watcher that could start no process, sh is %s, by %s',
  (shell, way) => {
    it('comes back by itself', async () => {
      await trialOf(shell, way);
      await plant(600);
      const [ended] = await watchers();
      await mayStart('1');
      await until('it has ended', async () => !(await watchers()).includes(ended ?? 0));
      await runOut();
      await mayStart('1000');
      await until('a reboot is ordered', rebootOrdered);
    });
  },
);

describe("the dead man's timer", () => {
  it('is planted anew where its watcher was killed', async () => {
    await trialOf('dash', 'setsid');
    await plant(600);
    await node.machine.killAll();
    await plant(1);
    await until('a reboot is ordered', rebootOrdered);
  });

  it('brings the node back though its journal cannot be read: the boot environment tells that slot B is on trial', async () => {
    await trialOf('dash', 'setsid');
    await plant(1);
    const journal = rooted('persist/kubeos/journal');
    await chmod(journal, 0);
    await until('a reboot is ordered', rebootOrdered);
    await chmod(journal, 0o600);
    expect(await readFile(journal, 'utf8')).toContain('phase=armed\n');
    expect(await readFile(rooted('var/log/messages'), 'utf8')).toContain('no sign of life from kubeos for 1s');
    await node.machine.killAll();
    expect(await node.machine.boot()).toMatchObject({ slot: 'A', trial: false });
  });

  it('orders the reboot where its watcher was killed after it had noted the end of the trial', async () => {
    await trialOf('dash', 'setsid');
    await plant(600);
    const journal = await readFile(rooted('persist/kubeos/journal'), 'utf8');
    await put('persist/kubeos/journal', journal.replace('phase=armed', 'phase=aborted'));
    const [killed = 0] = await watchers();
    await runOut();
    process.kill(killed, 'SIGKILL');
    await until('a reboot is ordered', rebootOrdered);
  });

  it.each([
    ['the journal', 'persist/kubeos/journal', 'committed'],
    ['the layout', 'sys/dev/block', 'proven'],
  ] as const)('goes on where it cannot tell by %s whether a trial runs, and asks again', async (_what, name, phase) => {
    const flock = await exec('flock');
    await trialOf('dash', 'setsid', 'proven');
    await use({ flock: `#!/bin/sh\necho "$*" >>"$KUBEOS_LAB_NODE/state/asked"\nexec ${flock} "$@"\n` });
    await plant(600);
    // A commit that was cut short before it ended the timer.
    if (phase === 'committed') await node.machine.setGrubVariables({ saved_entry: 'B' });
    const journal = await readFile(rooted('persist/kubeos/journal'), 'utf8');
    await put('persist/kubeos/journal', journal.replace('phase=proven', `phase=${phase}`));
    await chmod(rooted(name), 0);
    await runOut();
    await until('it has asked twice', async () => {
      const asked = await readFile(path.join(node.machine.stateDir, 'asked'), 'utf8');
      return asked.split('-w 20 9\n').length > 3;
    });
    expect(await rebootOrdered()).toBe(false);
    await chmod(rooted(name), 0o755);
    if (phase === 'proven') {
      await until('a reboot is ordered', rebootOrdered);
    } else {
      await gone();
      await expect(access(rooted('run/kubeos/dead-man'))).rejects.toThrow('ENOENT');
      expect(await rebootOrdered()).toBe(false);
    }
  });

  it('that ended a trial is all that the log tells of it, whatever a run still asks for while the node goes down', async () => {
    await trialOf('dash', 'setsid');
    await plant(1);
    await until('a reboot is ordered', rebootOrdered);
    // As a shutdown ends it, and with it the hold on the node's lock.
    await node.machine.killAll();
    const why =
      'the trial of slot B is over: no sign of life from kubeos for 1s on trial: the node went back by itself';
    expectRefused(await node.run('prove', toB), 'out-of-order', why);
    expectRefused(await node.run('commit', { target: 'B' }), 'out-of-order', why);
    await plant(60);
    expect(await running()).toEqual([]);
    await node.must('reboot', { purpose: 'send-back' });
    expect(await readFile(rooted('var/log/messages'), 'utf8')).not.toContain('failed (');
    expect(await node.observe()).toMatchObject({ 'journal.phase': 'aborted', 'env.saved': 'A' });
  });

  it.each(['fresh', 'verified', 'armed', 'committed'] as const)(
    'is not planted on a node that is %s',
    async (stage) => {
      await trialOf('dash', 'setsid', stage);
      await plant(1);
      expect(await running()).toEqual([]);
      expect(await node.observe()).not.toHaveProperty('dead_man');
    },
  );

  it('of an older run is renewed by no other than a newer one', async () => {
    await trialOf('dash', 'setsid');
    await plant(600);
    node.by = { run: 'run-0', token: 0 };
    expect((await node.run('dead-man', { span: 900, payload: WATCH })).ended).toBe('stale-token');
    node.by = { run: 'run-2', token: 2 };
    await plant(900);
    expect(Number((await node.observe())['dead_man'])).toBeGreaterThan(600);
  });
});
