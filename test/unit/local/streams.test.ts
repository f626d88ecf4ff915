import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { outliveReaders } from '../../../src/local/streams.ts';

describe('output that is lost', () => {
  const lost: unknown[] = [];
  const emit = (error: object): boolean => {
    lost.length = 0;
    const stream = new EventEmitter();
    outliveReaders(stream, (one) => lost.push(one));
    return stream.emit('error', Object.assign(new Error('write'), error));
  };

  it.each(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED'])('%s: nobody reads it, which does not end the run', (code) => {
    expect(emit({ code, syscall: 'write' })).toBe(true);
    expect(lost).toEqual([]);
  });

  it('a full disk does not end the run either, and is told', () => {
    expect(emit({ code: 'ENOSPC', syscall: 'write' })).toBe(true);
    expect(lost).toEqual([expect.objectContaining({ code: 'ENOSPC' })]);
  });

  it('an error that is none of the system is not swallowed', () => {
    expect(() => emit({ code: 'ERR_INVALID_ARG_TYPE' })).toThrow('write');
  });
});
