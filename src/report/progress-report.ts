import type { ProgressReport, ReportOptions } from './progress-types.ts';
import { quietly } from './quietly.ts';
import { penFor } from './pen.ts';
import { PlainReport } from './plain-report.ts';

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
