import { EXIT, type ExitCode } from '../exit-codes.ts';
import {
  createLogReport,
  describeHolder,
  listenForSignals,
  newRunId,
  runLogDir,
  type LocalImages,
  type StopSignals,
} from '../local/index.ts';
import {
  combineReports,
  createReport,
  displayOptions,
  formatData,
  ledTo,
  renderConfirm,
  renderPlan,
  renderResult,
  renderTitle,
  resultToJson,
  type ProgressReport,
  type ResultScreenOptions,
} from '../report/index.ts';
import {
  artifactOf,
  carryOut,
  gatherPlan,
  hasWork,
  type Plan,
  type RolloutRequest,
  type RolloutResult,
  type RunOptions,
} from '../rollout/index.ts';
import { declinedResult, resultWithoutWork } from '../rollout/use-cases.ts';
import { agreedTo } from './agree.ts';
import { withConnections, type ConnectHooks, type Connections } from './connect.ts';
import type { Deps, OutputStream } from './deps.ts';
import { clusterWords, givenCommand, shownBy } from './given-command.ts';
import type { RunFlags } from './option-types.ts';
import { withOwnNode } from './request.ts';

/** One run of `upgrade` or `rollback`: plan, question, work, result. */
interface Run {
  deps: Deps;
  flags: RunFlags;
  request: RolloutRequest;
  images: LocalImages | undefined;
  id: string;
  signals: StopSignals;
  progress: ProgressReport;
  /** Before the work a stop needs no explanation; after it, nobody waits for news any more. */
  phase: 'planning' | 'at work' | 'over';
}

/** Plans a rollout, shows the plan, asks where there is someone to ask, carries it out and prints the result. */
export async function rollOut(
  deps: Deps,
  flags: RunFlags,
  request: RolloutRequest,
  images?: LocalImages,
): Promise<ExitCode> {
  const { colour, ascii, mode } = displayOptions(deps.io.env, deps.io.stderr, shownBy(flags));
  const progress = await createReport({ stream: deps.io.stderr, clock: deps.clock, colour, ascii, mode });
  const notice = (message: string, node?: string): void => {
    if (run.phase === 'over') return;
    progress.event({ at: deps.clock.now(), type: 'notice', message, ...(node === undefined ? {} : { node }) });
  };
  const signals = listenForSignals((_signal, count) => {
    if (run.phase === 'at work') notice(count === 1 ? STOPPING : 'stopping at once, where things stand');
  });
  const id = newRunId(deps.clock.now());
  const run: Run = { deps, flags, request, images, id, signals, progress, phase: 'planning' };
  const ownEnd = deps.uncaught.endBy((bug) => {
    signals.stopFor(bug);
    if (run.phase === 'at work') notice(`a bug in kubeos: ${STOPPING}`);
  });
  try {
    const paused = <T>(task: () => Promise<T>): Promise<T> => progress.paused(task);
    const hooks = { notice, paused, sending: sendingOf(run) };
    return await withConnections(deps, flags, hooks, (connections) => inSteps(run, connections));
  } finally {
    progress.stop();
    signals.dispose();
    ownEnd();
  }
}

const STOPPING = 'nothing more is started, a node that is armed is brought to its end (once more: stop at once)';

function sendingOf({ request, images }: Run): NonNullable<ConnectHooks['sending']> {
  const sendRate = request.image?.type === 'disk' ? request.image.artifact.limitRate : undefined;
  return { ...(images === undefined ? {} : { images }), ...(sendRate === undefined ? {} : { sendRate }) };
}

async function inSteps(run: Run, connections: Connections): Promise<ExitCode> {
  const { deps, flags, request, images, progress, signals } = run;
  progress.activity('reading the cluster and its nodes');
  const own = await withOwnNode(deps, connections.cluster, request);
  const stopped = AbortSignal.any([signals.graceful, signals.hard]);
  const neighbours = { ...connections, clock: deps.clock, images };
  const plan = await gatherPlan(neighbours, own, stopped);
  progress.activity(undefined);
  if (!hasWork(plan)) return printIdle(run, plan);
  showPlan(run, plan, deps.io.stderr);
  if (!(await agreed(run, plan))) return printDeclined(run, plan);
  const logDir = runLogDir(run.id, flags.logDir, deps.io.env);
  const logs = createLogReport(logDir, {
    onProblem: (message) => progress.event({ at: deps.clock.now(), type: 'notice', message }),
    advice: (text) => ledTo(clusterWords(flags), text),
  });
  const ports = { ...neighbours, report: combineReports([progress, logs]) };
  const { lockWait } = flags;
  const holder = {
    holder: describeHolder(deps.io.env),
    ...(lockWait === undefined ? {} : { waitMs: lockWait }),
  };
  run.phase = 'at work';
  signals.begin();
  const replan = (): Promise<Plan> => gatherPlan(neighbours, own, stopped, plan);
  const ended = await carryOut(ports, { plan, replan }, holder, runOptions(run), signals);
  progress.stop();
  run.phase = 'over';
  const result = deps.uncaught.first === undefined ? ended : { ...ended, exitCode: EXIT.bug };
  return printResult(run, result, logs.problem === undefined ? { logDir: logs.dir, logFile: logs.fileOf } : {});
}

function runOptions({ id, flags, request }: Run): RunOptions {
  const artifact = artifactOf(request);
  return {
    run: id,
    budgetWaitMs: flags.budgetWait,
    rebootTimeoutMs: flags.rebootTimeout,
    healthTimeoutMs: flags.healthTimeout,
    deadManMs: flags.deadMan,
    ...(artifact === undefined ? {} : { artifact }),
  };
}

function showPlan({ deps, flags }: Run, plan: Plan, stream: OutputStream): void {
  const { lockWait } = flags;
  const display = displayOptions(deps.io.env, stream, shownBy(flags));
  stream.write(
    `${renderPlan(plan, display, { dryRun: false, ...(lockWait === undefined ? {} : { lockWaitMs: lockWait }) }).join('\n')}\n`,
  );
}

/** A plan that starts no node is the result already: its words are not said a second time. */
async function printIdle(run: Run, plan: Plan): Promise<ExitCode> {
  const { deps, flags } = run;
  const result = resultWithoutWork(plan, run.id);
  if (flags.output === 'json')
    deps.io.stdout.write(await formatData(resultToJson(result), 'json', clusterWords(flags)));
  showPlan(run, plan, flags.output === 'json' ? deps.io.stderr : deps.io.stdout);
  return result.exitCode;
}

async function printDeclined({ deps, flags, id }: Run, plan: Plan): Promise<ExitCode> {
  const result = declinedResult(plan, id);
  if (flags.output === 'json')
    deps.io.stdout.write(await formatData(resultToJson(result), 'json', clusterWords(flags)));
  deps.io.stderr.write(`Not agreed to: nothing was changed (exit ${result.exitCode}).\n`);
  return result.exitCode;
}

async function agreed({ deps, flags, signals }: Run, plan: Plan): Promise<boolean> {
  const signal = AbortSignal.any([signals.graceful, signals.hard]);
  const yes = await agreedTo(deps, flags, { question: renderConfirm(plan), about: renderTitle(plan), signal });
  if (yes) deps.io.stderr.write('\n');
  return yes;
}

async function printResult(
  run: Run,
  result: RolloutResult,
  logs: Omit<ResultScreenOptions, 'command'>,
): Promise<ExitCode> {
  const { deps, flags } = run;
  if (flags.output === 'json') {
    deps.io.stdout.write(await formatData(resultToJson(result, logs.logDir), 'json', clusterWords(flags)));
    return result.exitCode;
  }
  const display = displayOptions(deps.io.env, deps.io.stdout, shownBy(flags));
  const lines = renderResult(result, display, { command: givenCommand(deps.argv), ...logs });
  deps.io.stderr.write('\n');
  deps.io.stdout.write(`${lines.join('\n')}\n`);
  return result.exitCode;
}
