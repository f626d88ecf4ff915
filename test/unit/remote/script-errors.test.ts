import { describe, expect, it } from 'vitest';
import { LockLostError } from '../../../src/errors.ts';
import { explainScriptFailure, type ScriptFailure } from '../../../src/remote/script-errors.ts';
import { SCRIPT_EXITS } from '../../../src/remote/script-exits.ts';

// The matchers, without their `any`.
const containing = (text: string): unknown => expect.stringContaining(text);

const explain = (change: Partial<ScriptFailure>) =>
  explainScriptFailure({ node: 'worker-1', step: 'stage', script: 'stage', stderr: '', ...change });

describe('a script that failed', () => {
  it.each(Object.entries(SCRIPT_EXITS))('with %s (%i) says what, why and what next', (name, code) => {
    const error = explain({ code, stderr: 'first line\nthe very cause\n' });
    expect(error).toMatchObject({
      node: 'worker-1',
      step: 'stage',
      reason: 'the very cause',
      logTail: ['first line', 'the very cause'],
    });
    expect(error.message).not.toMatch(/failed$|ended with/);
    expect(error.next).toMatch(/\w/);
    expect(error instanceof LockLostError).toBe(name === 'stale-token');
  });

  it('has words of its own for every code', () => {
    const messages = Object.values(SCRIPT_EXITS).map((code) => explain({ code }).message);
    expect(new Set(messages).size).toBe(messages.length);
  });

  it.each(['bad-content', 'read-back-mismatch'] as const)(
    'with %s in a rollback speaks of no image to write',
    (name) => {
      const { message, next } = explain({ code: SCRIPT_EXITS[name], rollsBack: true });
      expect(next).toContain('kubeos upgrade');
      expect(`${message}; ${next ?? ''}`).not.toMatch(/written|checksum|the same command/);
    },
  );

  it('says of an image that changed since it was staged that the disk is to be looked at, not the spec', () => {
    const { message, next } = explain({ code: SCRIPT_EXITS['checksum-mismatch'], step: 'write', script: 'write' });
    expect(next).toContain('dmesg');
    expect(`${message}; ${next ?? ''}`).not.toMatch(/spec|server/);
    const streamed = explain({ code: SCRIPT_EXITS['checksum-mismatch'], step: 'write', script: 'stream' });
    expect(streamed.next).toMatch(/spec.*server/);
  });

  it.each([
    [{ code: 2 }, 'stage failed', 'exit code 2'],
    [{ code: 137 }, 'stage failed', 'exit code 137 (ended by signal 9)'],
    [{ signal: 'SIGKILL' }, 'stage was ended by SIGKILL', 'ended by SIGKILL'],
    [{ code: 127, stderr: 'sh: 3: foo: not found\n' }, 'stage failed', 'exit code 127: sh: 3: foo: not found'],
  ])('in an unforeseen way (%j) is told all the same', (change, message, reason) => {
    expect(explain(change)).toMatchObject({ message, reason, next: containing('kubeos logs worker-1') });
  });

  it('keeps the last 20 lines, without secrets and terminal control', () => {
    const lines = Array.from({ length: 30 }, (_, index) => `line ${String(index)} \u001b[31mhttps://me:pass@host/x`);
    const error = explain({ code: 17, stderr: lines.join('\n') });
    expect(error.logTail).toHaveLength(20);
    expect(error.logTail.at(-1)).toMatch(/^line 29/);
    expect(JSON.stringify([error.logTail, error.reason])).not.toMatch(/pass|\\u001b/);
  });
});
