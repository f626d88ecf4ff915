import { constants, readFile, readdir, realpath, readlink, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { KubeosError, PreflightError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { labPaths } from './lab-files.ts';
import { defaultLabDir, isOwnFolder } from './lab-folder.ts';
import { endProcessesOf } from './processes.ts';

/** Which process holds a lab: the start time tells it from a later one with the same number. */
const recordSchema = z.object({ pid: z.int().positive(), startTime: z.string() });

const END_DEADLINE_MS = 10_000;

/** What a folder holds, as far as labs go. */
export type LabPresence =
  | { kind: 'none' }
  | { kind: 'running'; pid: number }
  /** A lab whose process is gone. */
  | { kind: 'stale' }
  /** Something that is no lab. */
  | { kind: 'foreign' };

/** Throws a PreflightError where the folder is not this user's alone: nothing in it is to be believed then. */
export async function findLab(dir: string): Promise<LabPresence> {
  const entries = (await isOwnFolder(dir)) ? await readdir(dir) : [];
  // A start that was ended early leaves its log and nothing else.
  if (entries.every((entry) => entry === path.basename(labPaths(dir).log))) return { kind: 'none' };
  const flag = constants.O_RDONLY | constants.O_NOFOLLOW;
  const text = await readFile(labPaths(dir).record, { encoding: 'utf8', flag }).catch(() => undefined);
  if (text === undefined) return { kind: 'foreign' };
  const record = readRecord(text);
  if (
    record !== undefined &&
    (await startTimeOf(record.pid)) === record.startTime &&
    (await isLabOf(record.pid, dir))
  ) {
    return { kind: 'running', pid: record.pid };
  }
  return { kind: 'stale' };
}

/** Marks the folder as this process's lab. Throws a PreflightError where another was quicker. */
export async function recordLab(dir: string): Promise<void> {
  const record = { pid: process.pid, startTime: (await startTimeOf(process.pid)) ?? '' };
  try {
    const flag = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await writeFile(labPaths(dir).record, `${JSON.stringify(record)}\n`, { flag });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw alreadyThere(dir);
  }
}

export function alreadyThere(dir: string): PreflightError {
  return new PreflightError(`a lab runs in ${dir} already`, {
    next: `look at it:  kubeos lab status --dir ${dir}\nor end it:   kubeos lab stop --dir ${dir}`,
  });
}

export function noLab(dir: string): PreflightError {
  return new PreflightError(`no lab runs in ${dir}`, {
    next: 'start one: kubeos lab start; or name its folder: --dir, or the variable KUBEOS_LAB',
  });
}

/** Ends whatever is left of a lab, its own process included, and removes its folder. Nothing else is touched. */
export async function removeLab(dir: string): Promise<void> {
  const presence = await findLab(dir);
  if (presence.kind === 'foreign') {
    throw new PreflightError(`${dir} is no lab's folder`, {
      reason: 'it has files in it, and no lab.json',
      next: 'choose another folder: --dir',
    });
  }
  if (presence.kind === 'none') return;
  if (presence.kind === 'running') await endProcess(presence.pid);
  await endNodes(dir);
  await rm(dir, { recursive: true, force: true });
}

/** Waits for a process to end by itself; false where it does not within the time. */
export async function waitForEnd(pid: number, timeoutMs: number): Promise<boolean> {
  const startTime = await startTimeOf(pid);
  const deadline = Date.now() + timeoutMs;
  while (startTime !== undefined && (await startTimeOf(pid)) === startTime) {
    if (Date.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}

async function endNodes(dir: string): Promise<void> {
  const { nodes } = labPaths(dir);
  for (const name of await readdir(nodes).catch(() => [])) {
    const node = path.join(nodes, name);
    if ((await stat(node)).isDirectory()) await endProcessesOf(node);
  }
}

async function endProcess(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  if (await waitForEnd(pid, END_DEADLINE_MS)) return;
  throw new KubeosError(`the lab's process ${pid} does not end`, EXIT.incomplete, { next: `kill -9 ${pid}` });
}

function readRecord(text: string): z.infer<typeof recordSchema> | undefined {
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** True where a process is `kubeos lab run` in this very folder, by its command line and environment (proc(5)). */
async function isLabOf(pid: number, dir: string): Promise<boolean> {
  const read = async (name: string): Promise<string[]> =>
    (await readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')).split('\0');
  const args = await read('cmdline');
  const run = args.findIndex((arg, index) => arg === 'run' && args[index - 1] === 'lab');
  if (run < 0) return false;
  const variable = (await read('environ')).find((one) => one.startsWith('KUBEOS_LAB='))?.slice('KUBEOS_LAB='.length);
  const named = dirFlag(args.slice(run + 1)) ?? variable ?? defaultLabDir();
  const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '/');
  return (await realpath(path.resolve(cwd, named)).catch(() => undefined)) === (await realpath(dir));
}

function dirFlag(args: readonly string[]): string | undefined {
  const index = args.lastIndexOf('--dir');
  return index >= 0 ? args[index + 1] : args.find((arg) => arg.startsWith('--dir='))?.slice('--dir='.length);
}

/** When a process started, in the kernel's ticks (proc(5), field 22); undefined where it is gone or a zombie. */
async function startTimeOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // The command's name, in brackets, may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' ? undefined : fields[19];
}
