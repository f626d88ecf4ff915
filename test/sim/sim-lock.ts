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
): Promise<HeldLock> {
  const { world } = client;
  await client.breathe('acquire lock');
  if (world.lease.held) await untilItStoodStill(client, request, signal);
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
  return new SimLock(client, token, lockMs);
}

/** What `kubeos status` shows of it. */
export const stateOf = ({ held, holder, what, run, token, acquiredAt, renewedAt }: SimLease): LockState => ({
  held,
  holder,
  what,
  run,
  token,
  acquiredAt: new Date(acquiredAt).toISOString(),
  renewedAt: new Date(renewedAt).toISOString(),
});

async function untilItStoodStill(client: SimClient, request: LockRequest, signal: AbortSignal): Promise<void> {
  const { world } = client;
  const { renewedAt, token, durationMs } = world.lease;
  const end = world.clock.now() + durationMs;
  request.onWaiting?.(stateOf(world.lease), durationMs);
  while (world.clock.now() < end) {
    await client.clock.sleep(WATCH_MS, signal);
    const { lease } = world;
    if (!lease.held) return;
    if (lease.renewedAt === renewedAt && lease.token === token) continue;
    throw new LockHeldError('another run holds the lock', {
      reason: `${lease.holder}\n${lease.what}\nsince  ${new Date(lease.acquiredAt).toISOString()}`,
      next: "wait for it, or free it: kubectl -n kube-system patch lease kubeos --type=merge -p '…'",
    });
  }
}

/** The lock as a run holds it. */
class SimLock implements HeldLock {
  token: number;
  readonly #lost = new AbortController();
  readonly #client: SimClient;
  readonly #holder: string;
  readonly #renewMs: number;
  #over = false;

  constructor(client: SimClient, token: number, lockMs: number) {
    this.#client = client;
    this.token = token;
    this.#holder = client.world.lease.holder;
    this.#renewMs = lockMs / 4;
    this.#renew();
    client.onThaw.push(() => void this.#stillOurs());
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
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
  }

  #renew(): void {
    this.#client.world.clock.after(this.#renewMs, () => {
      if (this.#over || this.#client.dead) return;
      if (!this.#client.frozen && this.#stillOurs())
        this.#client.world.lease.renewedAt = this.#client.world.clock.now();
      this.#renew();
    });
  }

  #stillOurs(): boolean {
    const { lease } = this.#client.world;
    const ours = lease.token === this.token && lease.held && lease.holder === this.#holder;
    if (!ours && !this.#over) {
      this.#over = true;
      this.#client.lockLost = true;
      const reason = lease.holder === '' ? 'somebody freed it' : `${lease.holder} holds it`;
      this.#lost.abort(new LockLostError('this run has lost its lock', { reason }));
    }
    return ours;
  }
}
