import type { Clock, Report } from '../rollout/ports.ts';
import type { Display, OutputStream, ProgressMode } from './display.ts';
import { penFor } from './pen.ts';
import { PlainReport } from './plain-report.ts';

export interface ReportOptions extends Pick<Display, 'colour' | 'ascii'> {
  /** Progress goes to standard error, so that results can be piped. */
  stream: OutputStream;
  clock: Pick<Clock, 'now'>;
  mode: ProgressMode;
}

/** The Report port, with what the composition root needs around it. Nothing here throws. */
export interface ProgressReport extends Report {
  /** What goes on before the rollout, where no events are: `reading 7 nodes`; undefined: it is over. */
  activity(text: string | undefined): void;
  /** Takes the frame away for as long as someone is asked something. */
  paused<T>(task: () => Promise<T>): Promise<T>;
  /** Takes the frame away for good and gives the cursor back. To be called however the run ends. */
  stop(): void;
}

/** How often lines are due to be looked for that no event brings. */
const TICK_MS = 1000;

/** Makes the report that suits where it is going; what a terminal needs is loaded only for one. */
export async function createReport(options: ReportOptions): Promise<ProgressReport> {
  if (options.mode === 'none') return SILENT;
  if (options.mode === 'plain') return plainReport(options);
  const { TerminalReport } = await import('./terminal-report.ts');
  return new TerminalReport(options);
}

const SILENT: ProgressReport = {
  event: () => undefined,
  activity: () => undefined,
  paused: (task) => task(),
  stop: () => undefined,
};

function plainReport({ stream, clock, colour, ascii }: ReportOptions): ProgressReport {
  const plain = new PlainReport(
    (line) => quietly(() => stream.write(`${line}\n`)),
    penFor({ colour, ascii, columns: Infinity }),
  );
  const timer = setInterval(() => plain.tick(clock.now()), TICK_MS).unref();
  return {
    event: (event) => plain.event(event),
    activity: (text) => {
      if (text !== undefined) plain.activity(clock.now(), text);
    },
    paused: (task) => task(),
    stop: () => clearInterval(timer),
  };
}

/** A terminal that went away must not end the run: its nodes are still on their way. */
export function quietly(write: () => unknown): void {
  try {
    write();
  } catch {
    // Nobody is left to be told.
  }
}
