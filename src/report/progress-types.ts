import type { Clock, Report } from '../rollout/ports.ts';
import type { Display, OutputStream, ProgressMode } from './display.ts';

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
