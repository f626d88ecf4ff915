import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { Clock, DrainObstacle, DrainOptions, DrainProgress } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { WAITED_FOR } from './forecast.ts';
import { DrainView } from './drain-view.ts';
import type { GuardedProcess } from './guard.ts';
import type { Kubectl } from './kubectl.ts';
import { nodeName, nodePath } from './names.ts';
import { nodeSchema } from './node-facts.ts';
import { shortTime } from './short-time.ts';
import type { PolicyVersion } from './workloads.ts';

export interface DrainTools {
  api: Api;
  kubectl: Kubectl;
  clock: Clock;
  policy: PolicyVersion;
  /** Waits until it is known that the lock which the drain is made under is ours; rejects with LockLostError where it is gone. */
  confirmStart: (signal: AbortSignal) => Promise<void>;
}

const LOOK_EVERY_MS = 1_500;
/** kubectl drain gives up at the first failure of the API server; it is started again after this long. */
const AGAIN_AFTER_MS = 3_000;
/** How often it is started again though the API server was there all the time. */
const MOST_UNEXPLAINED = 3;
/** kubectl keeps its own timeout; where it hangs beyond it, it is ended. */
const OVERTIME_MS = 30_000;
const TAIL_LINES = 20;

/** As `Cluster.drain`. */
export async function drainNode(
  tools: DrainTools,
  node: string,
  options: DrainOptions,
  onProgress: (progress: DrainProgress) => void,
  signal: AbortSignal,
): Promise<{ evicted: number }> {
  const { clock } = tools;
  const deadline = options.timeoutMs === 0 ? Number.POSITIVE_INFINITY : clock.now() + options.timeoutMs;
  const view = new DrainView(tools.api, clock, tools.policy, nodeName(node), options);
  const run: DrainRun = { ...tools, node, options, view, deadline, onProgress, signal };
  let unexplained = 0;
  for (;;) {
    await requireCordoned(run);
    await outwaitRefusedPods(run);
    const end = await runKubectlDrain(run);
    if (end.code === 0) {
      onProgress(await view.look({ signal }));
      return { evicted: view.gone };
    }
    if (!end.apiWasAway) unexplained++;
    // Waits for an API server that is away, as long as every request does.
    onProgress(await view.look({ signal }));
    const refused = view.forecast().obstacles.some((found) => found.verdict === 'certain');
    if (refused || unexplained >= MOST_UNEXPLAINED || clock.now() >= deadline) throw drainFailure(run, end);
    await clock.sleep(AGAIN_AFTER_MS, signal);
  }
}

interface DrainRun extends DrainTools {
  node: string;
  options: DrainOptions;
  view: DrainView;
  deadline: number;
  onProgress: (progress: DrainProgress) => void;
  signal: AbortSignal;
}

interface DrainEnd {
  code: number | undefined;
  /** What kubectl said, newest last. */
  tail: readonly string[];
  apiWasAway: boolean;
}

/** kubectl drain would cordon the node by itself, without our record of it. */
async function requireCordoned({ api, node, signal }: DrainRun): Promise<void> {
  const answer = await api.send({ doing: `read node ${node}`, path: nodePath(node), answer: nodeSchema, signal });
  if (answer.spec.unschedulable === true) return;
  throw new KubeosError(`node ${node} is not cordoned (any more)`, EXIT.incomplete, {
    node,
    step: 'drain',
    reason: 'somebody uncordoned it meanwhile, so new pods may have been placed on it',
    next: 'find out who did, then give the same command again',
  });
}

/** kubectl refuses a drain for a bare pod even while that pod is going away; so that is waited for first. */
async function outwaitRefusedPods(run: DrainRun): Promise<void> {
  const { view, clock, signal } = run;
  for (;;) {
    run.onProgress(await view.look({ signal }));
    if (view.goingButRefused() === undefined || clock.now() >= run.deadline) return;
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}

async function runKubectlDrain(run: DrainRun): Promise<DrainEnd> {
  const { clock, signal, view } = run;
  signal.throwIfAborted();
  await run.confirmStart(signal);
  const drain = run.kubectl.start(drainArgs(run));
  const tail = tailOf(drain);
  let apiWasAway = false;
  try {
    while (!drain.ended()) {
      await untilExitOr(drain, clock, signal);
      if (drain.ended()) break;
      if (clock.now() > run.deadline + OVERTIME_MS) await drain.end();
      await view.look({ signal, retryForMs: 0 }).then(run.onProgress, (error: unknown) => {
        signal.throwIfAborted();
        if (!(error instanceof KubeosError)) throw error;
        apiWasAway = true;
      });
    }
    const { code } = await drain.exited;
    return { code, tail: tail(), apiWasAway };
  } finally {
    await drain.end();
  }
}

function drainArgs({ node, options, deadline, clock }: DrainRun): string[] {
  // kubectl takes 0 as no limit, so a deadline that is over already still gets its second.
  const seconds = Number.isFinite(deadline) ? Math.max(1, Math.ceil((deadline - clock.now()) / 1000)) : 0;
  return [
    'drain',
    nodeName(node),
    '--ignore-daemonsets',
    `--timeout=${seconds}s`,
    `--grace-period=${options.gracePeriodSeconds}`,
    ...(options.force ? ['--force'] : []),
    ...(options.deleteEmptyDirData ? ['--delete-emptydir-data'] : []),
    ...(options.disableEviction ? ['--disable-eviction'] : []),
    ...(options.podSelector === undefined ? [] : [`--pod-selector=${options.podSelector}`]),
  ];
}

async function untilExitOr(drain: GuardedProcess, clock: Clock, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const nap = clock.sleep(LOOK_EVERY_MS, AbortSignal.any([signal, over.signal]));
  try {
    await Promise.race([drain.exited, nap]);
  } finally {
    over.abort();
    nap.catch(() => undefined);
  }
}

/** The last lines of what kubectl says; also keeps its pipes from filling up. */
function tailOf(drain: GuardedProcess): () => readonly string[] {
  let said = '';
  for (const stream of [drain.stdout, drain.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-8_000)));
  }
  return () => {
    const lines = said.split('\n').filter((line) => line.trim() !== '');
    // It says the same every five seconds: the last time is enough.
    return [...new Set(lines.reverse())].slice(0, TAIL_LINES).reverse();
  };
}

function drainFailure(run: DrainRun, end: DrainEnd): KubeosError {
  const { view, node, options } = run;
  const { obstacles } = view.forecast();
  const certain = obstacles.filter((found) => found.verdict === 'certain');
  const timedOut = certain.length === 0 && run.clock.now() >= run.deadline;
  const { waitingFor, because } = view.progress;
  const waited =
    waitingFor === undefined
      ? undefined
      : `it waited for pod ${waitingFor}${because === undefined ? '' : `: ${because}`}`;
  const refused = certain.map((found) => `pod ${found.pod}: ${found.message}`).join('\n');
  const silent = `kubectl drain ended with ${String(end.code ?? 'a signal')}; its last lines are below`;
  // Once the wait is over, that it is waited for is no remedy any more.
  const remedyOf = ({ remedy }: DrainObstacle): string => (timedOut ? remedy.replace(`${WAITED_FOR}; `, '') : remedy);
  const remedies = [...new Set((certain.length === 0 ? obstacles : certain).map(remedyOf))];
  const longer = 'give it longer: --drain-timeout';
  return new KubeosError(
    timedOut ? `the drain did not end within ${shortTime(options.timeoutMs)}` : 'the node cannot be drained',
    EXIT.incomplete,
    {
      node,
      step: 'drain',
      reason: refused === '' ? (waited ?? silent) : refused,
      next:
        [...(timedOut ? [longer] : []), ...remedies].join('\n') ||
        'see the lines below, then give the same command again',
      logTail: end.tail,
    },
  );
}
