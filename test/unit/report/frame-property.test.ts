import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frame, SPINNER_COLUMNS } from '../../../src/report/frame.ts';
import { penFor } from '../../../src/report/pen.ts';
import { Progress } from '../../../src/report/progress.ts';
import { width } from '../../../src/report/text.ts';
import type { RolloutEvent } from '../../../src/rollout/events.ts';
import { STEPS } from '../../../src/rollout/steps.ts';
import { entry, nodeResult, plan, RUN } from './fixtures.ts';

const NODES = Array.from({ length: 40 }, (_, index) => `node-${index}${'x'.repeat(index)}`);

const anyCharacter = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
const node = fc.constantFrom(...NODES);
const step = fc.constantFrom(...STEPS);
const text = fc.oneof(
  fc.string({ unit: anyCharacter, maxLength: 120 }),
  fc.string({ unit: 'grapheme', maxLength: 120 }),
);
const count = fc.integer({ min: 0, max: 2 ** 45 });

const anyEvent: fc.Arbitrary<Omit<RolloutEvent, 'at'>> = fc.oneof(
  fc.record({ type: fc.constant('node-started' as const), node, slot: fc.constantFrom('A' as const, 'B' as const) }),
  fc.record({
    type: fc.constant('step-started' as const),
    node,
    step,
    slot: fc.constantFrom('A' as const, 'B' as const),
  }),
  fc.record({ type: fc.constant('step-progress' as const), node, step, doneBytes: count, totalBytes: count }),
  fc.record({ type: fc.constant('step-progress' as const), node, step, doneBytes: count }),
  fc.record({ type: fc.constant('step-waiting' as const), node, step, for: text }),
  fc.record({
    type: fc.constant('step-done' as const),
    node,
    step,
    detail: text,
    tookMs: count,
    skipped: fc.boolean(),
  }),
  fc.record({ type: fc.constant('budget-waiting' as const), eatenBy: fc.array(node), timeoutMs: count }),
  fc.record({ type: fc.constant('stopping' as const), reason: text }),
  fc.record({ type: fc.constant('notice' as const), message: text }),
  fc.record({
    type: fc.constant('node-done' as const),
    result: fc.record({ node, tookMs: count }).map((one) => nodeResult(one.node, 'upgraded', one)),
  }),
);

const events = fc.array(fc.tuple(anyEvent, fc.integer({ min: 0, max: 100_000 })), { maxLength: 150 }).map((list) => {
  let at = 0;
  return list.map(([one, pause]): RolloutEvent => ({ ...one, at: (at += pause) }) as RolloutEvent);
});

describe('the frame', () => {
  it('is never taller than the screen, never wider, and free of control characters, whatever happens', () => {
    const size = fc.record({ columns: fc.integer({ min: 4, max: 200 }), rows: fc.integer({ min: 1, max: 50 }) });
    fc.assert(
      fc.property(
        events,
        size,
        fc.boolean(),
        fc.integer({ min: -1000, max: 10_000_000 }),
        (list, { columns, rows }, ascii, later) => {
          const pen = penFor({ colour: false, ascii, columns });
          const progress = new Progress();
          progress.apply({
            at: 0,
            type: 'rollout-started',
            run: RUN,
            plan: plan({ entries: NODES.map((one) => entry(one, 1)) }),
          });
          for (const one of list) progress.apply(one);
          const lines = frame(progress, (list.at(-1)?.at ?? 0) + later, { columns, rows }, pen);
          expect(lines.length).toBeGreaterThanOrEqual(1);
          expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows - 1));
          for (const [index, line] of lines.entries()) {
            expect(width(line) + (index === 0 ? SPINNER_COLUMNS : 0)).toBeLessThan(columns);
            expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
            expect(line).not.toMatch(/undefined|NaN|Infinity/);
            if (ascii) expect(line).toMatch(/^[\x20-\x7e]*$/);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
