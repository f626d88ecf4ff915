/** What `kubeos status` and `kubeos lock status` show of the lock. */
export interface LockState {
  /** Somebody's name is on it, dead or alive: see `isLive`. */
  held: boolean;
  /** It is held by a process that has ended without giving it back: known only on the holder's own machine. */
  dead?: boolean;
  holder: string;
  what: string;
  run: string;
  /** ISO 8601. */
  acquiredAt?: string;
  renewedAt?: string;
  /** How long its holder may be silent before it counts as dead, in milliseconds: what the holder itself promised. */
  durationMs: number;
  /** How long ago the last sign of life was, in milliseconds by the API server's clock; missing where there is none. */
  silentMs?: number;
  /** Who freed it by hand; missing where nobody did. */
  freedBy?: string;
  token: number;
  /** Another one after each change of the Lease; opaque. */
  version: string;
}

/**
 * Whether a run holds the lock and may be alive: its Lease has not stood still for longer than the holder promised, and
 * its process is not known to have ended.
 */
export const isLive = (lock: LockState): boolean => lock.held && lock.dead !== true && !isSilent(lock);

/** Its holder has shown no sign of life for longer than it promised: the next run takes the lock over. */
export const isSilent = ({ held, silentMs = 0, durationMs }: LockState): boolean => held && silentMs > durationMs;
