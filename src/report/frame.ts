import { STEPS } from '../rollout/steps.ts';
import type { Pen } from './pen.ts';
import { stepIndex, type NodeProgress, type Progress } from './progress.ts';
import { bytesText, nameColumn, stepWord } from './progress-text.ts';
import { truncate, width } from './text.ts';
import { duration } from './units.ts';

/** What the spinner and the space behind it take of the first line. */
export const SPINNER_COLUMNS = 2;

/** How long a shorter wait has lasted is of no interest. */
const WAIT_WORTH_MS = 3000;

/** `uncordon`, `verify B`, `commit A`. */
const STEP_COLUMNS = 8;

/**
 * What a terminal shows of a running rollout: the run, then a line for each node in flight. Never taller than
 * `rows - 1` lines (one at least) nor wider than `columns - 1`, so that a terminal neither scrolls nor wraps it. The
 * first line leaves room for the spinner.
 */
export function frame(progress: Progress, now: number, size: { columns: number; rows: number }, pen: Pen): string[] {
  const columns = Math.max(1, size.columns - 1);
  const room = Math.max(1, size.rows - 1);
  const remarks = progress.budgetEatenBy.length > 0 ? [budgetLine(progress.budgetEatenBy, columns, pen)] : [];
  const lines = [header(progress, now, columns - SPINNER_COLUMNS, pen), ...remarks].slice(0, room);
  return [...lines, ...nodeLines(progress.inFlight, now, columns, room - lines.length, pen)];
}

/** Pieces of the first line are left out, the least important first, until it fits. */
function header(progress: Progress, now: number, columns: number, pen: Pen): string {
  const remaining = progress.remainingMs(now);
  const elapsed = duration(now - progress.startedAt);
  const pieces = [
    { text: pen.line(progress.version), weight: 5 },
    { text: `${progress.done} of ${progress.total} done`, weight: 6 },
    { text: `${progress.inFlight.length} in flight`, weight: 2 },
    { text: `budget ${progress.unavailable} of ${progress.budget} used`, weight: 1 },
    ...(progress.stopping ? [{ text: 'stopping', weight: 4 }] : []),
    { text: remaining === undefined ? elapsed : `${elapsed}, ${aboutLeft(remaining)}`, weight: 3 },
  ];
  let shown = pieces;
  while (shown.length > 1 && width(joined(shown)) > columns) {
    const least = Math.min(...shown.map((piece) => piece.weight));
    shown = shown.filter((piece) => piece.weight !== least);
  }
  return pen.bold(truncate(joined(shown), columns, pen.symbols.ellipsis));
}

const joined = (pieces: readonly { text: string }[]): string => pieces.map((piece) => piece.text).join('  ');

function aboutLeft(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000));
  return minutes < 60 ? `~${minutes}m left` : `~${Math.floor(minutes / 60)}h ${minutes % 60}m left`;
}

function budgetLine(eatenBy: readonly string[], columns: number, pen: Pen): string {
  const are = eatenBy.length === 1 ? 'is' : 'are';
  const text = pen.line(`  waits for the budget: ${eatenBy.join(', ')} ${are} unavailable already`);
  return pen.warn(truncate(text, columns, pen.symbols.ellipsis));
}

/** Where there are more nodes than lines, those furthest on their way are shown, the rest is counted. */
function nodeLines(nodes: readonly NodeProgress[], now: number, columns: number, room: number, pen: Pen): string[] {
  if (room < 1 || nodes.length === 0) return [];
  const shown = nodes.length <= room ? nodes : furthest(nodes).slice(0, room - 1);
  const rest = nodes.filter((node) => !shown.includes(node));
  const name = nameColumn(
    nodes.map((node) => node.node),
    Math.floor(columns * 0.4),
    pen,
  );
  const lines = shown.map((node) => nodeLine(node, name(node.node), now, columns, pen));
  return rest.length === 0 ? lines : [...lines, restLine(rest, columns, pen)];
}

const furthest = (nodes: readonly NodeProgress[]): NodeProgress[] =>
  nodes.toSorted((one, two) => stepIndex(two.step) - stepIndex(one.step) || one.startedAt - two.startedAt);

function nodeLine(node: NodeProgress, name: string, now: number, columns: number, pen: Pen): string {
  const start = `  ${name}  `;
  const text = pen.line(`${stepWord(node).padEnd(STEP_COLUMNS)} ${detail(node, now)}`);
  const line = truncate(start + text, columns, pen.symbols.ellipsis);
  const rest = line.slice(start.length);
  return line.slice(0, start.length) + (node.waiting === undefined ? rest : pen.warn(rest));
}

function detail(node: NodeProgress, now: number): string {
  if (node.waiting !== undefined) {
    const waited = now - node.waiting.since;
    return `waits${waited < WAIT_WORTH_MS ? '' : ` ${duration(waited)}`}: ${node.waiting.for}`;
  }
  const counted = bytesText(node, now);
  return counted === '' ? duration(now - node.stepStartedAt) : counted;
}

function restLine(rest: readonly NodeProgress[], columns: number, pen: Pen): string {
  const starting = rest.filter((node) => node.step === undefined).length;
  const counts = STEPS.map((step) => [step, rest.filter((node) => node.step === step).length] as const);
  const parts = [
    ...(starting > 0 ? [`${starting} starting`] : []),
    ...counts.filter(([, count]) => count > 0).map(([step, count]) => `${count} ${step}`),
  ];
  const text = `  ${pen.symbols.ellipsis} and ${rest.length} more: ${parts.join(', ')}`;
  return pen.dim(truncate(text, columns, pen.symbols.ellipsis));
}
