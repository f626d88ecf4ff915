import type { NodeResult } from '../rollout/events.ts';
import type { Pen } from './pen.ts';
import type { NodeProgress } from './progress.ts';
import { padEnd, truncate, width } from './text.ts';
import { bytes, bytesOf, duration, percent, speed } from './units.ts';

/** Longer without a byte is worth a word. */
const STALLED_MS = 15_000;

/** `write B`, `drain`: the step, with its slot where bytes go there or come from there. */
export function stepWord({ step, stepSlot }: NodeProgress): string {
  if (step === undefined) return 'starts';
  return stepSlot !== undefined && (step === 'write' || step === 'verify') ? `${step} ${stepSlot}` : step;
}

/** How far the step is: `61%  1.2 of 2.0 GiB  118 MiB/s  7s left`. Empty before the first byte was counted. */
export function bytesText({ bytes: counted }: NodeProgress, now: number): string {
  if (counted === undefined) return '';
  const { done, total, perSecond, at } = counted;
  const stalledMs = now - at;
  const pace =
    stalledMs >= STALLED_MS && done !== total
      ? [`no byte for ${duration(stalledMs)}`]
      : perSecond === undefined || perSecond < 1
        ? []
        : [speed(perSecond), ...(total === undefined || done >= total ? [] : [left(total - done, perSecond)])];
  const share = total === undefined ? [bytes(done)] : [percent(done, total), bytesOf(done, total)];
  return [...share, ...pace].join('  ');
}

/** The line that a finished node leaves behind. */
export function finishedText(result: NodeResult, pen: Pen): string {
  const { outcome, tookMs, unavailableMs, slot, what, reason } = result;
  // Why it fell back says more than that its old slot is in service again.
  const why = outcome === 'fell back' ? (reason ?? what) : what;
  const parts = [
    padEnd(outcome, LONGEST_OUTCOME),
    ...(tookMs > 0 ? [duration(tookMs)] : []),
    ...(unavailableMs === undefined ? [] : [`unavailable ${duration(unavailableMs)}`]),
    ...(slot === undefined ? [] : [`slot ${slot}`]),
    ...(isGood(result) || why === undefined ? [] : [why]),
  ];
  return pen.line(parts.join('  '));
}

export const isGood = ({ outcome }: NodeResult): boolean =>
  outcome === 'upgraded' || outcome === 'rolled back' || outcome === 'already there';

/** Names in a column: as wide as the longest, but never more than the limit; longer ones are cut. */
export function nameColumn(names: readonly string[], limit: number, pen: Pen): (name: string) => string {
  const columns = Math.min(limit, Math.max(0, ...names.map((name) => width(name))));
  return (name) => padEnd(truncate(pen.line(name), columns, pen.symbols.ellipsis), columns);
}

const LONGEST_OUTCOME = 'already there'.length;

const left = (missing: number, perSecond: number): string => `${duration((missing / perSecond) * 1000)} left`;
