import { spawn } from 'node:child_process';
import { constants, open, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type KubeosError, PreflightError } from '../errors.ts';
import { askLab, assertSocketFits, serveControl, type ControlledNode } from './control.ts';
import { assertReachable, nodeIdentity } from './identity.ts';
import { type LabOptions, startLab } from './lab.ts';
import { labPaths } from './lab-files.ts';
import { makeLabFolder } from './lab-folder.ts';
import { alreadyThere, findLab, recordLab, removeLab, waitForEnd } from './lab-record.ts';
import { packageRoot } from './package-root.ts';
import { assertLabCanRun } from './tools.ts';

const { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;

const STOP_TIMEOUT_MS = 20_000;
const LOG_TAIL_LINES = 20;

/** What a lab in the background is started with. */
export interface BackgroundOptions {
  dir: string;
  workers: number;
}

/**
 * Starts a lab in a process of its own and resolves when its nodes are up. Rejects with a PreflightError where a lab
 * runs there already, or the folder is not free; a dead lab's folder is cleaned up first.
 */
export async function startInBackground(options: BackgroundOptions): Promise<readonly ControlledNode[]> {
  const { dir } = options;
  const paths = labPaths(dir);
  await assertLabCanRun();
  assertSocketFits(paths.control);
  const presence = await findLab(dir);
  if (presence.kind === 'running') throw alreadyThere(dir);
  if (presence.kind !== 'none') await removeLab(dir);
  await makeLabFolder(dir);
  await assertReachable(dir, nodeIdentity());
  const log = await open(paths.log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644);
  const main = path.join(packageRoot(), 'bin/kubeos.js');
  const child = spawn(process.execPath, [main, 'lab', 'run', '--dir', dir, '--nodes', `${options.workers}`], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
  });
  await log.close();
  const ended = new Promise<'ended'>((resolve) => child.once('close', () => resolve('ended')));
  const ready = new Promise<'ready'>((resolve) => child.once('message', () => resolve('ready')));
  if ((await Promise.race([ended, ready])) === 'ended') throw await startFailure(dir);
  child.disconnect();
  child.unref();
  return askLab(paths.control, { do: 'status' });
}

/** The lab's own process: starts it, tells its parent, serves until it is asked to stop. */
export async function runLab(options: LabOptions & { dir: string }): Promise<void> {
  // As root the nodes run as another uid, which must get at their tools whatever the user's umask is.
  process.umask(0o022);
  // A closed terminal is no reason to end a lab in the background.
  process.on('SIGHUP', () => undefined);
  const asked = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
    whenParentDiesEarly(resolve);
  });
  try {
    await serveLab(options, asked);
  } finally {
    // An open channel to the parent would keep a lab that failed from ending.
    if (process.connected) process.disconnect();
  }
}

async function serveLab(options: LabOptions & { dir: string }, asked: Promise<void>): Promise<void> {
  await makeLabFolder(options.dir);
  await recordLab(options.dir);
  const lab = await startLab(options);
  let finish: () => void = () => undefined;
  const told = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const control = await serveControl(labPaths(options.dir).control, lab, async () => {
    await lab.stop();
    finish();
  });
  readyToServe();
  await Promise.race([asked, told]);
  await lab.stop();
  await control.close();
}

/** Ends the lab in this folder, whether it still answers or not, and removes the folder; false where there is none. */
export async function stopLab(dir: string): Promise<boolean> {
  const presence = await findLab(dir);
  if (presence.kind === 'none') return false;
  if (presence.kind === 'running') {
    await askLab(labPaths(dir).control, { do: 'stop' }).catch(() => undefined);
    await waitForEnd(presence.pid, STOP_TIMEOUT_MS);
  }
  await removeLab(dir);
  return true;
}

let parentMayGo = false;

/** Until the lab is ready, its parent waits for it: where that one is ended, nobody will ever use or stop the lab. */
function whenParentDiesEarly(stop: () => void): void {
  process.once('disconnect', () => {
    if (!parentMayGo) stop();
  });
}

function readyToServe(): void {
  parentMayGo = true;
  process.send?.('ready');
}

async function startFailure(dir: string): Promise<KubeosError> {
  const text = await readFile(labPaths(dir).log, 'utf8').catch(() => '');
  const logTail = text.trimEnd().split('\n').slice(-LOG_TAIL_LINES);
  if ((await findLab(dir)).kind === 'running') return alreadyThere(dir);
  await removeLab(dir).catch(() => undefined);
  return new PreflightError('the lab did not start', { logTail, next: 'mend what its log says, then start it again' });
}
