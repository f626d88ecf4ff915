import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KubeObject } from '../../src/lab/api/index.ts';
import { type Lab, type LabOptions, startLab } from '../../src/lab/lab.ts';
import { labEnvironment } from '../../src/lab/lab-files.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MIB = 1024 * 1024;

/** What a finished command left. */
export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A command that runs. */
export interface Running {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  /** Resolves once the text stands in either output; rejects where the command ends, or a minute passes, before. */
  untilSays(text: string | RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  readonly done: Promise<Finished>;
}

export interface KubeosOptions {
  env?: Readonly<Record<string, string>>;
  input?: string;
  /** A command that kubeos is run by, with its arguments. */
  through?: readonly string[];
}

/** A lab in this process, and the built `kubeos` in it. */
export interface LabBed {
  readonly lab: Lab;
  /** The whole environment that kubeos gets. */
  readonly env: Readonly<Record<string, string>>;
  /** A folder of the test's own, beside the lab's. */
  readonly folder: string;
  /** Runs the built kubeos to its end. */
  kubeos(args: readonly string[], options?: KubeosOptions): Promise<Finished>;
  /** Starts it. */
  start(args: readonly string[], options?: KubeosOptions): Running;
  /** `kubeos status -o json`, parsed. */
  status(): Promise<unknown>;
  /** The most workers that were cordoned or not Ready at once since the lab began, or since this was asked last. */
  peakUnavailable(): number;
  /** Ends what still runs, the lab, and removes everything. */
  stop(): Promise<void>;
}

/** Starts a lab with short times and small images. Needs the built CLI: `npm run build`. */
export async function startBed(options: Partial<LabOptions> = {}): Promise<LabBed> {
  if (!existsSync(path.join(ROOT, 'dist/main.js'))) throw new Error('kubeos is not built: npm run build');
  const folder = await mkdtemp(path.join(tmpdir(), 'kubeos-bed-'));
  await chmod(folder, 0o755);
  const dir = path.join(folder, 'lab');
  const lab = await startLab({
    dir,
    workers: 3,
    imageBytes: 4 * MIB,
    ...options,
    timings: { shutdownMs: 50, bootMs: 100, startMs: 50, heartbeatMs: 150, graceMs: 1500, ...options.timings },
  });
  const home = path.join(folder, 'home');
  await mkdir(home);
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    XDG_STATE_HOME: path.join(home, 'state'),
    XDG_CACHE_HOME: path.join(home, 'cache'),
    TMPDIR: tmpdir(),
    LANG: 'C.UTF-8',
    ...labEnvironment(dir),
  };
  const running = new Set<Running>();
  const start = (args: readonly string[], more: KubeosOptions = {}): Running => {
    const one = startKubeos(args, { ...env, ...more.env }, more.input, more.through);
    running.add(one);
    void one.done.finally(() => running.delete(one));
    return one;
  };
  const watch = watchUnavailable(lab);
  return {
    lab,
    env,
    folder,
    start,
    kubeos: (args, more) => start(args, more).done,
    status: async () => JSON.parse((await start(['status', '-o', 'json']).done).stdout) as unknown,
    peakUnavailable: watch.peak,
    stop: async () => {
      watch.stop();
      for (const one of running) one.kill('SIGKILL');
      await Promise.all([...running].map((one) => one.done));
      await lab.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs the built kubeos with exactly this environment. */
export function startKubeos(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  input: string | undefined,
  through: readonly string[] = [],
): Running {
  const [program = '', ...rest] = [...through, process.execPath, path.join(ROOT, 'bin/kubeos.js'), ...args];
  const child = spawn(program, rest, { env, stdio: 'pipe' });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  const done = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, ...text }));
  });
  const says = (wanted: string | RegExp): boolean =>
    [text.stdout, text.stderr].some((one) => (typeof wanted === 'string' ? one.includes(wanted) : wanted.test(one)));
  return {
    pid: pidOf(child),
    stdout: () => text.stdout,
    stderr: () => text.stderr,
    done,
    kill: (signal) => child.kill(signal),
    untilSays: (wanted) =>
      until(
        () => {
          if (says(wanted)) return true;
          if (child.exitCode === null && child.signalCode === null) return false;
          throw new Error(`kubeos ended before it said ${String(wanted)}:\n${text.stdout}\n${text.stderr}`);
        },
        () => `kubeos never said ${String(wanted)}:\n${text.stdout}\n${text.stderr}`,
      ),
  };
}

/** Waits for a condition; rejects when a minute has passed. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  otherwise: () => string = () => 'the condition did not come true',
): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(otherwise());
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('kubeos could not be started');
  return child.pid;
}

function watchUnavailable(lab: Lab): { peak: () => number; stop: () => void } {
  const unavailable = (): number =>
    lab.api
      .list('nodes')
      .filter((node) => node.metadata.name.startsWith('worker-'))
      .filter((node) => node.spec?.['unschedulable'] === true || !isReady(node)).length;
  let peak = unavailable();
  const stop = lab.api.store.subscribe(({ kind }) => {
    if (kind.plural === 'nodes') peak = Math.max(peak, unavailable());
  });
  return {
    stop,
    peak: () => {
      const seen = peak;
      peak = unavailable();
      return seen;
    },
  };
}

function isReady(node: KubeObject): boolean {
  const conditions = (node.status?.['conditions'] ?? []) as { type: string; status: string }[];
  return conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True');
}
