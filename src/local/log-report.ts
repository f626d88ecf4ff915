import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolders } from '../make-folders.ts';
import type { RolloutEvent } from '../rollout/events.ts';
import type { Report } from '../rollout/ports.ts';
import { redactUrls } from '../validate/redact.ts';
import { eventLines } from './event-lines.ts';

/** The fields of events whose text tells people what to do. */
const ADVICE: ReadonlySet<string> = new Set(['next', 'remedy']);

/** Progress is logged this often for each node, which is enough to see afterwards how quickly it went. */
const PROGRESS_EVERY_MS = 10_000;

/** A run's log folder: `run.ndjson` holds every event as data, `NODE.log` a node's own as lines. */
export interface LogReport extends Report {
  readonly dir: string;
  /** The file of a node's lines. */
  readonly fileOf: (node: string) => string;
  /** Why nothing more is written; undefined while all is well. */
  readonly problem: string | undefined;
}

export interface LogReportOptions {
  /** Is told once, in words for the user. */
  onProblem?: (message: string) => void;
  /** What becomes of a text that tells what to do. */
  advice?: (text: string) => string;
}

/**
 * Writes events as they come, each with a single append, so that a killed run leaves all but its last line; URLs are
 * redacted. A folder that cannot be written ends the logging, not the run.
 */
export function createLogReport(dir: string, { onProblem, advice = (text) => text }: LogReportOptions = {}): LogReport {
  let problem: string | undefined;
  const lastProgress = new Map<string, number>();
  const attempt = (write: () => void): void => {
    if (problem !== undefined) return;
    try {
      write();
    } catch (error) {
      problem = `the log folder ${dir} cannot be written: ${error instanceof Error ? error.message : String(error)}`;
      onProblem?.(`${problem}; the run goes on without logs`);
    }
  };
  const asLogged = (key: string, value: unknown): unknown =>
    typeof value === 'string' ? redactUrls(ADVICE.has(key) ? advice(value) : value) : value;
  attempt(() => makeFolders(dir, 0o700));
  return {
    dir,
    fileOf: (node) => join(dir, `${fileName(node)}.log`),
    get problem() {
      return problem;
    },
    event(event) {
      if (event.type === 'step-progress' && !isDue(event, lastProgress)) return;
      attempt(() => append(dir, 'run.ndjson', `${JSON.stringify(event, asLogged)}\n`));
      const node = nodeOf(event);
      const lines = node === undefined ? [] : eventLines(event, advice);
      if (node !== undefined && lines.length > 0) attempt(() => append(dir, `${fileName(node)}.log`, lines.join('')));
    },
  };
}

/** A name from the cluster as a file name: Kubernetes allows nothing else in a node's name, but nobody checks it here. */
export function fileName(node: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,200}$/.test(node)) return node;
  const digest = createHash('sha256').update(node).digest('hex').slice(0, 8);
  return `${node.replace(/[^A-Za-z0-9-]/g, '_').slice(0, 100)}-${digest}`;
}

function isDue({ node, at }: Extract<RolloutEvent, { type: 'step-progress' }>, last: Map<string, number>): boolean {
  const before = last.get(node);
  if (before !== undefined && at >= before && at - before < PROGRESS_EVERY_MS) return false;
  last.set(node, at);
  return true;
}

function nodeOf(event: RolloutEvent): string | undefined {
  if (event.type === 'node-done') return event.result.node;
  return 'node' in event ? event.node : undefined;
}

function append(dir: string, name: string, text: string): void {
  appendFileSync(join(dir, name), text, { mode: 0o600 });
}
