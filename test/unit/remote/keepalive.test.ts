import { Duplex, PassThrough } from 'node:stream';
import ssh2 from 'ssh2';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection } from '../../../src/remote/connection.ts';
import { Keepalive } from '../../../src/remote/keepalive.ts';

const LIMITS = { intervalMs: 5000, countMax: 3 };

describe('a keepalive', () => {
  let stream: PassThrough;
  let keepalive: Keepalive;
  let deaths: string[];

  beforeEach(() => {
    vi.useFakeTimers();
    stream = new PassThrough();
    deaths = [];
    keepalive = new Keepalive(stream, LIMITS, (reason) => deaths.push(reason));
  });

  afterEach(() => {
    keepalive.stop();
    vi.useRealTimers();
  });

  it('takes whatever arrives for a sign of life, and 20 seconds without any for death', () => {
    for (let times = 0; times < 10; times++) {
      vi.advanceTimersByTime(19_000);
      stream.emit('data', Buffer.from('anything'));
    }
    vi.advanceTimersByTime(19_999);
    expect(deaths).toEqual([]);
    vi.advanceTimersByTime(60_000);
    expect(deaths).toEqual(['no sign of life for 20s']);
  });

  it('waits three times as long while much is being sent', () => {
    keepalive.bulks = 1;
    vi.advanceTimersByTime(59_999);
    expect(deaths).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(deaths).toEqual(['no sign of life for 60s']);
  });
});

describe('what was written over a connection', () => {
  /** Takes what is written once it is told to. */
  function line() {
    const waiting: (() => void)[] = [];
    const stream = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => void waiting.push(done) });
    return { stream, take: () => waiting.shift()?.() };
  }

  const over = (stream: Duplex, jump?: Connection): Connection =>
    new Connection(new ssh2.Client(), { stream, jump, keepalive: LIMITS }, 'root@node', 'root');

  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('has left once nothing of it waits, neither for the connection nor for its jump host', async () => {
    const [first, second] = [line(), line()];
    const connection = over(second.stream, over(first.stream));
    const left: string[] = [];
    expect(connection.drained()).toBeUndefined();
    for (const { stream } of [first, second]) stream.write('x');
    void Promise.resolve(connection.drained()).then(() => left.push('all'));
    // What is written later is not waited for.
    second.take();
    await settled();
    second.take();
    await settled();
    expect(left).toEqual([]);
    first.take();
    await settled();
    first.stream.write('y');
    first.take();
    await settled();
    expect(left).toEqual(['all']);
  });
});
