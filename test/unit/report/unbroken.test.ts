import { describe, expect, it } from 'vitest';
import { fields, field } from '../../../src/report/layout.ts';
import { penFor } from '../../../src/report/pen.ts';
import { wrapUnbroken } from '../../../src/report/unbroken.ts';
import { width } from '../../../src/report/text.ts';
import { DISPLAY } from './fixtures.ts';

describe('a command that a person is to copy', () => {
  it('is not broken, though it stands within a sentence', () => {
    const remedy = 'it is waited for (--drain-timeout); if it stays: kubectl -n shop describe pod web-5d4f-abcde';
    expect(wrapUnbroken(remedy, 60)).toEqual([
      'it is waited for (--drain-timeout); if it stays:',
      'kubectl -n shop describe pod web-5d4f-abcde',
    ]);
    const bracketed = 'delete it yourself (kubectl -n shop delete pod lonely), or let it be lost: --force';
    expect(wrapUnbroken(bracketed, 50)).toEqual([
      'delete it yourself',
      '(kubectl -n shop delete pod lonely), or let it be',
      'lost: --force',
    ]);
    expect(wrapUnbroken('look at it: kubeos status; then, if that run is over, again', 25)).toEqual([
      'look at it:',
      'kubeos status; then, if',
      'that run is over, again',
    ]);
  });

  it('that is wider than the screen stands on a line of its own, as wide as it is', () => {
    const command = `kubectl annotate node ${'worker-1.'.repeat(5)}example kubeos.openeuler.org/rollout-`;
    const lines = wrapUnbroken(`find out who wrote that, then remove it: ${command}`, 40);
    expect(lines).toEqual(['find out who wrote that, then remove it:', command]);
  });

  it('may be the whole of what is to be done next', () => {
    const command = `kubectl delete os ${'a-long-name-'.repeat(6)} -n default`.replace('- -n', ' -n');
    const lines = fields([field('next', command)], 4, penFor(DISPLAY));
    expect(lines).toEqual([`    next  ${command}`]);
    expect(width(lines[0] ?? '')).toBeGreaterThan(80);
  });

  it('is told from prose that only speaks of the program', () => {
    const prose = 'kubeos itself runs in a pod on this node, and would be evicted by kubectl drain, says kubectl';
    expect(wrapUnbroken(prose, 30).every((line) => width(line) <= 30)).toBe(true);
  });
});
