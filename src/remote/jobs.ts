import { createHash } from 'node:crypto';
import * as z from 'zod';
import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Authority, Clock, StepProgress } from '../rollout/ports.ts';
import { readAnswers, under, wholeNumber, type Answers } from './answers.ts';
import { composeScript, type ScriptArguments } from './compose.ts';
import type { NodeCalls } from './node-calls.ts';
import { explainScriptFailure } from './script-errors.ts';
import type { Patience } from './settings.ts';
import { SCRIPTS, type StepScript } from './scripts/index.ts';

/** A long step that runs detached on its node. */
export interface Job {
  step: 'stage' | 'write' | 'verify';
  /** What does it, where it is not the script of the step's name. */
  script?: StepScript;
  by: Authority;
  /** The step's own arguments, without run and token. */
  args: ScriptArguments;
  /** What makes this work the same work, whoever asks for it: a later run adopts a job of the same mark. */
  mark: readonly string[];
}

export interface JobTools {
  calls: NodeCalls;
  clock: Clock;
  patience: Patience;
  notice: (message: string, node?: string) => void;
}

const POLL_MS = [150, 250, 500, 1000];
// A job that vanished, by a reset of the node or a killed process, is started again this many times.
const MAX_STARTS = 3;
const END_TIMEOUT_MS = 15_000;

const pollSchema = z.object({
  state: z.enum(['running', 'done', 'gone']),
  rc: wholeNumber.optional(),
  done_bytes: wholeNumber.optional(),
  total_bytes: wholeNumber.optional(),
});

/**
 * Starts a long step on the node, or adopts it where it runs already, and polls it to its end. A lost connection is
 * made again meanwhile. When `signal` is aborted, the step is ended on the node, then its reason is thrown.
 */
export async function runJob(
  tools: JobTools,
  node: ClusterNode,
  job: Job,
  onProgress: (progress: StepProgress) => void,
  signal: AbortSignal,
): Promise<Answers> {
  const id = jobId(job);
  let lastErrors: readonly string[] = [];
  try {
    for (let start = 1; start <= MAX_STARTS; start++) {
      signal.throwIfAborted();
      await launch(tools, node, job, id, signal);
      const { answers, errors } = await poll(tools, node, job, id, onProgress, signal);
      if (answers !== undefined) return answers;
      lastErrors = errors;
      tools.notice(`${job.step} vanished on the node, most likely by a reset`, node.name);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    await end(tools, node, job, id);
    throw signal.reason;
  }
  throw new KubeosError(`${job.step} vanished on the node ${String(MAX_STARTS)} times`, EXIT.incomplete, {
    node: node.name,
    step: job.step,
    reason: 'something on the node ends it: a reset, too little memory, or a hand',
    next: `look at the node: kubeos logs ${node.name}`,
    logTail: lastErrors,
  });
}

/** The job's name on the node: letters, digits and hyphens. */
export function jobId(job: Pick<Job, 'step' | 'mark'>): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([job.step, ...job.mark]))
    .digest('hex');
  return `${job.step}-${digest.slice(0, 16)}`;
}

async function launch(tools: JobTools, node: ClusterNode, job: Job, id: string, signal: AbortSignal): Promise<void> {
  const { run, token } = job.by;
  const payload = composeScript(SCRIPTS[job.script ?? job.step], { run, token, ...job.args });
  await tools.calls.call(
    node,
    'launch',
    { run, token, job: id, step: job.step, payload },
    // Left half way, a launch that still waits for the node's lock would start the step after it had been ended.
    { step: job.step, signal, seeThrough: true, patienceMs: tools.patience.jobMs },
  );
}

// Resolves without answers where the job has vanished.
async function poll(
  tools: JobTools,
  node: ClusterNode,
  job: Job,
  id: string,
  onProgress: (progress: StepProgress) => void,
  signal: AbortSignal,
): Promise<{ answers?: Answers; errors: readonly string[] }> {
  for (let count = 0; ; count++) {
    await tools.clock.sleep(POLL_MS[Math.min(count, POLL_MS.length - 1)] ?? 1000, signal);
    const options = { step: job.step, signal, patienceMs: tools.patience.jobMs };
    const answers = await tools.calls.call(node, 'poll', { job: id }, options);
    const { state, rc, done_bytes, total_bytes } = readAnswers(answers, pollSchema, 'poll', node.name);
    const errors = answers.get('err') ?? [];
    if (state === 'gone') return { errors };
    if (done_bytes !== undefined) {
      onProgress({ doneBytes: done_bytes, ...(total_bytes !== undefined && { totalBytes: total_bytes }) });
    }
    if (state === 'running') continue;
    if (rc === 0) return { answers: under(answers, 'out.'), errors };
    const stderr = errors.join('\n');
    throw explainScriptFailure({
      node: node.name,
      step: job.step,
      script: job.script ?? job.step,
      ...(rc !== undefined && { code: rc }),
      stderr,
      rollsBack: job.args['operation'] === 'rollback',
    });
  }
}

async function end(tools: JobTools, node: ClusterNode, job: Job, id: string): Promise<void> {
  const { run, token } = job.by;
  try {
    const options = { step: job.step, timeoutMs: END_TIMEOUT_MS, patienceMs: END_TIMEOUT_MS };
    await tools.calls.call(node, 'end-job', { run, token, job: id }, options);
  } catch (error) {
    if (!(error instanceof KubeosError)) throw error;
    tools.notice(`${job.step} may still run on the node (${error.message}); the next run takes it over`, node.name);
  }
}
