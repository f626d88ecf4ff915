import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FaultKind } from '../../src/lab/faults.ts';
import type { Step } from '../../src/rollout/steps.ts';
import { type CliBed, nodeOf, startCliBed } from './cli-bed.ts';
import { type Running, until } from './lab-bed.ts';
import { ended, lockHolder } from './lock-bed.ts';
import { inTerminal } from './machines.ts';

let bed: CliBed;
const BIN = path.join(fileURLToPath(new URL('../../', import.meta.url)), 'bin/kubeos.js');
const NODE = 'worker-1';
/** What CI systems leave a job between SIGTERM and SIGKILL. */
const CI_PATIENCE_MS = 10_000;

beforeAll(async () => {
  bed = await startCliBed();
});

afterEach(async () => {
  await bed.fresh(NODE, 'worker-2');
});

afterAll(async () => {
  await bed.stop();
});

const command = (): string[] => ['upgrade', '-f', bed.lab.paths.spec, '-y', '-o', 'json', '--nodes', NODE];

async function upTo(step: Step, fault?: FaultKind): Promise<Running> {
  if (fault !== undefined) await bed.lab.setFault(NODE, fault);
  const running = bed.start(command());
  await Promise.race([
    bed.untilStep(NODE, step),
    running.done.then(({ stderr }) => Promise.reject(new Error(`it ended before ${step}:\n${stderr}`))),
  ]);
  // Every node is annotated with `stage` before the first one is begun.
  const part = path.join(bed.lab.node(NODE).machine.root, 'persist/KubeOS-Update/update.img.part');
  if (step === 'stage') await until(() => existsSync(part));
  return running;
}

/** As a CI system ends a job. */
async function endAsCiDoes(running: Running): Promise<void> {
  running.kill('SIGTERM');
  const last = setTimeout(() => running.kill('SIGKILL'), CI_PATIENCE_MS);
  await running.done;
  clearTimeout(last);
}

async function carryOn(): Promise<void> {
  bed.lab.api.setNode(NODE, { ready: true });
  await bed.lab.clearFault(NODE);
  const done = await bed.json(command().slice(0, 4).concat('--nodes', NODE));
  expect([done.exitCode, nodeOf(done, NODE).outcome], done.stderr).toEqual([
    0,
    expect.stringMatching(/upgraded|already/),
  ]);
  expect(await bed.look(NODE)).toMatchObject({ osVersion: 'KubeOS 1.1.0', state: 'committed', cordoned: false });
  expect([bed.stepOf(NODE), lockHolder(bed)]).toEqual([undefined, '']);
}

describe('a pipeline that is cancelled (SIGTERM, then SIGKILL after 10 s)', () => {
  it.each<[Step, FaultKind]>([
    ['stage', 'slow-download'],
    ['write', 'slow-write'],
    ['drain', 'drain-blocked'],
  ])('during %s leaves nothing behind: all is tidied up in time', async (step, fault) => {
    const running = await upTo(step, fault);
    await endAsCiDoes(running);
    const done = await ended(running);
    expect([done.code, done.exitCode, nodeOf(done, NODE).outcome]).toEqual([130, 130, 'interrupted']);
    expect(nodeOf(done, NODE).what).toBe(`interrupted during ${step}`);
    expect([bed.stepOf(NODE), bed.isCordoned(NODE), lockHolder(bed)]).toEqual([undefined, false, '']);
    expect(await bed.lab.node(NODE).machine.processes()).toEqual([]);
    await carryOn();
  });

  it('during a trial that takes longer is killed; the same command carries on', async () => {
    const running = await upTo('prove', 'unready');
    running.kill('SIGTERM');
    await running.untilSays('nothing more is started');
    running.kill('SIGKILL');
    expect(await running.done).toMatchObject({ signal: 'SIGKILL' });
    expect(bed.isCordoned(NODE)).toBe(true);
    await carryOn();
  });
});

describe('one signal', () => {
  it.each<[Step]>([['reboot'], ['commit']])('at %s: the node is brought to its end, 130', async (step) => {
    const running = await upTo(step);
    running.kill('SIGINT');
    const done = await ended(running);
    expect([done.code, nodeOf(done, NODE).outcome]).toEqual([130, 'upgraded']);
    expect([bed.stepOf(NODE), bed.isCordoned(NODE), lockHolder(bed)]).toEqual([undefined, false, '']);
  });
});

describe('a second signal', () => {
  it.each<[Step, FaultKind | undefined]>([
    ['stage', 'slow-download'],
    ['write', 'slow-write'],
    ['drain', 'drain-blocked'],
    ['reboot', undefined],
  ])('right after the first, at %s, stops at once: 130, and the same command carries on', async (step, fault) => {
    const running = await upTo(step, fault);
    running.kill('SIGINT');
    running.kill('SIGTERM');
    const done = await ended(running);
    expect([done.code, done.exitCode, done.exitName]).toEqual([130, 130, 'interrupted']);
    expect(lockHolder(bed)).toBe('');
    await carryOn();
  });

  it('while it still plans ends as the first does', async () => {
    const running = bed.start(command());
    await running.untilSays('reading the cluster');
    running.kill('SIGINT');
    running.kill('SIGINT');
    const done = await ended(running);
    expect([done.code, done.kind, done.exitCode]).toEqual([130, 'Error', 130]);
    expect([bed.stepOf(NODE), lockHolder(bed)]).toEqual([undefined, '']);
  });
});

describe('a login, or an output, that is lost', () => {
  const isDone = async (): Promise<boolean> => {
    if (lockHolder(bed) !== '' || bed.stepOf(NODE) !== undefined) return false;
    const { osVersion, state } = await bed.look(NODE);
    return osVersion === 'KubeOS 1.1.0' && state === 'committed';
  };

  it('changes nothing: the terminal hangs up, and the run goes on to its end', async () => {
    await bed.lab.setFault(NODE, 'slow-write');
    const terminal = inTerminal(bed, ['upgrade', '-f', bed.lab.paths.spec, '-y', '--nodes', NODE]);
    await bed.untilStep(NODE, 'write');
    await until(() => /write/.test(terminal.shown()), terminal.shown);
    terminal.hangUp();
    await terminal.ended;
    await bed.lab.clearFault(NODE);
    await until(isDone);
  });

  it('changes nothing where standard output and standard error are a full disk', async () => {
    const full = await open('/dev/full', 'w');
    const child = spawn(process.execPath, [BIN, ...command()], { env: bed.env, stdio: ['ignore', full.fd, full.fd] });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    await full.close();
    expect(await isDone()).toBe(true);
  });

  it('changes nothing where the output is a pipe that nobody reads any more', async () => {
    const line = `"$0" "$@" 2>&1 | head -n 1`;
    const child = spawn('bash', ['-o', 'pipefail', '-c', line, process.execPath, BIN, ...command()], { env: bed.env });
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code).toBe(0);
    expect(await isDone()).toBe(true);
  });
});
