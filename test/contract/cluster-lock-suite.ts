import { describe, expect, test } from 'vitest';
import { LockHeldError, LockLostError } from '../../src/errors.ts';
import type { LockRequest, LockState, LockWait } from '../../src/rollout/ports.ts';
import type { BedLock } from './cluster-bed.ts';
import { eventually, type ClusterSetup } from './cluster-suite.ts';

const never = new AbortController().signal;
const REQUEST: LockRequest = { run: 'r-1', holder: 'ann@laptop, pid 71', what: 'upgrade to KubeOS 2.0.0' };
const OTHER: LockRequest = { run: 'r-2', holder: 'ci@runner-7, pid 4121', what: 'rollback' };
const foreign = (change: Partial<BedLock> = {}): BedLock => ({
  holder: 'bob@desk, pid 9',
  token: 5,
  durationSeconds: 2,
  renewedAt: Date.now(),
  ...change,
});

export function describeLock({ bed, connect }: ClusterSetup): void {
  describe('the lock', () => {
    test('is taken, shown, given back, and its token grows with every acquisition', async () => {
      const cluster = await connect();
      expect(await cluster.lockState()).toBeUndefined();
      const first = await cluster.acquireLock(REQUEST, never);
      expect(first.token).toBe(1);
      expect(await cluster.lockState()).toMatchObject({ held: true, ...REQUEST, token: 1 });
      await first.release();
      await first.release();
      expect(await cluster.lockState()).toMatchObject({ held: false, ...REQUEST, token: 1 });
      const second = await cluster.acquireLock(OTHER, never);
      expect(second.token).toBe(2);
      expect(first.lost.aborted).toBe(false);
      await second.release();
    });

    test('is refused while a live run holds it, naming who, since when, what, and how to free it', async () => {
      const cluster = await connect({ lockSeconds: 4 });
      const held = await cluster.acquireLock(REQUEST, never);
      const error = await (await connect()).acquireLock(OTHER, never).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(LockHeldError);
      const refusal = error as LockHeldError;
      expect(refusal.exitCode).toBe(11);
      expect(refusal.reason).toContain(REQUEST.holder);
      expect(refusal.reason).toContain(REQUEST.what);
      expect(refusal.reason).toMatch(/since {2}\d{4}-\d\d-\d\dT/);
      expect(refusal.next).toContain('--lock-wait');
      expect(refusal.next).toContain('kubeos lock release');
      await held.release();
    });

    test('is refused while a holder on another machine renews it, however wrong its clock is', async () => {
      const cluster = await connect();
      let renewedAt = Date.now() - 3_600_000;
      await bed().writeLock(foreign({ durationSeconds: 5, renewedAt }));
      const over = new AbortController();
      const renewing = (async () => {
        while (!over.signal.aborted) {
          renewedAt += 1000;
          await bed().writeLock(foreign({ durationSeconds: 5, renewedAt }));
        }
      })();
      await expect(cluster.acquireLock(REQUEST, never)).rejects.toThrow(LockHeldError);
      over.abort();
      await renewing;
      expect(await bed().readLock()).toMatchObject({ holder: 'bob@desk, pid 9', token: 5 });
    });

    test('of a holder whose Lease stood still for its duration is taken over, with a higher token', async () => {
      const cluster = await connect();
      // Its clock runs ahead: the Lease looks fresh for another hour.
      await bed().writeLock(foreign({ renewedAt: Date.now() + 3_600_000 }));
      const waitedFor: LockState[] = [];
      const held = await cluster.acquireLock({ ...REQUEST, onWaiting: ({ holder }) => waitedFor.push(holder) }, never);
      expect(held.token).toBe(6);
      expect(waitedFor.map((state) => state.holder)).toEqual(['bob@desk, pid 9']);
      expect(await bed().readLock()).toMatchObject({ holder: REQUEST.holder, token: 6 });
      await held.release();
    });

    test('waiting for a dead holder can be called off', async () => {
      const cluster = await connect();
      await bed().writeLock(foreign({ durationSeconds: 600 }));
      const stopper = new AbortController();
      const request = { ...REQUEST, onWaiting: () => stopper.abort(new Error('called off')) };
      await expect(cluster.acquireLock(request, stopper.signal)).rejects.toThrow('called off');
    });

    test('of two runs that start at once, one gets it', async () => {
      const [one, two] = await Promise.all([connect(), connect()]);
      const results = await Promise.allSettled([one.acquireLock(REQUEST, never), two.acquireLock(OTHER, never)]);
      const won = results.filter((result) => result.status === 'fulfilled');
      expect(won).toHaveLength(1);
      expect(results.find((result) => result.status === 'rejected')?.reason).toBeInstanceOf(LockHeldError);
      await won[0]?.value.release();
    });

    test('is renewed, and tells how far the run is', async () => {
      const cluster = await connect({ lockSeconds: 1 });
      const held = await cluster.acquireLock(REQUEST, never);
      const before = (await bed().readLock())!.renewedAt;
      held.describe('2 of 4 nodes done');
      await eventually(async () => expect((await bed().readLock())!.renewedAt).toBeGreaterThan(before));
      await eventually(async () => expect((await cluster.lockState())?.what).toBe('2 of 4 nodes done'));
      expect(held.lost.aborted).toBe(false);
      await held.release();
    });

    test('is lost for sure once another holds it, and is not given back then', async () => {
      const cluster = await connect({ lockSeconds: 1 });
      const held = await cluster.acquireLock(REQUEST, never);
      await bed().writeLock(foreign({ token: held.token + 1 }));
      await eventually(() => expect(held.lost.aborted).toBe(true));
      expect(held.lost.reason).toBeInstanceOf(LockLostError);
      expect((held.lost.reason as LockLostError).reason).toContain('bob@desk');
      await expect(held.raiseAbove(40)).rejects.toThrow(LockLostError);
      await held.release();
      expect(await bed().readLock()).toMatchObject({ holder: 'bob@desk, pid 9' });
    });

    test('is lost when a person frees or deletes it', async () => {
      const cluster = await connect({ lockSeconds: 1 });
      const freed = await cluster.acquireLock(REQUEST, never);
      await bed().writeLock(foreign({ holder: '', token: freed.token }));
      await eventually(() => expect(freed.lost.aborted).toBe(true));
      const deleted = await cluster.acquireLock(REQUEST, never);
      await bed().deleteLock();
      await eventually(() => expect(deleted.lost.aborted).toBe(true));
    });

    test("is not lost by a person's annotation on the Lease", async () => {
      const cluster = await connect({ lockSeconds: 1 });
      const held = await cluster.acquireLock(REQUEST, never);
      await bed().annotateLock();
      const before = (await bed().readLock())!.renewedAt;
      await eventually(async () => expect((await bed().readLock())!.renewedAt).toBeGreaterThan(before));
      expect(held.lost.aborted).toBe(false);
      await held.release();
    });

    test('its token is raised above what a node has seen, never lowered', async () => {
      const cluster = await connect();
      const held = await cluster.acquireLock(REQUEST, never);
      await held.raiseAbove(41);
      expect(held.token).toBe(42);
      await held.raiseAbove(3);
      expect(held.token).toBe(42);
      expect(await bed().readLock()).toMatchObject({ holder: REQUEST.holder, token: 42 });
      await held.release();
      const next = await cluster.acquireLock(REQUEST, never);
      expect(next.token).toBe(43);
      await next.release();
    });

    test('is asked for before a change, and known to be gone before any renewal has failed', async () => {
      const cluster = await connect();
      await bed().addNode({ name: 'worker-1' });
      const held = await cluster.acquireLock(REQUEST, never);
      await held.confirm();
      const record = { run: 'r-1', token: held.token, operation: 'upgrade', version: 'v', step: 'stage' } as const;
      await cluster.record('worker-1', { ...record, cordon: 'none' });
      await cluster.release('worker-1', held.token);
      await bed().writeLock(foreign({ token: held.token + 1 }));
      // A look at the Lease is good for a second.
      await eventually(() => expect(held.confirm()).rejects.toThrow(LockLostError));
      expect(held.lost.aborted).toBe(true);
      // The newer run has been there and left no mark.
      await expect(cluster.record('worker-1', { ...record, cordon: 'none' })).rejects.toThrow(LockLostError);
      await expect(cluster.cordon('worker-1', record)).rejects.toThrow(LockLostError);
      expect(await bed().readNode('worker-1')).toMatchObject({ unschedulable: false, annotations: {} });
    });

    test('of a live holder is waited for, and taken when it is given back', async () => {
      const [one, two] = await Promise.all([connect({ lockSeconds: 4 }), connect()]);
      const held = await one.acquireLock(REQUEST, never);
      held.describe('1 of 2 nodes done');
      const waits: LockWait[] = [];
      const waiting = two.acquireLock({ ...OTHER, waitMs: 0, onWaiting: (wait) => waits.push(wait) }, never);
      await eventually(() => expect(waits.at(-1)?.holder.what).toBe('1 of 2 nodes done'), 10_000);
      await held.release();
      const next = await waiting;
      expect([next.token, next.tookOverFrom]).toEqual([2, undefined]);
      expect(waits.at(-1)?.holder).toMatchObject({ held: true, holder: REQUEST.holder, run: REQUEST.run });
      await next.release();
    });

    test('of a live holder is waited for no longer than was said', async () => {
      const [one, two] = await Promise.all([connect({ lockSeconds: 4 }), connect()]);
      const held = await one.acquireLock(REQUEST, never);
      await expect(two.acquireLock({ ...OTHER, waitMs: 1_500 }, never)).rejects.toThrow(LockHeldError);
      expect(held.lost.aborted).toBe(false);
      await held.release();
    });

    test('that was taken over tells from whom', async () => {
      const cluster = await connect();
      await bed().writeLock(foreign());
      const held = await cluster.acquireLock(REQUEST, never);
      expect(held.tookOverFrom).toMatchObject({ holder: 'bob@desk, pid 9', token: 5 });
      await held.release();
    });

    test("tells how long its holder has shown no sign of life, by the API server's clock", async () => {
      const cluster = await connect();
      await bed().writeLock(foreign({ durationSeconds: 60, renewedAt: (await bed().now()) - 540_000 }));
      const state = (await cluster.lockState())!;
      expect(state.durationMs).toBe(60_000);
      expect(state.silentMs).toBeGreaterThan(530_000);
      expect(state.silentMs).toBeLessThan(600_000);
    });

    test('is freed by hand as it was seen; its holder finds out, and who did it is told', async () => {
      const [one, two] = await Promise.all([connect(), connect()]);
      const held = await one.acquireLock(REQUEST, never);
      await two.freeLock((await two.lockState())!, 'ann@laptop, pid 5', false);
      const freed = (await two.lockState())!;
      expect(freed).toMatchObject({ held: false, freedBy: 'ann@laptop, pid 5', token: held.token, run: REQUEST.run });
      await two.freeLock(freed, 'ann@laptop, pid 5', false);
      await eventually(() => expect(held.confirm()).rejects.toThrow(LockLostError));
      expect((held.lost.reason as LockLostError).reason).toContain('by ann@laptop, pid 5');
      const next = await two.acquireLock(OTHER, never);
      expect(next.token).toBe(held.token + 1);
      expect((await two.lockState())?.freedBy).toBeUndefined();
      await next.release();
    });

    test('is not freed once it changed since it was seen, but from the same holder where that is insisted on', async () => {
      const cluster = await connect();
      await bed().writeLock(foreign());
      const seen = (await cluster.lockState())!;
      await bed().writeLock(foreign({ renewedAt: Date.now() + 1_000 }));
      await expect(cluster.freeLock(seen, 'ann', false)).rejects.toThrow(LockHeldError);
      expect(await bed().readLock()).toMatchObject({ holder: 'bob@desk, pid 9' });
      await cluster.freeLock(seen, 'ann', true);
      expect(await bed().readLock()).toMatchObject({ holder: '', token: 5 });
      await bed().writeLock(foreign({ token: 6 }));
      await expect(cluster.freeLock(seen, 'ann', true)).rejects.toThrow(LockHeldError);
      expect(await bed().readLock()).toMatchObject({ holder: 'bob@desk, pid 9', token: 6 });
    });

    test('that another took while the API server was away is lost', async () => {
      const [stopApi, startApi] = [bed().stopApi?.bind(bed()), bed().startApi?.bind(bed())];
      const cluster = await connect({ lockSeconds: 2 });
      const held = await cluster.acquireLock(REQUEST, never);
      await stopApi?.();
      await held.confirm();
      expect(held.lost.aborted).toBe(false);
      await startApi?.();
      await bed().writeLock(foreign({ token: held.token + 1 }));
      await eventually(() => expect(held.lost.aborted).toBe(true), 30_000);
      expect((held.lost.reason as LockLostError).reason).toContain('bob@desk');
      await held.release();
    });

    test('that nobody took while the API server was away is resumed', async () => {
      const [stopApi, startApi] = [bed().stopApi?.bind(bed()), bed().startApi?.bind(bed())];
      const cluster = await connect({ lockSeconds: 1 });
      const held = await cluster.acquireLock(REQUEST, never);
      await stopApi?.();
      await startApi?.();
      const before = (await bed().readLock())!.renewedAt;
      await eventually(async () => expect((await bed().readLock())!.renewedAt).toBeGreaterThan(before), 30_000);
      expect(held.lost.aborted).toBe(false);
      await held.release();
    });
  });
}
