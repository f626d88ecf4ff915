import type { RolloutEvent } from '../rollout/events.ts';
import type { Report } from '../rollout/ports.ts';

/** One report that hands every event to each of them, in order; one that throws against its contract harms no other. */
export function combineReports(reports: readonly Report[]): Report {
  return {
    event(event: RolloutEvent): void {
      for (const report of reports) {
        try {
          report.event(event);
        } catch {
          // A report is for people: losing one must not end the rollout.
        }
      }
    },
  };
}
