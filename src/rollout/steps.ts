/** The steps of one node's way, in order, as every screen, log line and annotation names them. */
export const STEPS = ['stage', 'write', 'verify', 'drain', 'arm', 'reboot', 'prove', 'commit', 'uncordon'] as const;
export type Step = (typeof STEPS)[number];

/** How a node's way ended. Each is distinct; none but the first three claims success. */
export const OUTCOMES = [
  'upgraded',
  'rolled back',
  'already there',
  'fell back',
  'failed',
  'needs hands',
  'not started',
] as const;
export type Outcome = (typeof OUTCOMES)[number];
