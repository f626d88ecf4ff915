import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { outliveReaders } from '../../../src/local/streams.ts';

describe('output that nobody reads any more', () => {
  const emit = (code: string): boolean => {
    const stream = new EventEmitter();
    outliveReaders([stream]);
    return stream.emit('error', Object.assign(new Error(code), { code }));
  };

  it.each(['EPIPE', 'EIO', 'ERR_STREAM_DESTROYED'])('%s does not end the run', (code) => {
    expect(emit(code)).toBe(true);
  });

  it('any other error is not swallowed', () => {
    expect(() => emit('ENOSPC')).toThrow('ENOSPC');
  });
});
