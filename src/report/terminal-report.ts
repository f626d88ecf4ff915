import ora, { type Ora } from 'ora';
import type { NodeResult, RolloutEvent } from '../rollout/events.ts';
import type { OutputStream } from './display.ts';
import { DEFAULT_COLUMNS } from './display.ts';
import { frame, SPINNER_COLUMNS } from './frame.ts';
import { hanging } from './layout.ts';
import { lockTakenText, lockWaitFrame } from './lock-wait.ts';
import { penFor, type Pen } from './pen.ts';
import { Progress } from './progress.ts';
import { finishedText, isGood, nameColumn } from './progress-text.ts';
import type { ProgressReport, ReportOptions } from './progress-types.ts';
import { quietly } from './quietly.ts';
import { cursorStream, reflowedRows } from './terminal-stream.ts';
import { truncate } from './text.ts';

const DEFAULT_ROWS = 24;
const FRAMES_EVERY_MS = 120;
const TEXT_EVERY_MS = 240;
const WIDEST_NAME = 30;

/** One frame, redrawn in place by one ora instance; finished nodes and notices scroll away above it. */
export class TerminalReport implements ProgressReport {
  readonly #options: ReportOptions;
  readonly #pen: Pen;
  readonly #stream: OutputStream;
  readonly #spinner: Ora;
  readonly #progress = new Progress();
  readonly #settled = new Set<string>();
  readonly #onResize = (): void => quietly(() => this.#resized());
  #name: (name: string) => string = (name) => name;
  #activity: string | undefined;
  #shown: readonly string[] = [];
  #begun = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReportOptions) {
    this.#options = options;
    this.#stream = cursorStream(options.stream);
    this.#pen = penFor({ ...options, columns: options.stream.columns || DEFAULT_COLUMNS });
    this.#spinner = ora({
      stream: this.#stream as unknown as NodeJS.WritableStream,
      isEnabled: true,
      // Reading standard input would take the terminal's own Ctrl-C, and leave it raw when kubeos is killed.
      discardStdin: false,
      spinner: { frames: [...this.#pen.symbols.spinner], interval: FRAMES_EVERY_MS },
      color: options.colour ? 'cyan' : false,
      text: '',
    });
    resizeEvents(options.stream)?.on('resize', this.#onResize);
  }

  event(event: RolloutEvent): void {
    quietly(() => this.#event(event));
  }

  activity(text: string | undefined): void {
    this.#activity = text;
    quietly(() => (text === undefined && !this.#begun ? this.#hide() : this.#draw()));
  }

  async paused<T>(task: () => Promise<T>): Promise<T> {
    const drawn = this.#spinner.isSpinning;
    quietly(() => this.#hide());
    try {
      return await task();
    } finally {
      if (drawn) quietly(() => this.#draw());
    }
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    resizeEvents(this.#options.stream)?.off('resize', this.#onResize);
    quietly(() => this.#hide());
  }

  #event(event: RolloutEvent): void {
    this.#progress.apply(event);
    if (event.type === 'rollout-started') {
      this.#begun = true;
      this.#activity = undefined;
      this.#name = nameColumn(
        event.plan.entries.map((entry) => entry.node),
        WIDEST_NAME,
        this.#pen,
      );
      for (const { node } of [...event.plan.already, ...event.plan.notStarted]) this.#settled.add(node);
    }
    if (event.type === 'lock-taken') this.#activity = 'planning anew';
    if (event.type === 'rollout-done') {
      this.stop();
      return;
    }
    this.#above(this.#scrolls(event));
    if (this.#begun || this.#activity !== undefined || this.#progress.lockWait !== undefined) this.#draw();
  }

  /** The lines that an event leaves behind above the frame. */
  #scrolls(event: RolloutEvent): string[] {
    const { symbols } = this.#pen;
    if (event.type === 'notice') {
      const who = event.node === undefined ? '' : `${event.node}: `;
      return this.#hanging(`${symbols.warning} `, who + event.message).map(this.#pen.warn);
    }
    if (event.type === 'lock-taken') {
      const [symbol, paint] =
        event.from === undefined ? [symbols.good, this.#pen.good] : [symbols.warning, this.#pen.warn];
      return this.#hanging(`${symbol} `, lockTakenText(event)).map(paint);
    }
    if (event.type === 'stopping') {
      return this.#hanging(`${symbols.warning} `, `stopping: ${event.reason}`).map(this.#pen.warn);
    }
    return event.type === 'node-done' ? this.#finished(event.result) : [];
  }

  #finished(result: NodeResult): string[] {
    const told = result.outcome === 'not started' && (this.#settled.has(result.node) || this.#progress.stopping);
    if (result.outcome === 'already there' || told) return [];
    const { symbols, good, bad, warn, line, dim } = this.#pen;
    const [symbol, paint] = isGood(result)
      ? [symbols.good, good]
      : result.outcome === 'not started'
        ? [symbols.neutral, dim]
        : result.outcome === 'interrupted'
          ? [symbols.warning, warn]
          : [symbols.bad, bad];
    const short = this.#name(result.node);
    const name = short.includes(symbols.ellipsis) ? line(result.node) : short;
    return this.#hanging(`${symbol} ${name}  `, finishedText(result, this.#pen)).map(paint);
  }

  #hanging(prefix: string, text: string): string[] {
    return hanging(prefix, text, { ...this.#pen, columns: this.#size().columns });
  }

  /** ora takes its frame away before anything else is written to the stream, and draws it again below. */
  #above(lines: readonly string[]): void {
    if (lines.length === 0) return;
    this.#stream.write(lines.map((line) => `${line}\n`).join(''));
  }

  #draw(): void {
    if (this.#stopped) return;
    this.#refresh();
    if (this.#spinner.isSpinning) {
      this.#spinner.render();
      return;
    }
    this.#spinner.start();
    this.#timer = setInterval(() => quietly(() => this.#refresh()), TEXT_EVERY_MS);
    this.#timer.unref();
  }

  /** Keeps the times in the text running; ora's own timer shows it. */
  #refresh(): void {
    this.#shown = this.#lines();
    this.#spinner.text = this.#shown.join('\n');
  }

  #hide(): void {
    clearInterval(this.#timer);
    this.#spinner.stop();
    this.#shown = [];
  }

  #lines(): readonly string[] {
    const size = this.#size();
    const room = Math.max(1, size.columns - 1 - SPINNER_COLUMNS);
    const now = this.#options.clock.now();
    if (this.#activity !== undefined)
      return [truncate(this.#pen.line(this.#activity), room, this.#pen.symbols.ellipsis)];
    const { lockWait } = this.#progress;
    if (lockWait !== undefined) return lockWaitFrame(lockWait, now, size, this.#pen);
    return frame(this.#progress, now, size, this.#pen);
  }

  #size(): { columns: number; rows: number } {
    const { columns, rows } = this.#options.stream;
    return { columns: columns || DEFAULT_COLUMNS, rows: rows || DEFAULT_ROWS };
  }

  /** A narrower terminal has wrapped the frame's lines: it is taller now than ora knows, and must be wiped whole. */
  #resized(): void {
    if (!this.#spinner.isSpinning) return;
    const { columns } = this.#size();
    const [first = '', ...others] = this.#shown;
    const lines = [' '.repeat(SPINNER_COLUMNS) + first, ...others];
    const extra = reflowedRows(lines, columns) - lines.length;
    this.#refresh();
    if (extra > 0) this.#stream.write(`\u001b[${extra}A\u001b[J`);
    else this.#spinner.render();
  }
}

interface ResizeEvents {
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

function resizeEvents(stream: OutputStream): ResizeEvents | undefined {
  return 'on' in stream && 'off' in stream ? (stream as unknown as ResizeEvents) : undefined;
}
