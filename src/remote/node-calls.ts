import { ConnectError, type FailureContext } from '../errors.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Clock } from '../rollout/ports.ts';
import { afterMark, parseAnswers, type Answers } from './answers.ts';
import { composeCall, composeFedCall, type ScriptArguments } from './compose.ts';
import { OverdueError, type Input } from './exec.ts';
import { fed, type Feed } from './feed.ts';
import type { ConnectionPool } from './pool.ts';
import { RootShell } from './root-shell.ts';
import { explainScriptFailure } from './script-errors.ts';
import { SCRIPTS, type StepScript } from './scripts/index.ts';

export interface CallOptions {
  /** What failures name; the script's own name if missing. */
  step?: string;
  /** Ends waiting, and the reading of an answer; what runs on the node goes on. */
  signal?: AbortSignal;
  /** Once the script has been sent, wait for its answer even if `signal` is aborted. */
  seeThrough?: boolean;
  /** Milliseconds for one attempt. */
  timeoutMs?: number;
  /** Milliseconds until a connection must have signed in. */
  readyTimeoutMs?: number;
  /** Aborted once nobody may be asked any more, with the ConnectError that says so. */
  asking?: AbortSignal;
  /** Told when the script is about to be sent: connecting and signing in lie behind. */
  onSend?: () => void;
  /** Milliseconds for which a node that answered before may stay away. */
  patienceMs: number;
  /** What the script reads on from the channel, once it has said that it is ready. */
  feed?: Feed;
}

/** More than the 20 s for which a script waits for the node's flock, and slow disks besides. */
const CALL_TIMEOUT_MS = 120_000;
const BACKOFF_MS = [250, 500, 1000, 2000, 4000];

/** Runs node scripts over the pool's connections, again where a connection breaks: every script can be repeated. */
export class NodeCalls {
  readonly #pool: ConnectionPool;
  readonly #clock: Clock;
  readonly #notice: (message: string, node?: string) => void;
  readonly #root: RootShell;
  readonly #reached = new Set<string>();
  readonly #closing = new AbortController();

  constructor(
    pool: ConnectionPool,
    clock: Clock,
    notice: (message: string, node?: string) => void,
    root = new RootShell(),
  ) {
    this.#pool = pool;
    this.#root = root;
    this.#clock = clock;
    this.#notice = notice;
  }

  /** Ends every wait for a node that is away, and lets none begin: there are no connections any more. */
  close(): void {
    this.#closing.abort(new ConnectError('kubeos has ended its SSH connections', 'lost'));
  }

  /** Runs a script and resolves to its answers. Rejects with ConnectError or the KubeosError of its exit code. */
  async call(node: ClusterNode, script: StepScript, args: ScriptArguments, options: CallOptions): Promise<Answers> {
    return parseAnswers(await this.callForText(node, script, args, options));
  }

  /** The same for the script whose answer is plain text. */
  async callForText(
    node: ClusterNode,
    script: StepScript,
    args: ScriptArguments,
    options: CallOptions,
  ): Promise<string> {
    const { feed } = options;
    const piece =
      feed === undefined ? composeCall(SCRIPTS[script], args) : fed(composeFedCall(SCRIPTS[script], args), feed);
    const step = options.step ?? script;
    const { signal } = options;
    const waiting = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    let awaySince: number | undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        const text = await this.#attempt(node, script, piece, options);
        if (awaySince !== undefined) this.#notice('the SSH connection is back', node.name);
        return text;
      } catch (error) {
        awaySince = this.#excuse(error, node.name, step, options.patienceMs, awaySince);
      }
      await this.#clock.sleep(BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length - 1)] ?? 0, waiting);
    }
  }

  /** Throws what cannot be waited for; else tells since when the node has been away. */
  #excuse(error: unknown, node: string, step: string, patienceMs: number, awaySince?: number): number {
    if (!(error instanceof ConnectError)) throw error;
    const here = located(error, node, step);
    const isOver = this.#closing.signal.aborted || patienceMs === 0;
    if (isOver || !isPassing(error) || !this.#reached.has(node)) throw here;
    if (error instanceof OverdueError) this.#notice(`${error.message}: tried again over a new connection`, node);
    else if (awaySince === undefined) {
      this.#notice(`SSH is away and tried again: ${error.reason ?? error.message}`, node);
    }
    const since = awaySince ?? this.#clock.now();
    if (this.#clock.now() - since >= patienceMs) throw error instanceof OverdueError ? here : givenUp(here, patienceMs);
    return since;
  }

  async #attempt(node: ClusterNode, script: StepScript, piece: Input, options: CallOptions): Promise<string> {
    const { signal, readyTimeoutMs, asking } = options;
    const connection = await this.#pool.get(node, {
      ...(signal !== undefined && { signal }),
      ...(asking !== undefined && { asking }),
      ...(readyTimeoutMs !== undefined && { readyTimeoutMs }),
    });
    this.#reached.add(node.name);
    options.onSend?.();
    const result = await this.#root.run(connection, node.name, piece, {
      timeoutMs: options.timeoutMs ?? CALL_TIMEOUT_MS,
      ...(signal !== undefined && options.seeThrough !== true && { signal }),
      ...(asking !== undefined && { asking }),
    });
    if (result.code === 0) return afterMark(result.stdout) ?? '';
    const step = options.step ?? script;
    throw explainScriptFailure({ ...result, node: node.name, step, script });
  }
}

/** Failures that pass by themselves: a node that is restarting, a network that is away. */
export function isPassing(error: ConnectError): boolean {
  return error.failure === 'lost' || error.failure === 'unreachable' || error.failure === 'timeout';
}

function located(error: ConnectError, node: string, step: string): ConnectError {
  return new ConnectError(error.message, error.failure, { ...contextOf(error), node, step });
}

function givenUp(error: ConnectError, patienceMs: number): ConnectError {
  return new ConnectError(`the SSH connection was lost and could not be made again for ${span(patienceMs)}`, 'lost', {
    ...contextOf(error),
    reason: [error.message, error.reason].filter((text) => text !== undefined).join(': '),
    next: 'what runs on the node goes on; once it answers, give the same command again',
  });
}

function contextOf(error: ConnectError): FailureContext {
  const { reason, next, node, step, cause } = error;
  return {
    ...(reason !== undefined && { reason }),
    ...(next !== undefined && { next }),
    ...(node !== undefined && { node }),
    ...(step !== undefined && { step }),
    ...(cause !== undefined && { cause }),
    logTail: error.logTail,
  };
}

/** A time in words: `15s`, `2m`. */
export function span(ms: number): string {
  return ms >= 60_000 ? `${String(Math.round(ms / 60_000))}m` : `${String(Math.round(ms / 1000))}s`;
}
