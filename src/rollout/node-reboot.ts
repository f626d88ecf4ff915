import { ConnectError, KubeosError, LockLostError } from '../errors.ts';
import type { NodeObservation } from './facts.ts';
import type { BootReport } from './ports.ts';
import type { Trip } from './trip.ts';

const REORDER_AFTER_MS = 60_000;
const MOST_ORDERS = 3;

/**
 * Orders a reboot and waits for another boot; ordered again where the connection broke before the node could agree.
 * Resolves to undefined where none was seen.
 */
export async function reboot(
  trip: Trip,
  purpose: 'trial' | 'send-back',
  bootId: string,
): Promise<BootReport | undefined> {
  const { options } = trip.context;
  for (let order = 1; ; order++) {
    const accepted = await orderReboot(trip, purpose, bootId);
    if (typeof accepted === 'object') return accepted;
    const last = accepted || order === MOST_ORDERS;
    const patience = last ? options.rebootTimeoutMs : REORDER_AFTER_MS;
    const report = await awaitBoot(trip, bootId, patience);
    if (report !== undefined || last) return report;
  }
}

/** Waits for any other boot than this one; undefined where none was seen, be it because the node does not let us in. */
export async function awaitBoot(trip: Trip, bootId: string, timeoutMs?: number): Promise<BootReport | undefined> {
  const { ports, late, options } = trip.context;
  delete trip.shutOut;
  try {
    return await ports.remote.awaitBoot(trip.node, bootId, timeoutMs ?? options.rebootTimeoutMs, late);
  } catch (error) {
    if (!(error instanceof KubeosError) || error instanceof LockLostError) throw error;
    trip.shutOut = error;
    return undefined;
  }
}

/** What an observation says of the present boot. */
export function bootOf({ bootId, active, osVersion }: NodeObservation): BootReport | undefined {
  return active === undefined ? undefined : { bootId, active, osVersion };
}

/** Resolves to true where the node agreed, false where nobody knows, and to its boot where it has rebooted already. */
async function orderReboot(trip: Trip, purpose: 'trial' | 'send-back', bootId: string): Promise<boolean | BootReport> {
  const { ports, late } = trip.context;
  const before = trip.phase;
  trip.phase = 'rebooting';
  try {
    await ports.remote.reboot(trip.node, trip.authority, purpose);
    return true;
  } catch (error) {
    if (error instanceof ConnectError) return false;
    if (!(error instanceof KubeosError) || error instanceof LockLostError) throw error;
    const seen = await ports.remote.observe(trip.node, late);
    const report = bootOf(seen);
    if (report !== undefined && seen.bootId !== bootId) return report;
    trip.phase = before;
    throw error;
  }
}
