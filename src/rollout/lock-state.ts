import type { LockState } from './ports.ts';

/**
 * Whether a run holds the lock and may be alive: its Lease has not stood still for longer than the holder promised, and
 * its process is not known to have ended.
 */
export const isLive = (lock: LockState): boolean => lock.held && lock.dead !== true && !isSilent(lock);

/** Its holder has shown no sign of life for longer than it promised: the next run takes the lock over. */
export const isSilent = ({ held, silentMs = 0, durationMs }: LockState): boolean => held && silentMs > durationMs;
