import { spawn } from 'node:child_process';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Api } from '../../../src/cluster/api.ts';
import {
  acquired,
  freed,
  isOwnedBy,
  LeaseStore,
  lockState,
  released,
  renewed,
  tokenOf,
  type Lease,
} from '../../../src/cluster/lease.ts';
import { acquireLock, describeHolder, freeLock } from '../../../src/cluster/lock.ts';
import { fateOf, markOfThisProcess } from '../../../src/cluster/process-mark.ts';
import { LockHeldError, LockLostError, PreflightError } from '../../../src/errors.ts';
import type { LockRequest, LockState, LockWait } from '../../../src/rollout/ports.ts';
import { FakeServer, hangUp, json, quickClock, refusal, type Answer } from './fake-server.ts';

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

  test('freed by hand tells by whom until it is taken again, and is not ours any more', () => {
    const lease = freed(acquired(undefined, REQUEST, BY), 'bob@desk');
    expect(isOwnedBy(lease, { request: REQUEST, token: 1 })).toBe(false);
    expect(lockState(lease, BY.nowMs)).toMatchObject({ held: false, token: 1, run: 'r-1', freedBy: 'bob@desk' });
    expect(lockState(acquired(lease, REQUEST, BY), BY.nowMs).freedBy).toBeUndefined();
    expect(acquired(lease, REQUEST, BY).metadata.annotations).not.toHaveProperty('kubeos.openeuler.org/freed-by');
  });

  test('tells how long its holder has been silent', () => {
    const lease = acquired(undefined, REQUEST, BY);
    expect(lockState(lease, BY.nowMs + 540_000)).toMatchObject({ silentMs: 540_000, durationMs: 60_000 });
    // A foreign holder may write a time that is still to come.
    expect(lockState(lease, BY.nowMs - 5_000).silentMs).toBe(0);
    expect(lockState({ metadata: {}, spec: { holderIdentity: 'x' } }, BY.nowMs)).not.toHaveProperty('silentMs');
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
    durationMs: 60_000,
    token: 3,
    version: '81',
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
  const take = (...answers: Answer[]) => takeWith({}, ...answers);
  async function takeWith(more: Partial<LockRequest>, ...answers: Answer[]) {
    server = await FakeServer.start(answers);
    const clock = quickClock();
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 1_000 }), 'kube-system');
    const onWaiting = vi.fn();
    const lock = acquireLock({ store, clock, seconds: 60 }, { ...REQUEST, ...more, onWaiting }, never);
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
    const holder: unknown = expect.objectContaining({ holder: 'bob', durationMs: 90_000 });
    expect(onWaiting).toHaveBeenCalledExactlyOnceWith({ holder, alive: false });
    expect(held.tookOverFrom).toMatchObject({ holder: 'bob', run: 'r-2' });
    expect(seen[91]).toMatchObject({ method: 'PUT', body: { metadata: { resourceVersion: '5' } } });
    await held.release();
  });

  test('waits for a live holder as long as the request says, and says at each change how far it is', async () => {
    const at = (version: string, what: string): Answer => {
      const lease = renewed(foreign('', version), { nowMs: BY.nowMs, what, token: 1 });
      return json(200, lease);
    };
    const answers = [at('5', 'w'), at('6', 'w, 1 of 2 done'), at('6', 'w, 1 of 2 done'), at('7', 'w, 2 of 2 done')];
    const { lock, onWaiting } = await takeWith({ waitMs: 10_000 }, ...answers);
    const error = await lock.catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'LockHeldError', message: 'another run still holds the lock after 10s' });
    expect((error as LockHeldError).next).not.toContain('--lock-wait');
    const told = onWaiting.mock.calls.map(([wait]) => wait as LockWait);
    expect(told.map(({ alive, holder }) => [alive, holder.what])).toEqual([
      [false, 'w'],
      [true, 'w, 1 of 2 done'],
      [true, 'w, 2 of 2 done'],
    ]);
  });

  test('waits for ever where it is told to, and takes the lock once it is given back', async () => {
    const alive = Array.from({ length: 200 }, (_, index) => json(200, foreign('', String(index))));
    const free = json(200, released(foreign('', '999'), { nowMs: BY.nowMs, what: 'done' }));
    const { lock, clock } = await takeWith({ waitMs: 0 }, ...alive, free, echo);
    const held = await lock;
    expect([held.token, held.tookOverFrom]).toEqual([2, undefined]);
    expect(clock.slept.filter((ms) => ms === 1_000)).toHaveLength(200);
    await held.release();
  });

  test('takes over a holder that falls silent, or whose process ends, while it is waited for', async () => {
    const lease = foreign('', '6');
    const still = json(200, { ...lease, spec: { ...lease.spec, leaseDurationSeconds: 15 } });
    const first = await takeWith(
      { waitMs: 0 },
      json(200, foreign('')),
      ...Array.from({ length: 16 }, () => still),
      echo,
    );
    const silent = await first.lock;
    expect(silent.tookOverFrom).toMatchObject({ holder: 'bob' });
    await silent.release();
    await server?.stop();
    const [boot, namespace] = markOfThisProcess().split(' ');
    const ended = json(200, foreign(`${boot} ${namespace} ${process.pid} 1`));
    const second = await takeWith({ waitMs: 0 }, json(200, foreign(markOfThisProcess())), ended, echo);
    const dead = await second.lock;
    expect(second.clock.slept.filter((ms) => ms === 1_000)).toHaveLength(1);
    await dead.release();
  });

  test('a process of this machine that is frozen is waited for like any other, and taken over in the end', async () => {
    const lease = foreign(markOfThisProcess());
    const still = json(200, { ...lease, spec: { ...lease.spec, leaseDurationSeconds: 15 } });
    const { lock } = await takeWith({ waitMs: 0 }, ...Array.from({ length: 16 }, () => still), echo);
    const held = await lock;
    expect(held.token).toBe(2);
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

describe('a lock that is held', () => {
  let server: FakeServer | undefined;
  afterEach(() => server?.stop());
  const notThere = refusal(404, 'NotFound', 'leases "kubeos" not found');
  const echo: Answer = (seen, response) => json(200, seen.body)(seen, response);
  const ours = acquired(undefined, REQUEST, BY);
  const others = acquired(ours, { run: 'r-2', holder: 'bob', what: 'w' }, BY);

  async function held(...answers: Answer[]) {
    server = await FakeServer.start([notThere, echo, ...answers]);
    const clock = quickClock();
    // It is renewed by hand of the test alone.
    const frozen = { now: () => clock.now(), sleep: (_ms: number, signal?: AbortSignal) => asleep(signal) };
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 0 }), 'kube-system');
    const lock = await acquireLock({ store, clock: frozen, seconds: 60 }, REQUEST, never);
    return { lock, clock, seen: server.seen };
  }
  const asleep = (signal?: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) =>
      signal?.addEventListener('abort', () => reject(new Error('stopped')), { once: true }),
    );

  test('is asked for before a change, at most once a second however many ask', async () => {
    const { lock, clock, seen } = await held(json(200, ours));
    await Promise.all([lock.confirm(), lock.confirm(), lock.confirm()]);
    await lock.confirm();
    expect(seen.slice(2).map(({ method }) => method)).toEqual(['GET']);
    await clock.sleep(1_000);
    await lock.confirm();
    expect(seen).toHaveLength(4);
  });

  test.each<[string, Answer, RegExp]>([
    ['another holds it', json(200, others), /it was taken over by bob \(run r-2\)/],
    ['somebody freed it', json(200, freed(ours, 'bob@desk')), /it was freed by hand, by bob@desk/],
    ['the Lease was deleted', notThere, /the Lease was deleted/],
  ])('that is gone stops the run at its next change: %s', async (_what, answer, reason) => {
    const { lock } = await held(answer);
    const error = await lock.confirm().catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'LockLostError', reason: expect.stringMatching(reason) as string });
    expect(lock.lost.reason).toBe(error);
    await expect(lock.confirm()).rejects.toBe(error);
    await expect(lock.raiseAbove(9)).rejects.toThrow(LockLostError);
  });

  test.each<[string, Answer]>([
    ['does not answer', hangUp],
    ['is starting', refusal(503, 'ServiceUnavailable', 'starting')],
    ['refuses the login', refusal(401, 'Unauthorized', 'Unauthorized')],
  ])('is not doubted where the API server %s: the tokens on the nodes stand guard meanwhile', async (_what, answer) => {
    const { lock } = await held(answer);
    await lock.confirm();
    expect(lock.lost.aborted).toBe(false);
  });

  test.each<[string, Answer]>([
    ['an answer that said it was ours', json(200, ours)],
    ['no answer', hangUp],
  ])('is asked for again by a run that was frozen while it asked: it was woken by %s', async (_what, answer) => {
    const { lock, clock } = await held(
      (seen, response) => {
        void clock.sleep(60_000);
        answer(seen, response);
      },
      json(200, others),
    );
    await expect(lock.confirm()).rejects.toThrow(LockLostError);
  });

  test.each<[string, Answer]>([
    ['refuses the login', refusal(401, 'Unauthorized', 'Unauthorized')],
    ['forbids it', refusal(403, 'Forbidden', 'forbidden')],
    ['fails', refusal(500, 'InternalError', 'etcd')],
    ['is overloaded', refusal(429, 'TooManyRequests', 'later')],
    ['does not answer', hangUp],
  ])(
    'starts nothing new beyond its duration where the API server %s, and brings to an end what was begun',
    async (_what, answer) => {
      const looks = Array.from({ length: 5 }, () => answer);
      const { lock, clock, seen } = await heldBeyond(60_001, ...looks, json(200, ours));
      await lock.confirm();
      const before = clock.now();
      await lock.confirmStart(never);
      expect(clock.now() - before).toBeGreaterThanOrEqual(4_000);
      expect(seen).toHaveLength(8);
    },
  );

  test('starts new work within its duration without an answer', async () => {
    const { lock, clock } = await heldBeyond(59_000, hangUp);
    await lock.confirmStart(never);
    expect(clock.slept).toEqual([59_000]);
  });

  test('that turns out to be gone while new work waits stops the run', async () => {
    const { lock } = await heldBeyond(60_001, hangUp, hangUp, json(200, others));
    await expect(lock.confirmStart(never)).rejects.toThrow(LockLostError);
  });

  test('is waited for no longer than the run goes on', async () => {
    const { lock, clock } = await heldBeyond(60_001, hangUp);
    const stop = new AbortController();
    const reason = new Error('interrupted');
    const waiting = lock.confirmStart(stop.signal);
    setTimeout(() => stop.abort(reason));
    await expect(waiting).rejects.toThrow();
    expect(clock.slept.length).toBeGreaterThan(0);
    expect(lock.lost.aborted).toBe(false);
  });

  /** Held, not renewed, and silent for so long. */
  async function heldBeyond(ms: number, ...answers: Answer[]) {
    server = await FakeServer.start([notThere, echo, ...answers]);
    const clock = quickClock();
    const frozen = {
      now: () => clock.now(),
      sleep: (pause: number, signal?: AbortSignal) => (pause === 15_000 ? asleep(signal) : clock.sleep(pause, signal)),
    };
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 0 }), 'kube-system');
    const lock = await acquireLock({ store, clock: frozen, seconds: 60 }, REQUEST, never);
    await clock.sleep(ms);
    return { lock, clock, seen: server.seen };
  }

  test('that cannot be renewed for its duration is told once, and once more when it can', async () => {
    const forbidden = refusal(403, 'Forbidden', 'no update of leases');
    const refused = Array.from({ length: 12 }, () => forbidden);
    server = await FakeServer.start([notThere, echo, ...refused, echo]);
    const clock = quickClock();
    const notice = vi.fn();
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 0 }), 'kube-system');
    const lock = await acquireLock({ store, clock, seconds: 60, notice }, REQUEST, never);
    await vi.waitFor(() => expect(notice).toHaveBeenCalledTimes(2), 10_000);
    await lock.release();
    const [[first], [second]] = notice.mock.calls as [[string], [string]];
    expect(first).toMatch(
      /^the lock could not be renewed for 75s: not allowed to write the lock \(no update of leases\)/,
    );
    expect(second).toBe('the lock is renewed again');
  });

  test('is ours while its token is being raised', async () => {
    const raised = renewed(ours, { nowMs: BY.nowMs, what: 'x', token: 8 });
    let answerRaise = (): void => undefined;
    const slow: Answer = (seen, response) => void (answerRaise = () => json(200, seen.body)(seen, response));
    const { lock, seen } = await held(slow, json(200, raised));
    const raising = lock.raiseAbove(7);
    await vi.waitFor(() => expect(seen).toHaveLength(3), 10_000);
    await lock.confirm();
    answerRaise();
    await raising;
    expect(lock.token).toBe(8);
  });
});

describe('freeing the lock by hand', () => {
  let server: FakeServer | undefined;
  afterEach(() => server?.stop());
  const echo: Answer = (seen, response) => json(200, seen.body)(seen, response);
  const lease = (version: string, run = 'r-2'): Lease => {
    const made = acquired(undefined, { run, holder: 'bob', what: 'w' }, BY);
    return { ...made, metadata: { ...made.metadata, resourceVersion: version } };
  };
  const seenState = (): LockState => lockState(lease('5'), BY.nowMs);
  async function free(whileAlive: boolean, ...answers: Answer[]) {
    server = await FakeServer.start(answers);
    const store = new LeaseStore(
      new Api({ address: server.address, clock: quickClock(), retryForMs: 0 }),
      'kube-system',
    );
    const outcome = await freeLock(store, seenState(), 'ann@laptop', whileAlive).catch((caught: unknown) => caught);
    return { outcome, puts: server.seen.filter(({ method }) => method === 'PUT') };
  }

  test('is one write that holds for the Lease as it was seen, and leaves its token alone', async () => {
    const { outcome, puts } = await free(false, json(200, lease('5')), echo);
    expect(outcome).toBeUndefined();
    expect(puts).toHaveLength(1);
    expect(puts[0]?.body).toMatchObject({
      metadata: { resourceVersion: '5', annotations: { 'kubeos.openeuler.org/freed-by': 'ann@laptop' } },
      spec: { holderIdentity: '', leaseTransitions: 1 },
    });
  });

  test('is refused where the holder renewed it meanwhile, unless it is taken from a live one', async () => {
    const refused = await free(false, json(200, lease('6')));
    expect(refused.outcome).toBeInstanceOf(LockHeldError);
    expect(refused.puts).toEqual([]);
    await server?.stop();
    const insisted = await free(true, json(200, lease('6')), echo);
    expect(insisted.outcome).toBeUndefined();
    expect(insisted.puts).toHaveLength(1);
  });

  test('is refused where another run took it meanwhile, in any case', async () => {
    const { outcome, puts } = await free(true, json(200, lease('6', 'r-3')));
    expect(outcome).toMatchObject({ name: 'LockHeldError', message: 'the lock changed while it was looked at' });
    expect(puts).toEqual([]);
  });

  test('looks again after a conflict, and is done where the lock is free already', async () => {
    const conflict = refusal(409, 'Conflict', 'the object has been modified');
    const gone = json(200, released(lease('6'), { nowMs: BY.nowMs, what: 'w' }));
    const { outcome, puts } = await free(false, json(200, lease('5')), conflict, gone);
    expect([outcome, puts.length]).toEqual([undefined, 1]);
  });
});

describe('the time in the Lease', () => {
  let server: FakeServer | undefined;
  afterEach(() => server?.stop());

  test("is the API server's, however wrong this machine's clock is", async () => {
    const date = 'Thu, 01 Jan 2026 12:00:00 GMT';
    const answer: Answer = (seen, response) =>
      json(200, seen.body ?? acquired(undefined, REQUEST, BY), { date })(seen, response);
    server = await FakeServer.start([answer]);
    const api = new Api({ address: server.address, clock: quickClock(), retryForMs: 0 });
    const store = new LeaseStore(api, 'kube-system');
    expect(new Date(store.now()).getUTCFullYear()).toBe(2023);
    await store.read();
    expect(Math.abs(store.now() - Date.parse(date))).toBeLessThanOrEqual(1_000);
  });

  test("is this machine's where both agree to a second or two, so that it never goes back", async () => {
    const clock = quickClock();
    const date = new Date(clock.now() - 900).toUTCString();
    server = await FakeServer.start([json(200, acquired(undefined, REQUEST, BY), { date })]);
    const store = new LeaseStore(new Api({ address: server.address, clock, retryForMs: 0 }), 'kube-system');
    await store.read();
    expect(store.now()).toBe(clock.now());
  });
});
