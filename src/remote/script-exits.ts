/**
 * The exit codes of node scripts, by name. docs/node-protocol.md explains each; lib.sh has the same table, and a test
 * compares the three.
 */
export const SCRIPT_EXITS = {
  'bad-call': 10,
  unsupported: 11,
  'stale-token': 12,
  busy: 13,
  'out-of-order': 14,
  'missing-tool': 15,
  'no-space': 16,
  'download-failed': 17,
  'checksum-mismatch': 18,
  'insecure-address': 19,
  certificate: 20,
  'unsafe-target': 21,
  'write-failed': 22,
  'read-back-mismatch': 23,
  'bad-content': 24,
  'boot-environment': 25,
  'not-proven': 26,
  'unsupported-image': 27,
  'reboot-failed': 28,
  state: 29,
} as const;

export type ScriptExit = keyof typeof SCRIPT_EXITS;
