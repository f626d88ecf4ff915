import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { catalogOf } from '../../../src/lab/api/kinds.ts';
import { type CliBed, type Doc, startCliBed } from '../cli-bed.ts';
import { type Finished, type KubeosOptions, type Running, until } from '../lab-bed.ts';
import { type Disturbance, DISTURBANCES } from './disturbances.ts';
import { digestOfSlot, Watch, workers } from './invariants.ts';
import { Keeper } from './keeper.ts';
import { type LongStep, LONG_STEPS, type Place } from './places.ts';

/** A lab with somebody at its gate. */
export interface MatrixBed extends CliBed {
  keeper: Keeper;
  /** SHA-256 of slot A of every worker. */
  slotA: string;
}

export interface Case {
  place: Place;
  disturbance: Disturbance;
  node: string;
  /** A worker that somebody has cordoned before, and that stays so. */
  foreign?: string;
  /** The dead run's Lease says this duration, as if it had been told so; else the default of a minute is waited for. */
  leaseSeconds?: number;
}

/** How a case ended. `done`: by the run itself; `again`: by the same command; `retry`: it needed --retry-failed-image. */
export type Verdict = 'done' | 'again' | 'retry';

export interface Played extends Case {
  verdict: Verdict | undefined;
  /** Exit codes, in order; null for the run that was killed. */
  codes: readonly (number | null)[];
  /** What did not hold, each in words. */
  broken: readonly string[];
  /** What the runs said. */
  said: string;
}

/** How long each long step takes here, in milliseconds. */
export type Spans = Readonly<Record<LongStep, number>>;

/** Starts a command of the case. */
type Give = (args: readonly string[], options?: KubeosOptions) => Running;

const NEW = 'KubeOS 1.1.0';
const BUDGET = 2;
/** Far more than a case takes where the machine has anything else to do. */
const CASE_MS = 20 * 60_000;

/** Three workers with something to evict; slow ones count as gone only after a long time. */
export async function startMatrixBed(): Promise<MatrixBed> {
  const keeper = new Keeper();
  const bed = await startCliBed({ workers: 3, gate: keeper, timings: { graceMs: 20_000 } });
  keeper.bootOf = async (node) =>
    (await readFile(path.join(bed.lab.node(node).machine.root, 'proc/sys/kernel/random/boot_id'), 'utf8')).trim();
  bed.lab.api.addWorkload({ kind: 'DaemonSet', namespace: 'kube-system', name: 'network' });
  bed.lab.api.addWorkload({ kind: 'Deployment', namespace: 'shop', name: 'web', replicas: 6 });
  await bed.lab.api.settled();
  return { ...bed, keeper, slotA: await digestOfSlot(bed, 'worker-1', 'A') };
}

const command = (bed: CliBed, ...flags: readonly string[]): string[] => [
  ...['upgrade', '-f', bed.lab.paths.spec, '-y', '-o', 'json'],
  ...['--canary', '0', '--maxunavailable', String(BUDGET), '--max-failures', '0', ...flags],
];

/** Measures one undisturbed run, with the slow disk and server that the instants inside a step are played with. */
export async function measureSpans(bed: MatrixBed): Promise<Spans> {
  const steps = Object.keys(LONG_STEPS) as LongStep[];
  const spans = new Map<LongStep, number>();
  for (const step of steps) {
    await prepare(bed, { node: 'worker-1', slow: true });
    const running = bed.start([...command(bed), '--nodes', 'worker-1']);
    const [from, to] = LONG_STEPS[step];
    const begun = await Promise.race([bed.keeper.hold('worker-1', from), endedBefore(running, step)]);
    const end = bed.keeper.hold('worker-1', to);
    const startedAt = performance.now();
    begun.letGo(true);
    const ended = await Promise.race([end, endedBefore(running, step)]);
    spans.set(step, performance.now() - startedAt);
    ended.letGo(true);
    await running.done;
  }
  return Object.fromEntries(spans) as Spans;
}

/** Plays one case on a lab that has been made as new. */
export async function play(bed: MatrixBed, it: Case, spans: Spans | undefined): Promise<Played> {
  await prepare(bed, { ...it, slow: it.place.into !== undefined });
  const watch = new Watch(bed, { budget: BUDGET, foreign: it.foreign, slotA: bed.slotA });
  bed.keeper.onEffect = ({ node }) => watch.lookAtNode(node);
  const given: Running[] = [];
  const give: Give = (args, options) => {
    const running = bed.start(args, options);
    given.push(running);
    return running;
  };
  const codes: (number | null)[] = [];
  const said: string[] = [];
  const broken: string[] = [];
  let verdict: Verdict | undefined;
  const work = async (): Promise<void> => {
    const running = give(command(bed));
    await disturb(bed, it, running, spans, watch);
    const first = await running.done;
    said.push(first.stderr);
    codes.push(first.code);
    verdict = first.code === 0 ? 'done' : await carryOn(bed, it, give, codes, said);
    broken.push(...(await whatIsLeft(bed, it)));
  };
  const over = new AbortController();
  const late = sleep(CASE_MS, undefined, { signal: over.signal }).then(
    () => broken.push(`not over after ${CASE_MS / 1000} s`),
    () => undefined,
  );
  await Promise.race([work().catch((error: unknown) => broken.push(String(error))), late]);
  over.abort();
  // The next case on this lab must not meet a run of this one.
  for (const running of given) running.kill('SIGKILL');
  await Promise.all(given.map((running) => running.done));
  broken.push(...(await watch.end()));
  bed.keeper.onEffect = () => Promise.resolve();
  return { ...it, verdict, codes, broken, said: said.join('\n---\n') };
}

async function prepare(bed: MatrixBed, it: { node: string; foreign?: string; slow: boolean }): Promise<void> {
  bed.keeper.forget();
  await bed.fresh(...workers(bed));
  // What was evicted before comes back where it was.
  for (const { metadata } of bed.lab.api.list('pods', 'shop')) bed.lab.api.removeNow('pods', 'shop', metadata.name);
  if (it.foreign !== undefined) bed.cordon(it.foreign, true);
  await bed.lab.api.settled();
  if (it.slow) for (const kind of ['slow-download', 'slow-write'] as const) await bed.lab.setFault(it.node, kind);
}

async function disturb(
  bed: MatrixBed,
  { place, disturbance, node }: Case,
  running: Running,
  spans: Spans | undefined,
  watch: Watch,
): Promise<void> {
  const held = await Promise.race([bed.keeper.hold(node, place.at), endedBefore(running, place.name)]);
  const act = DISTURBANCES[disturbance];
  if (place.into === undefined) {
    await watch.lookAtAll();
    await act({ bed, running, node, held: { call: held, side: place.at.side } });
  } else {
    if (spans === undefined) throw new Error('an instant inside a step needs the time that the step takes');
    held.letGo(true);
    await Promise.race([sleep(spans[place.into.step] * place.into.share), endedBefore(running, place.name)]);
    await act({ bed, running, node });
    await watch.lookAtAll();
  }
  for (const kind of ['slow-download', 'slow-write'] as const) await bed.lab.clearFault(node, kind);
}

const endedBefore = (running: Running, where: string): Promise<never> =>
  running.done.then(({ code, stderr }) => Promise.reject(new Error(`ended (${code}) before ${where}:\n${stderr}`)));

/** Gives the same command until it ends well; with the flag that a fall-back asks for where one is told of. */
async function carryOn(
  bed: MatrixBed,
  { disturbance, leaseSeconds }: Case,
  give: Give,
  codes: (number | null)[],
  said: string[],
): Promise<Verdict | undefined> {
  const options = disturbance === 'kill -9, another machine' ? await elsewhere(bed) : {};
  if (leaseSeconds !== undefined) shortenLease(bed, leaseSeconds);
  let retry = false;
  for (let times = 0; times < 3; times++) {
    const { code, stderr, stdout }: Finished = await give(
      command(bed, ...(retry ? ['--retry-failed-image'] : [])),
      options,
    ).done;
    said.push(stderr);
    codes.push(code);
    if (code === 0) return retry ? 'retry' : 'again';
    retry = stdout.includes('--retry-failed-image') && (JSON.parse(stdout) as Doc).exitCode === 4;
  }
  return undefined;
}

const LEASES = catalogOf('v1.34.4').byName('leases');

function shortenLease({ lab }: CliBed, leaseDurationSeconds: number): void {
  const lease = lab.api.get('leases', 'kube-system', 'kubeos');
  if (lease !== undefined) lab.api.store.replace(LEASES, { ...lease, spec: { ...lease.spec, leaseDurationSeconds } });
}

let machines = 0;

/** As if from another machine: another host name, another boot id, another home, no logs. */
async function elsewhere({ folder, env }: CliBed): Promise<KubeosOptions> {
  const home = path.join(folder, `elsewhere-${++machines}`);
  await mkdir(home, { recursive: true });
  const script = [
    'hostname elsewhere',
    'echo 00000000-0000-4000-8000-00000000e15e >"$HOME/boot_id"',
    'mount --bind "$HOME/boot_id" /proc/sys/kernel/random/boot_id',
    'exec "$@"',
  ].join(' && ');
  return {
    env: {
      HOME: home,
      XDG_STATE_HOME: `${home}/state`,
      XDG_CACHE_HOME: `${home}/cache`,
      PATH: `${env['PATH'] ?? ''}:/usr/sbin:/sbin`,
    },
    through: [
      'unshare',
      '--uts',
      '--mount',
      ...(process.getuid?.() === 0 ? [] : ['--map-root-user']),
      'sh',
      '-c',
      script,
      'sh',
    ],
  };
}

/** What a finished run must not leave, and what it must have brought about. */
async function whatIsLeft(bed: MatrixBed, { foreign }: Case): Promise<readonly string[]> {
  const wrong: string[] = [];
  const status = await bed.json(['status']);
  const { nodes } = status;
  for (const name of workers(bed)) {
    const { osVersion, active, nextBoot, state, cordoned, ready } = nodes.find(({ node }) => node === name) ?? {};
    const found = { osVersion, active, nextBoot, state, cordoned, ready, record: bed.stepOf(name) };
    const wanted = {
      osVersion: NEW,
      active: 'B',
      nextBoot: 'B',
      state: 'committed',
      cordoned: name === foreign,
      ready: true,
    };
    if (JSON.stringify(found) !== JSON.stringify(wanted)) wrong.push(`${name} ends as ${JSON.stringify(found)}`);
    const { machine } = bed.lab.node(name);
    await until(async () => (await machine.processes()).length === 0).catch(() =>
      wrong.push(`${name}: a process is left`),
    );
  }
  const { lastRun } = status;
  if (lastRun?.running === true) wrong.push(`the lock is left held by ${lastRun.holder}`);
  return wrong;
}
