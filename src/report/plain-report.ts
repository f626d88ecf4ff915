import type { NodeResult, RolloutEvent } from '../rollout/events.ts';
import type { Report } from '../rollout/ports.ts';
import type { Pen } from './pen.ts';
import { Progress, waitKey } from './progress.ts';
import { bytesText, isGood } from './progress-text.ts';
import { countOutcomes } from './result-screen.ts';
import { padEnd, plural, width } from './text.ts';
import { dayAndZone, duration, roughDuration, timeOfDay } from './units.ts';

/** A step of many bytes says so this often, and no oftener. */
const PROGRESS_EVERY_MS = 30_000;
/** A wait that goes on is said again after this long: some pipelines end a job that is silent. */
const WAIT_EVERY_MS = 60_000;
const LONGEST_STEP = 'uncordon'.length;
const WIDEST_NAME = 40;
const RUN = 'rollout';

/**
 * One line a change, with its time, and nothing rewritten: for pipes, files and pipelines.
 * @param write gets each line without its line break
 */
export class PlainReport implements Report {
  readonly #write: (line: string) => void;
  readonly #pen: Pen;
  readonly #progress = new Progress();
  readonly #settled = new Set<string>();
  /** When a node's step last had a line, and the wait that it told. */
  readonly #said = new Map<string, { at: number; wait?: string }>();
  #nameColumns = RUN.length;

  constructor(write: (line: string) => void, pen: Pen) {
    this.#write = write;
    this.#pen = pen;
  }

  event(event: RolloutEvent): void {
    this.#progress.apply(event);
    switch (event.type) {
      case 'rollout-started':
        this.#begin(event);
        break;
      case 'node-started':
        this.#line(event.at, event.node, `begins, towards slot ${event.slot}`);
        break;
      case 'step-started':
        this.#said.set(event.node, { at: event.at });
        break;
      case 'step-progress':
        this.#tellBytes(event);
        break;
      case 'step-waiting':
        this.#tellWait(event);
        break;
      case 'step-done':
        this.#line(event.at, event.node, stepLine(event.step, stepEnd(event)));
        break;
      case 'notice':
        this.#line(event.at, event.node ?? RUN, `notice: ${event.message}`, this.#pen.warn);
        break;
      case 'node-done':
        this.#finish(event.at, event.result);
        break;
      default:
        this.#tellRun(event);
    }
  }

  /** What happens before the rollout, where no events are: `reading 7 nodes`. */
  activity(at: number, text: string): void {
    this.#line(at, RUN, text);
  }

  #begin({ at, run, plan }: Extract<RolloutEvent, { type: 'rollout-started' }>): void {
    const names = plan.entries.map((entry) => entry.node);
    this.#nameColumns = Math.min(WIDEST_NAME, Math.max(RUN.length, ...names.map(width)));
    for (const { node } of [...plan.already, ...plan.notStarted]) this.#settled.add(node);
    const pace = `${plural(names.length, 'node')}, ${plan.maxUnavailable} at a time`;
    this.#line(at, RUN, `${plan.direction} to ${plan.version}: ${pace}`);
    this.#line(at, RUN, `run ${run} began on ${dayAndZone(at)}`);
  }

  #tellBytes({ at, node, step }: Extract<RolloutEvent, { type: 'step-progress' }>): void {
    const said = this.#said.get(node);
    if (said !== undefined && at - said.at < PROGRESS_EVERY_MS) return;
    this.#said.set(node, { at });
    const known = this.#progress.node(node);
    if (said !== undefined && known !== undefined) this.#line(at, node, stepLine(step, bytesText(known, at)));
  }

  #tellWait({ at, node, step, for: what }: Extract<RolloutEvent, { type: 'step-waiting' }>): void {
    const said = this.#said.get(node);
    const wait = waitKey(`${step} ${what}`);
    const again = said?.wait === wait;
    if (again && at - said.at < WAIT_EVERY_MS) return;
    this.#said.set(node, { at, wait });
    const since = this.#progress.node(node)?.waiting?.since ?? at;
    const words = again ? `still waits, since ${roughDuration(at - since)}:` : 'waits:';
    this.#line(at, node, stepLine(step, `${words} ${what}`));
  }

  #finish(at: number, result: NodeResult): void {
    this.#said.delete(result.node);
    if (result.outcome === 'already there' || (result.outcome === 'not started' && this.#isTold(result))) return;
    this.#line(at, result.node, finished(result), isGood(result) ? this.#pen.good : this.#pen.bad);
  }

  /** The plan or the stop said it already. */
  #isTold({ node }: NodeResult): boolean {
    return this.#settled.has(node) || this.#progress.stopping;
  }

  #tellRun(event: Extract<RolloutEvent, { type: 'budget-waiting' | 'stopping' | 'rollout-done' }>): void {
    if (event.type === 'stopping') this.#line(event.at, RUN, `stopping: ${event.reason}`, this.#pen.warn);
    if (event.type === 'budget-waiting') this.#tellBudget(event);
    if (event.type === 'rollout-done') {
      const counts = countOutcomes(event.result.results).map(([outcome, names]) => `${outcome} ${names.length}`);
      const ended = `ended after ${duration(event.result.tookMs)}`;
      this.#line(event.at, RUN, [ended, counts.join(', ')].filter((part) => part !== '').join(': '));
    }
  }

  #tellBudget({ at, eatenBy, timeoutMs }: Extract<RolloutEvent, { type: 'budget-waiting' }>): void {
    const said = this.#said.get('');
    const wait = eatenBy.join(', ');
    if (said?.wait === wait && at - said.at < WAIT_EVERY_MS) return;
    this.#said.set('', { at, wait });
    const atMost = timeoutMs === 0 ? '' : `, at most ${roughDuration(timeoutMs)}`;
    this.#line(at, RUN, `waits for the budget${atMost}: unavailable already: ${wait}`);
  }

  #line(at: number, who: string, text: string, paint: (text: string) => string = (plain) => plain): void {
    const name = padEnd(this.#pen.line(who), this.#nameColumns);
    this.#write(`${timeOfDay(at)} ${name}  ${paint(this.#pen.line(text))}`);
  }
}

const stepLine = (step: string, text: string): string => `${padEnd(step, LONGEST_STEP)} ${text}`;

/** How long it took stands in the times of the lines. */
const stepEnd = ({ detail, skipped }: Extract<RolloutEvent, { type: 'step-done' }>): string =>
  detail === '' ? `done${skipped ? ' before' : ''}` : detail;

function finished(result: NodeResult): string {
  const { outcome, from, now, slot, what, reason, tookMs, unavailableMs } = result;
  const title = outcome.toUpperCase();
  const where = slot === undefined ? '' : `, slot ${slot}`;
  if (isGood(result)) {
    const away = unavailableMs === undefined ? '' : `, unavailable ${duration(unavailableMs)}`;
    return `${title} ${from} -> ${now ?? 'unknown'}${where}, in ${duration(tookMs)}${away}`;
  }
  const at = now === undefined ? '' : ` ${outcome === 'fell back' ? 'to' : 'runs'} ${now}${where}`;
  const why = [what, reason].filter((part) => part !== undefined).join(': ');
  return `${title}${at}${why === '' ? '' : `: ${why}`}`;
}
