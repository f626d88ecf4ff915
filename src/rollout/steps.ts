/** The steps of one node's way, in order, as every screen, log line and annotation names them. */
export const STEPS = ['stage', 'write', 'verify', 'drain', 'arm', 'reboot', 'prove', 'commit', 'uncordon'] as const;
export type Step = (typeof STEPS)[number];

/** The step comes before the node's trial boot: its way can still end as if it had never begun. */
export const isAhead = (step: Step): boolean => STEPS.indexOf(step) <= STEPS.indexOf('reboot');

/**
 * How a node's way ended. Each is distinct; none but the first three claims success. `interrupted`: nothing failed, the
 * run was asked to stop while the node was on its way.
 */
export const OUTCOMES = [
  'upgraded',
  'rolled back',
  'already there',
  'fell back',
  'failed',
  'needs hands',
  'interrupted',
  'not started',
] as const;
export type Outcome = (typeof OUTCOMES)[number];
