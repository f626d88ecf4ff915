import { LockHeldError, LockLostError } from '../../src/errors.ts';
import type { HeldLock, LockRequest, LockState } from '../../src/rollout/ports.ts';
import type { SimClient } from './client.ts';
import type { SimLease } from './world.ts';

const WATCH_MS = 250;

/** Takes the Lease, where nobody holds it or its holder let it stand still for its duration. */
export async function acquireLock(
  client: SimClient,
  request: LockRequest,
  lockMs: number,
  signal: AbortSignal,
): Promise<SimLock> {
  const { world } = client;
  await client.breathe('acquire lock');
  if (world.lease.held) await untilItsHolderIsGone(client, request, signal);
  const from = world.lease.held ? stateOf(world.lease, world.clock.now()) : undefined;
  const { run, holder, what } = request;
  const now = world.clock.now();
  world.lease = {
    ...{ run, holder, what },
    held: true,
    token: world.lease.token + 1,
    durationMs: lockMs,
    acquiredAt: now,
    renewedAt: now,
  };
  const { token } = world.lease;
  await client.breathe('lock acquired');
  return new SimLock(client, token, lockMs, from);
}

/** What `kubeos status` shows of it. */
export const stateOf = (lease: SimLease, now: number): LockState => ({
  held: lease.held,
  holder: lease.holder,
  what: lease.what,
  run: lease.run,
  token: lease.token,
  acquiredAt: new Date(lease.acquiredAt).toISOString(),
  renewedAt: new Date(lease.renewedAt).toISOString(),
  durationMs: lease.durationMs,
  silentMs: Math.max(0, now - lease.renewedAt),
  ...(lease.freedBy === undefined || lease.held ? {} : { freedBy: lease.freedBy }),
  version: JSON.stringify(lease),
});

/** As `Cluster.freeLock`. */
export async function freeLock(client: SimClient, seen: LockState, by: string, whileAlive: boolean): Promise<void> {
  await client.breathe('free the lock');
  const { lease, clock } = client.world;
  if (!lease.held) return;
  const now = stateOf(lease, clock.now());
  const sameHolder = now.run === seen.run && now.holder === seen.holder && now.token === seen.token;
  if (now.version !== seen.version && !(whileAlive && sameHolder)) {
    throw new LockHeldError('the lock changed while it was looked at', { reason: lease.holder });
  }
  client.world.lease = { ...lease, held: false, freedBy: by };
  await client.breathe('lock freed');
}

async function untilItsHolderIsGone(client: SimClient, request: LockRequest, signal: AbortSignal): Promise<void> {
  const { world } = client;
  const { clock } = world;
  const { waitMs } = request;
  const waitUntil = waitMs === 0 ? Infinity : clock.now() + (waitMs ?? -Infinity);
  let lease = { ...world.lease };
  let stillSince = clock.now();
  let alive = false;
  let news = true;
  while (clock.now() - stillSince < lease.durationMs) {
    if (alive && clock.now() >= waitUntil) throw heldError(lease);
    if (news) request.onWaiting?.({ holder: stateOf(lease, clock.now()), alive });
    await client.clock.sleep(WATCH_MS, signal);
    const now = world.lease;
    if (!now.held) return;
    news = now.renewedAt !== lease.renewedAt || now.token !== lease.token;
    if (news) stillSince = clock.now();
    alive ||= news;
    lease = { ...now };
  }
}

const heldError = (lease: SimLease): LockHeldError =>
  new LockHeldError('another run holds the lock', {
    reason: `${lease.holder}\n${lease.what}\nsince  ${new Date(lease.acquiredAt).toISOString()}`,
    next: 'wait for it: --lock-wait 30m, or free it:\nkubeos lock release',
  });

/** The lock as a run holds it. */
export class SimLock implements HeldLock {
  token: number;
  readonly tookOverFrom?: LockState;
  readonly #lost = new AbortController();
  readonly #client: SimClient;
  readonly #holder: string;
  readonly #run: string;
  readonly #renewMs: number;
  readonly #lockMs: number;
  #provenAt: number;
  #over = false;
  #released = false;

  constructor(client: SimClient, token: number, lockMs: number, from: LockState | undefined) {
    this.#client = client;
    if (from !== undefined) this.tookOverFrom = from;
    this.token = token;
    this.#holder = client.world.lease.holder;
    this.#run = client.world.lease.run;
    this.#renewMs = lockMs / 4;
    this.#lockMs = lockMs;
    this.#provenAt = client.clock.now();
    this.#renew();
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  confirm(): Promise<void> {
    const { apiAway, leaseRefused } = this.#client.world;
    if (apiAway || leaseRefused || !this.isGone()) return Promise.resolve();
    return Promise.reject(this.#lost.signal.reason as Error);
  }

  async confirmStart(signal: AbortSignal): Promise<void> {
    const { world, clock } = this.#client;
    for (;;) {
      await this.confirm();
      if (!world.apiAway && !world.leaseRefused) this.#provenAt = clock.now();
      if (this.#released || clock.now() - this.#provenAt <= this.#lockMs) return;
      await clock.sleep(WATCH_MS, AbortSignal.any([signal, this.lost]));
    }
  }

  /** What asking for the Lease tells at this very moment. */
  isGone(): boolean {
    return !this.#released && !this.#stillOurs();
  }

  describe(what: string): void {
    if (!this.#over) this.#client.world.lease.what = what;
  }

  async raiseAbove(floor: number): Promise<void> {
    await this.#client.breathe('raise the token');
    if (!this.#stillOurs()) throw new LockLostError('the lock is gone');
    if (floor >= this.token) this.token = floor + 1;
    this.#client.world.lease.token = this.token;
  }

  async release(): Promise<void> {
    if (this.#over) return;
    await this.#client.breathe('release the lock');
    if (this.#stillOurs()) this.#client.world.lease.held = false;
    this.#over = true;
    this.#released = true;
  }

  #renew(): void {
    this.#client.world.clock.after(this.#renewMs, () => {
      if (this.#over || this.#client.dead) return;
      const { world } = this.#client;
      if (!this.#client.frozen && !world.leaseRefused && this.#stillOurs()) {
        world.lease.renewedAt = world.clock.now();
        if (!world.apiAway) this.#provenAt = world.clock.now();
      }
      this.#renew();
    });
  }

  #stillOurs(): boolean {
    const { lease } = this.#client.world;
    const ours = lease.token === this.token && lease.held && lease.holder === this.#holder;
    if (!ours && !this.#over) {
      this.#over = true;
      const by = lease.freedBy === undefined ? '' : `, by ${lease.freedBy}`;
      const taken = lease.held || (lease.run !== this.#run && lease.run !== '');
      const reason = taken ? `it was taken over by ${lease.holder} (run ${lease.run})` : `it was freed by hand${by}`;
      this.#lost.abort(new LockLostError('this run has lost its lock', { reason }));
    }
    return ours;
  }
}
