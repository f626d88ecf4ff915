import { annotate } from './foreign-hands.ts';
import type { Step } from './steps.ts';
import type { Trip } from './trip.ts';

/**
 * Does one step of a node's way and tells of it. `work` resolves to what the report shows, in a few words.
 * @param signal checked before the step: a run that must stop stops between two steps
 * @throws what `annotate` and `work` throw, and the signal's reason
 */
export async function doStep(trip: Trip, step: Step, signal: AbortSignal, work: () => Promise<string>): Promise<void> {
  signal.throwIfAborted();
  trip.step = step;
  const startedAt = trip.now;
  trip.emit({ type: 'step-started', node: trip.name, step, slot: trip.assignment.target });
  await annotate(trip, step);
  signal.throwIfAborted();
  const detail = await work();
  trip.emit({ type: 'step-done', node: trip.name, step, detail, tookMs: trip.now - startedAt, skipped: false });
}
