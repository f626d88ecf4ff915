import type { Plan } from '../rollout/index.ts';
import { isLive } from '../rollout/lock-state.ts';
import type { Cluster } from '../rollout/ports.ts';

/** The same plan, with a word on the run that holds the lock while it is made: what it shows may be about to change. */
export async function withLockNote(plan: Plan, cluster: Pick<Cluster, 'lockState'>): Promise<Plan> {
  const lock = await cluster.lockState();
  if (lock === undefined || !isLive(lock)) return plan;
  const note = {
    what: `another run holds the lock: ${lock.what}`,
    reason: lock.holder,
    next: 'this plan may change with what that run does; wait for it (--lock-wait 30m), or look: kubeos status',
  };
  return { ...plan, notes: [...plan.notes, note] };
}
