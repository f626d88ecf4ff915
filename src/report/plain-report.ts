import type { NodeResult, RolloutEvent } from '../rollout/events.ts';
import type { Report } from '../rollout/ports.ts';
import { lockHolderText, lockTakenText, lockWaitText } from './lock-wait.ts';
import type { Pen } from './pen.ts';
import { Progress, waitKey, type NodeProgress } from './progress.ts';
import { bytesText, isGood } from './progress-text.ts';
import { countOutcomes } from './result-screen.ts';
import { padEnd, plural, width } from './text.ts';
import { dayAndZone, duration, roughDuration, timeOfDay } from './units.ts';

/** A step of many bytes says so this often, and no oftener. */
const PROGRESS_EVERY_MS = 30_000;
/** A wait that is over sooner is no news. */
const WAIT_WORTH_MS = 10_000;
/** What goes on without news is said again after this long: some pipelines end a job that is silent. */
const AGAIN_EVERY_MS = 60_000;
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
  /** When a node last had a line, or began a step. */
  readonly #said = new Map<string, number>();
  readonly #waits = new Map<string, Wait>();
  #budgetWait: { text: string; toldAt: number } | undefined;
  #lockTold: { text: string; at: number } | undefined;
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
        this.#waits.delete(event.node);
        this.#said.set(event.node, event.at);
        break;
      case 'step-progress':
        this.#tellBytes(event);
        break;
      case 'step-waiting':
        this.#wait(event);
        break;
      case 'step-done':
        this.#waits.delete(event.node);
        this.#line(event.at, event.node, stepLine(event.step, stepEnd(event)));
        break;
      case 'notice':
        this.#tellNotice(event);
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

  /** Tells what has gone on for long without news; to be called every second or so. */
  tick(at: number): void {
    for (const node of this.#progress.inFlight) this.#tellPatience(node, at);
    this.#tellLock(at);
    if (this.#progress.budgetEatenBy.length > 0 && this.#budgetWait !== undefined) this.#repeatBudget(at);
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
    this.#waits.delete(node);
    const said = this.#said.get(node);
    if (said !== undefined && at - said < PROGRESS_EVERY_MS) return;
    this.#said.set(node, at);
    const known = this.#progress.node(node);
    if (said !== undefined && known !== undefined) this.#line(at, node, stepLine(step, bytesText(known, at)));
  }

  #wait({ at, node, step, for: text }: Extract<RolloutEvent, { type: 'step-waiting' }>): void {
    const key = `${step} ${waitKey(text)}`.replace(/\b\d+ of \d+\b/g, '#');
    const before = this.#waits.get(node);
    this.#waits.set(node, before?.key === key ? { ...before, text } : { key, text, since: at });
    const known = this.#progress.node(node);
    if (known !== undefined) this.#tellPatience(known, at);
  }

  #tellPatience(node: NodeProgress, at: number): void {
    const wait = this.#waits.get(node.node);
    if (wait === undefined) {
      if (at - (this.#said.get(node.node) ?? node.stepStartedAt) < AGAIN_EVERY_MS) return;
      const counted = bytesText(node, at);
      const text = counted === '' ? `goes on, since ${roughDuration(at - node.stepStartedAt)}` : counted;
      this.#line(at, node.node, stepLine(node.step ?? 'start', text));
      return;
    }
    if (at - (wait.toldAt ?? wait.since) < (wait.toldAt === undefined ? WAIT_WORTH_MS : AGAIN_EVERY_MS)) return;
    const words = wait.toldAt === undefined ? 'waits:' : `still waits, since ${roughDuration(at - wait.since)}:`;
    this.#line(at, node.node, stepLine(node.step ?? 'start', `${words} ${wait.text}`));
    this.#waits.set(node.node, { ...wait, toldAt: at });
  }

  #finish(at: number, result: NodeResult): void {
    this.#waits.delete(result.node);
    const told = result.outcome === 'already there' || (result.outcome === 'not started' && this.#isTold(result));
    const { good, warn, bad } = this.#pen;
    const paint = isGood(result) ? good : result.outcome === 'interrupted' ? warn : bad;
    if (!told) this.#line(at, result.node, finished(result), paint);
    this.#said.delete(result.node);
  }

  /** The plan or the stop said it already. */
  #isTold({ node }: NodeResult): boolean {
    return this.#settled.has(node) || this.#progress.stopping;
  }

  #tellRun(event: Extract<RolloutEvent, { type: RunEventType }>): void {
    if (event.type === 'lock-waiting') this.#tellLock(event.at);
    if (event.type === 'lock-taken') this.#line(event.at, RUN, lockTakenText(event));
    if (event.type === 'stopping') this.#line(event.at, RUN, `stopping: ${event.reason}`, this.#pen.warn);
    if (event.type === 'budget-waiting') this.#tellBudget(event);
    if (event.type === 'rollout-done') {
      const counts = countOutcomes(event.result.results).map(([outcome, names]) => `${outcome} ${names.length}`);
      const ended = `ended after ${duration(event.result.tookMs)}`;
      this.#line(event.at, RUN, [ended, counts.join(', ')].filter((part) => part !== '').join(': '));
    }
  }

  /** At once when it begins and when the holder is found to live, then each minute, with how far that run is. */
  #tellLock(at: number): void {
    const wait = this.#progress.lockWait;
    if (wait === undefined) return;
    const text = lockWaitText(wait);
    const told = this.#lockTold;
    if (told?.text === text && at - told.at < AGAIN_EVERY_MS) return;
    const words = told?.text === text ? `still ${text}, since ${roughDuration(at - wait.since)}` : text;
    this.#line(at, RUN, `${words}: ${lockHolderText(wait.holder)}`);
    this.#lockTold = { text, at };
  }

  /** Several lines where it has them, for commands to be copied; each bears the time and the name, so none is forged. */
  #tellNotice({ at, node, message }: Extract<RolloutEvent, { type: 'notice' }>): void {
    for (const [index, text] of this.#pen.lines(message).entries()) {
      this.#line(at, node ?? RUN, index === 0 ? `notice: ${text}` : `  ${text}`, this.#pen.warn);
    }
  }

  #tellBudget({ at, eatenBy, timeoutMs }: Extract<RolloutEvent, { type: 'budget-waiting' }>): void {
    const atMost = timeoutMs === 0 ? '' : `, at most ${roughDuration(timeoutMs)}`;
    const text = `waits for the budget${atMost}: unavailable already: ${eatenBy.join(', ')}`;
    if (this.#budgetWait?.text !== text) this.#budgetWait = { text, toldAt: -Infinity };
    this.#repeatBudget(at);
  }

  #repeatBudget(at: number): void {
    if (this.#budgetWait === undefined || at - this.#budgetWait.toldAt < AGAIN_EVERY_MS) return;
    this.#budgetWait.toldAt = at;
    this.#line(at, RUN, this.#budgetWait.text);
  }

  #line(at: number, who: string, text: string, paint: (text: string) => string = (plain) => plain): void {
    if (who !== RUN) this.#said.set(who, at);
    const name = padEnd(this.#pen.line(who), this.#nameColumns);
    this.#write(`${timeOfDay(at)} ${name}  ${paint(this.#pen.line(text))}`);
  }
}

type RunEventType = 'lock-waiting' | 'lock-taken' | 'budget-waiting' | 'stopping' | 'rollout-done';

interface Wait {
  /** The same as long as only a time or a count in the text has changed. */
  key: string;
  text: string;
  since: number;
  toldAt?: number;
}

const stepLine = (step: string, text: string): string => `${padEnd(step, LONGEST_STEP)} ${text}`;

/** How long it took stands in the times of the lines. */
const stepEnd = ({ detail, skipped }: Extract<RolloutEvent, { type: 'step-done' }>): string =>
  detail === '' ? `done${skipped ? ' before' : ''}` : detail;

function finished(result: NodeResult): string {
  const { outcome, from, now, slot, what, reason, left, tookMs, unavailableMs } = result;
  const title = outcome.toUpperCase();
  const where = slot === undefined ? '' : `, slot ${slot}`;
  if (isGood(result)) {
    const away = unavailableMs === undefined ? '' : `, unavailable ${duration(unavailableMs)}`;
    return `${title} ${from} -> ${now ?? 'unknown'}${where}, in ${duration(tookMs)}${away}`;
  }
  const at = now === undefined ? '' : ` ${outcome === 'fell back' ? 'to' : 'runs'} ${now}${where}`;
  const why = [what, reason, left].filter((part) => part !== undefined).join(': ');
  return `${title}${at}${why === '' ? '' : `: ${why}`}`;
}
