import { spawn } from 'node:child_process';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Api } from '../../../src/cluster/api.ts';
import { acquired, isOwnedBy, LeaseStore, released, renewed, tokenOf, type Lease } from '../../../src/cluster/lease.ts';
import { acquireLock, describeHolder } from '../../../src/cluster/lock.ts';
import { fateOf, markOfThisProcess } from '../../../src/cluster/process-mark.ts';
import { LockHeldError, PreflightError } from '../../../src/errors.ts';
import type { LockRequest } from '../../../src/rollout/ports.ts';
import { FakeServer, json, quickClock, refusal, type Answer } from './fake-server.ts';

const REQUEST: LockRequest = { run: 'r-1', holder: 'ann@laptop', what: 'upgrade' };
const BY = { nowMs: 1_700_000_000_000, seconds: 60, process: 'p' };
const never = new AbortController().signal;

describe('the Lease', () => {
  test('keeps what others put on it, and its token only grows', () => {
    const before: Lease = {
      metadata: { resourceVersion: '4', labels: { keep: 'me' }, annotations: { 'example.org/keep': 'me' } },
      spec: { leaseTransitions: 6, strategy: 'x' },
    };
    const lease = acquired(before, REQUEST, BY);
    expect(lease.metadata).toMatchObject({ resourceVersion: '4', labels: { keep: 'me' } });
    expect(lease.metadata.annotations?.['example.org/keep']).toBe('me');
    expect(lease.spec).toMatchObject({ strategy: 'x', leaseTransitions: 7, leaseDurationSeconds: 60 });
    expect(lease.spec?.renewTime).toBe('2023-11-14T22:13:20.000000Z');
  });

  test('is ours only with our name, our run and our token', () => {
    const lease = acquired(undefined, REQUEST, BY);
    const owner = { request: REQUEST, token: 1 };
    expect(isOwnedBy(lease, owner)).toBe(true);
    expect(isOwnedBy(renewed(lease, { nowMs: BY.nowMs, what: 'x', token: 1 }), owner)).toBe(true);
    expect(isOwnedBy(lease, { ...owner, token: 2 })).toBe(false);
    expect(isOwnedBy(lease, { request: { ...REQUEST, run: 'r-2' }, token: 1 })).toBe(false);
    expect(isOwnedBy(lease, { request: { ...REQUEST, holder: 'bob' }, token: 1 })).toBe(false);
    expect(isOwnedBy(released(lease, { nowMs: BY.nowMs, what: 'x' }), owner)).toBe(false);
  });

  test('given back keeps its token', () => {
    expect(tokenOf(released(acquired(undefined, REQUEST, BY), { nowMs: BY.nowMs, what: 'x' }))).toBe(1);
  });
});

test('a holder is described by who, since when and what, a line each', () => {
  const state = {
    held: true,
    holder: 'ci@runner-7, pid 4121',
    what: 'upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
    run: 'r-9',
    acquiredAt: '2024-01-01T12:01:55.000000Z',
    renewedAt: '2024-01-01T12:10:49.000000Z',
    token: 3,
  };
  expect(describeHolder(state, Date.parse('2024-01-01T12:10:55Z'))).toEqual([
    'who    ci@runner-7, pid 4121, run r-9',
    'since  2024-01-01T12:01:55.000000Z (9m ago), last sign of life 6s ago',
    'what   upgrade to KubeOS 2.0.0, 2 of 4 nodes done',
  ]);
  // A clock that is behind the holder's has nothing sensible to say.
  expect(describeHolder(state, 0)[1]).toBe('since  2024-01-01T12:01:55.000000Z');
});

describe('a process', () => {
  test('of this machine is known to live or to be dead', async () => {
    const mark = markOfThisProcess();
    expect(fateOf(mark)).toBe('alive');
    const [boot, namespace, , start] = mark.split(' ');
    const child = spawn('sleep', ['60']);
    // The same process id with another start time is another process.
    expect(fateOf(`${boot} ${namespace} ${child.pid} ${start}`)).toBe('dead');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    expect(fateOf(`${boot} ${namespace} ${child.pid} 1`)).toBe('dead');
  });

  test.each(['', 'x', 'other-boot pid:[1] 1 1', 'a b ../../etc 1', 'a b c d e'])(
    'of another machine or none is not judged: %j',
    (mark) => expect(fateOf(mark)).toBe('elsewhere'),
  );
});

describe('taking the lock', () => {
  let server: FakeServer | undefined;
  afterEach(() => server?.stop());

  const foreign = (process: string, version = '5'): Lease => {
    const lease = acquired(undefined, { run: 'r-2', holder: 'bob', what: 'w' }, { ...BY, process });
    return { ...lease, metadata: { ...lease.metadata, resourceVersion: version } };
  };
  const echo: Answer = (seen, response) => json(200, seen.body)(seen, response);
  async function take(...answers: Answer[]) {
    server = await FakeServer.start(answers);
    const clock = quickClock();
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 1_000 }), 'kube-system');
    const onWaiting = vi.fn();
    const lock = acquireLock({ store, clock, seconds: 60 }, { ...REQUEST, onWaiting }, never);
    return { lock, clock, onWaiting, seen: server.seen };
  }

  test('from a dead process of this machine needs no waiting', async () => {
    const [boot, namespace] = markOfThisProcess().split(' ');
    const { lock, clock, onWaiting } = await take(json(200, foreign(`${boot} ${namespace} ${process.pid} 1`)), echo);
    const held = await lock;
    expect(held.token).toBe(2);
    expect(onWaiting).not.toHaveBeenCalled();
    expect(clock.slept.filter((ms) => ms === 1_000)).toEqual([]);
    await held.release();
  });

  test('from a live process of this machine is refused at once', async () => {
    const { lock, clock } = await take(json(200, foreign(markOfThisProcess())));
    await expect(lock).rejects.toThrow(LockHeldError);
    expect(clock.slept).toEqual([]);
  });

  test('from elsewhere is refused at the first sign of life', async () => {
    const still = json(200, foreign(''));
    const { lock, clock } = await take(still, still, still, json(200, foreign('', '6')));
    await expect(lock).rejects.toThrow(LockHeldError);
    expect(clock.slept).toHaveLength(3);
  });

  test('from elsewhere waits for the whole duration that its holder promised', async () => {
    const lease = foreign('');
    const still = json(200, { ...lease, spec: { ...lease.spec, leaseDurationSeconds: 90 } });
    const answers = Array.from({ length: 91 }, () => still);
    const { lock, onWaiting, seen } = await take(...answers, echo);
    const held = await lock;
    expect(held.token).toBe(2);
    expect(onWaiting).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ holder: 'bob' }), 90_000);
    expect(seen[91]).toMatchObject({ method: 'PUT', body: { metadata: { resourceVersion: '5' } } });
    await held.release();
  });

  test('whose answer was lost on the way is recognised as taken', async () => {
    const notThere = refusal(404, 'NotFound', 'leases "kubeos" not found');
    const exists = refusal(409, 'AlreadyExists', 'leases "kubeos" already exists');
    const ours = acquired(undefined, REQUEST, BY);
    const { lock } = await take(notThere, exists, json(200, ours), echo);
    const held = await lock;
    expect(held.token).toBe(1);
    await held.release();
  });

  test('in a namespace that does not exist says so', async () => {
    const notThere = refusal(404, 'NotFound', 'namespaces "kube-system" not found');
    const { lock } = await take(notThere, notThere);
    await expect(lock).rejects.toThrow(PreflightError);
  });
});
