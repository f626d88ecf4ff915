import { EXIT, EXIT_MEANINGS } from '../exit-codes.ts';
import type { NodeResult, RolloutResult } from '../rollout/events.ts';
import type { Outcome } from '../rollout/steps.ts';
import { compareNatural } from '../rollout/versions.ts';
import type { Display } from './display.ts';
import { groupBy, someNames } from './groups.ts';
import { commandLines, field, fields, hanging } from './layout.ts';
import { logLines } from './log-tail.ts';
import { penFor, type Pen } from './pen.ts';
import { joinSections } from './plan-screen.ts';
import { sharedFields, shareFindings } from './shared-findings.ts';
import { padEnd, padStart } from './text.ts';
import { duration } from './units.ts';

export interface ResultScreenOptions {
  /** The command that was given, which also carries on: `kubeos upgrade -f upgrade.yaml`. */
  command: string;
  /** The run's log folder, if one could be written. */
  logDir?: string;
  /** The file in it that holds all that was said of a node. */
  logFile?: (node: string) => string;
}

/** How a rollout ended, as lines: failures first, the most urgent at the top, then counts, then the exit code. */
export function renderResult(result: RolloutResult, display: Display, options: ResultScreenOptions): string[] {
  const pen = penFor(display);
  const { run, stopped } = result;
  const logs: Logs = { run, fileOf: options.logFile };
  const results = [...result.results].sort((one, other) => compareNatural(one.node, other.node));
  return joinSections([
    ...URGENCY.flatMap((outcome) => failures(results, outcome, logs, pen)),
    ...interrupted(results, pen),
    ...notStarted(
      results.filter((one) => !isStoppedFirst(one, stopped)),
      pen,
    ),
    stopped === undefined ? [] : hanging('', `Stopped early: ${stopped}.`, pen),
    counts(results, pen),
    verdict(result, options, pen),
  ]);
}

/** How many nodes ended how, in the order of urgency: `upgraded 2, fell back 1`. */
export function countOutcomes(results: readonly NodeResult[]): [Outcome, string[]][] {
  const outcomes = SUMMARY_ORDER.map((outcome): [Outcome, string[]] => [outcome, namesOf(results, outcome)]);
  return outcomes.filter(([, names]) => names.length > 0);
}

/** What a node's line says of its end: `fell back to KubeOS 1.0.0, slot B`. */
function outcomePhrase({ outcome, now, slot }: NodeResult): string {
  const where = slot === undefined ? '' : `, slot ${slot}`;
  if (now === undefined) return `${outcome}${where}`;
  if (outcome === 'fell back') return `fell back to ${now}${where}`;
  return `${outcome}, runs ${now}${where}`;
}

const URGENCY = ['needs hands', 'failed', 'fell back'] as const satisfies readonly Outcome[];
const SUMMARY_ORDER = [...URGENCY, 'interrupted', 'not started', 'upgraded', 'rolled back', 'already there'] as const;
const UNFINISHED: ReadonlySet<Outcome> = new Set(['needs hands', 'failed', 'interrupted', 'not started'] as const);
const SOMETHING_LEFT: ReadonlySet<number> = new Set([
  EXIT.incomplete,
  EXIT.fellBack,
  EXIT.needsHands,
  EXIT.interrupted,
]);

/** The same command has something left to do; a node that fell back must be mended first, and says so itself. */
const canCarryOn = ({ exitCode, results }: RolloutResult): boolean =>
  SOMETHING_LEFT.has(exitCode) && results.some(({ outcome }) => UNFINISHED.has(outcome));

const namesOf = (results: readonly NodeResult[], outcome: Outcome): string[] =>
  results.filter((result) => result.outcome === outcome).map((result) => result.node);

function failures(results: readonly NodeResult[], outcome: Outcome, logs: Logs, pen: Pen): string[][] {
  return results.filter((result) => result.outcome === outcome).map((result) => failure(result, logs, pen));
}

interface Logs {
  run: string;
  /** Undefined where no log folder could be written. */
  fileOf: ((node: string) => string) | undefined;
}

function failure(result: NodeResult, logs: Logs, pen: Pen): string[] {
  return [
    ...hanging('', `${pen.symbols.bad} ${result.node}  ${outcomePhrase(result)}`, pen).map(pen.bad),
    ...fields(
      [
        field('step', result.step),
        field('what', result.what),
        field('cause', result.reason),
        field('log', logLines(wholeLog(result, logs, pen), result.logTail, [result.what, result.reason], logs.run)),
        field('left', result.left),
        field('next', result.next),
      ],
      4,
      pen,
    ),
  ];
}

/** What kubectl said, or a step's script, the node's own log does not have. */
const wholeLog = ({ node, saidToRun }: NodeResult, { fileOf }: Logs, pen: Pen): string | undefined =>
  saidToRun === true ? fileOf?.(node) : pen.advice(`kubeos logs ${node}`);

/** Nothing failed on them: those that were stopped alike share a block, and no log explains anything. */
function interrupted(results: readonly NodeResult[], pen: Pen): string[][] {
  const stopped = results.filter(({ outcome }) => outcome === 'interrupted');
  const alike = ({ what, reason, left, next }: NodeResult): string => JSON.stringify([what, reason, left, next]);
  return groupBy(stopped, alike).map((group) => {
    const [{ what, reason, left, next }] = group;
    const names = someNames(
      group.map(({ node }) => node),
      pen,
    );
    return [
      ...hanging(`${pen.symbols.warning} `, `${names}  interrupted`, pen).map(pen.warn),
      ...fields([field('what', what), field('cause', reason), field('left', left), field('next', next)], 4, pen),
    ];
  });
}

/** The run stopped before its turn: the line that says why says it for all of them. */
const isStoppedFirst = ({ what, reason }: NodeResult, stopped: string | undefined): boolean =>
  stopped !== undefined && reason === undefined && what?.includes(stopped) === true;

/** Nodes that were not started for the same reason share a block: after a stop there can be hundreds. */
function notStarted(results: readonly NodeResult[], pen: Pen): string[][] {
  const idle = results.filter(({ outcome }) => outcome === 'not started');
  const found = idle.map((result) => ({ node: result.node, finding: { ...result, what: result.what ?? '' } }));
  return shareFindings(found, pen).map((shared) => [
    ...hanging(`${pen.symbols.neutral} `, `${someNames(shared.nodes, pen)}  not started`, pen),
    ...fields([field('what', shared.what), ...sharedFields(shared)], 4, pen),
  ]);
}

function counts(results: readonly NodeResult[], pen: Pen): string[] {
  const rows = countOutcomes(results);
  const outcomeWidth = Math.max(0, ...rows.map(([outcome]) => outcome.length));
  const countWidth = Math.max(0, ...rows.map(([, names]) => String(names.length).length));
  return rows.flatMap(([outcome, names]) =>
    hanging(
      `  ${padEnd(outcome, outcomeWidth)}  ${padStart(String(names.length), countWidth)}  `,
      someNames(names, pen),
      pen,
    ),
  );
}

function verdict(result: RolloutResult, { command, logDir }: ResultScreenOptions, pen: Pen): string[] {
  const { results, version, exitCode, tookMs } = result;
  const there = results.filter(({ outcome }) => ['upgraded', 'rolled back', 'already there'].includes(outcome)).length;
  const good = exitCode === EXIT.done;
  const share = shareOf(there, results.length);
  const line = `${good ? `${pen.symbols.good} ` : ''}${version}: ${share}${tookMs > 0 ? `, after ${duration(tookMs)}` : ''}.`;
  const logs = logDir === undefined ? [] : hanging('Logs: ', logDir, pen);
  if (good) return [...hanging('', line, pen).map(pen.good), ...logs];
  return [
    ...hanging('', line, pen),
    ...hanging('', `Exit ${exitCode}: ${EXIT_MEANINGS.get(exitCode) ?? ''}.`, pen).map(pen.bold),
    ...(canCarryOn(result) ? commandLines('To carry on:', command, pen) : []),
    ...logs,
  ];
}

function shareOf(there: number, all: number): string {
  if (all === 0) return 'no node was to be changed';
  if (all === 1) return there === 1 ? 'the node runs it' : 'the node does not run it';
  return there < all ? `${there} of ${all} nodes run it` : `all ${all} nodes run it`;
}
