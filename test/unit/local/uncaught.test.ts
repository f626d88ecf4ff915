import { EventEmitter } from 'node:events';
import { describe, expect, it, vi } from 'vitest';
import { UncaughtErrors, type UncaughtSource } from '../../../src/local/uncaught.ts';

const BUG = new TypeError('a bug');

function listening() {
  const events = new EventEmitter();
  const exits: number[] = [];
  const printed: unknown[] = [];
  const source: UncaughtSource = {
    on: (event, listener) => events.on(event, listener),
    exit: (code) => exits.push(code),
  };
  const uncaught = new UncaughtErrors();
  const print = async (error: unknown): Promise<void> => {
    printed.push(error);
    await Promise.resolve();
    if (error === 'unprintable') throw new Error('it cannot be printed');
  };
  uncaught.listen(source, print, 1);
  return { events, exits, printed, source, uncaught };
}

describe('an error that nobody caught', () => {
  it.each(['uncaughtException', 'unhandledRejection'])('%s is printed, then ends the process', async (event) => {
    const { events, exits, printed, uncaught } = listening();
    events.emit(event, BUG);
    expect(exits).toEqual([]);
    await vi.waitFor(() => expect(exits).toEqual([1]), 10_000);
    expect([printed, uncaught.first]).toEqual([[BUG], { error: BUG }]);
  });

  it('ends the process also where it cannot be printed', async () => {
    const { events, exits } = listening();
    events.emit('uncaughtException', 'unprintable');
    await vi.waitFor(() => expect(exits).toEqual([1]), 10_000);
  });

  it('lets work that is under way come to its end, and shows in the exit code', () => {
    const { events, exits, printed, source, uncaught } = listening();
    const told: unknown[] = [];
    uncaught.endBy((error) => told.push(error));
    events.emit('uncaughtException', BUG);
    events.emit('unhandledRejection', new Error('another'));
    expect([told, printed, exits, source.exitCode, uncaught.first]).toEqual([[BUG], [], [], 1, { error: BUG }]);
  });

  it('ends the process once that work is over', async () => {
    const { events, exits, uncaught } = listening();
    const over = uncaught.endBy(() => undefined);
    over();
    events.emit('uncaughtException', BUG);
    await vi.waitFor(() => expect(exits).toEqual([1]), 10_000);
  });
});
