import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundle, runForJson } from './child-program.ts';
import { canHaveAccounts as isRoot } from './private-etc.ts';
import { makeFolder } from './remote-sshd.ts';

interface Outcome {
  failure: string;
  reason?: string;
  /** After the drop. */
  ms: number;
}

// nftables drops the packets, in a network namespace that only root may make without further ado.
describe.runIf(isRoot)('a node whose packets are dropped, not refused,', () => {
  const folder = makeFolder();
  let outcomes: Record<string, Outcome>;

  beforeAll(async () => {
    const program = await bundle('vanish-program', join(folder.dir, 'program'));
    outcomes = (await runForJson(['unshare', '--net', '--', process.execPath, program, folder.dir])) as typeof outcomes;
  });

  afterAll(() => folder.remove());

  it('is noticed after 20 seconds of silence: 5 s, four times', () => {
    expect(outcomes['byDefault']).toMatchObject({ failure: 'lost', reason: 'no sign of life for 20s' });
    expect(outcomes['byDefault']?.ms).toBeGreaterThan(15_000);
    expect(outcomes['byDefault']?.ms).toBeLessThan(40_000);
  });

  it.each(['idle', 'command'])('is noticed by the keepalive: %s', (name) => {
    expect(outcomes[name]).toMatchObject({ failure: 'lost', reason: 'no sign of life for 0.8s' });
    expect(outcomes[name]?.ms).toBeGreaterThan(600);
  });

  it('is noticed in three times that time where much was being sent', () => {
    expect(outcomes['sending']).toMatchObject({ failure: 'lost', reason: 'no sign of life for 2.4s' });
  });

  it('is noticed in the middle of a handshake, and where it is not even connected to', () => {
    expect(outcomes['handshake']).toMatchObject({ failure: 'timeout', reason: 'stuck in: handshake after 1s' });
    expect(outcomes['connect']).toMatchObject({ failure: 'timeout', reason: 'no answer after 1s' });
  });

  it('and which has forgotten the connection when it is back is noticed by its first answer', () => {
    expect(outcomes['halfOpen']).toMatchObject({ failure: 'lost' });
    expect(outcomes['halfOpen']?.reason).toMatch(/ECONNRESET/);
  });
});
