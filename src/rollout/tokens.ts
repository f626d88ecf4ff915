/**
 * No token beyond this is believed. The Lease keeps it in an int32 (coordination.k8s.io/v1, leaseTransitions), which must
 * not be used up by what one node says: then no run could ever take the lock again.
 */
export const HIGHEST_TOKEN = 2 ** 31 - 2 ** 20;

/** A Lease that was deleted begins anew at 1: nodes may be ahead of it by all runs that there ever were, not by more. */
const FARTHEST_AHEAD = 1_000_000;

/**
 * Whether a run can have left this token.
 * @param held the token of the Lease, as it was taken
 */
export const isBelievable = (token: number, held: number): boolean =>
  token <= held || (token <= HIGHEST_TOKEN && token - held <= FARTHEST_AHEAD);
