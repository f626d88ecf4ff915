import { ImageRefusedError, KubeosError, LockLostError, type FailureContext } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { lastLines } from './clean-text.ts';
import { SCRIPT_EXITS, type ScriptExit } from './script-exits.ts';
import type { StepScript } from './scripts/index.ts';

/** How a node script ended that did not succeed. */
export interface ScriptFailure {
  node: string;
  /** The step, or the script's name where it is no step of its own. */
  step: string;
  /** The script that ran: `write` and `stream` are one step. */
  script: StepScript;
  code?: number;
  signal?: string;
  stderr: string;
  /** It looked for a system to go back to: nothing is written then. */
  rollsBack?: boolean;
}

const LOG_LINES = 20;
const AGAIN = 'give the same command again';

// What went wrong, and what to do next. The script's own last line on standard error is the reason.
const MEANINGS: Readonly<Record<ScriptExit, { what: string; next: string }>> = {
  'bad-call': {
    what: 'the node refused a call of kubeos',
    next: 'this is a mistake of kubeos: please report it with these lines',
  },
  unsupported: { what: 'the node has a layout that kubeos does not work on', next: 'leave it out: --exclude' },
  'stale-token': {
    what: 'another run of kubeos has taken over this node',
    next: 'look at it: kubeos status; then, if that run is over, give the same command again',
  },
  busy: { what: 'another kubeos call holds the node', next: `wait a moment, then ${AGAIN}` },
  'out-of-order': {
    what: 'a step that must come first has not been done',
    next: `${AGAIN}: it begins where the node stands`,
  },
  'missing-tool': {
    what: 'a command is missing on the node',
    next: 'install it on the node, or leave the node out: --exclude',
  },
  'no-space': {
    what: 'too little room on the node',
    next: `make room there, in /persist or where its engine keeps images, then ${AGAIN}`,
  },
  'download-failed': {
    what: 'the image could not be downloaded',
    next: `check the image server or registry, its certificate, the node's login there, and the way to it; then ${AGAIN}`,
  },
  'checksum-mismatch': {
    what: 'the image is not the one that the spec names',
    next: 'compare the checksum in the spec with the one of the image on the server',
  },
  'insecure-address': {
    what: 'the image address is insecure',
    next: 'use https in the spec, or, on a network you trust: flagSafe: true',
  },
  certificate: {
    what: 'a certificate or key in /etc/KubeOS/certs is not usable',
    next: `put the right files into /etc/KubeOS/certs on the node, then ${AGAIN}`,
  },
  'unsafe-target': {
    what: 'the slot must not be written',
    next: `see who uses the slot (lsblk, findmnt), or give an image that fits it; then ${AGAIN}`,
  },
  'write-failed': {
    what: 'the disk did not take the image',
    next: `look for disk errors (dmesg) on the node, and whether the image fits the slot (lsblk); then ${AGAIN}`,
  },
  'read-back-mismatch': {
    what: 'the slot does not read back as what was written',
    next: `look for disk errors (dmesg) on the node, then ${AGAIN}: the slot is written anew`,
  },
  'bad-content': {
    what: 'the slot holds no system that may be booted here',
    next: 'mend the image, and its checksum in the spec; or, where the slot cannot be read, look for disk errors (dmesg) on the node',
  },
  'boot-environment': {
    what: 'the boot environment of GRUB is not usable',
    next:
      'look at the grubenv of the node: it must be there, writable and 1024 bytes long; where its grub.cfg is in the way of a ' +
      'managed boot, go without --managed-boot',
  },
  'not-proven': { what: 'the node does not run what was expected', next: 'look at the node: kubeos status' },
  'unsupported-image': {
    what: 'kubeos does not write this image',
    next: 'mend the image, and its checksum in the spec; no slot was touched',
  },
  'reboot-failed': {
    what: 'the node refused to reboot',
    next: `look at the node (systemctl list-jobs), then ${AGAIN}`,
  },
  state: {
    what: 'the notes of kubeos on the node cannot be read or written',
    next:
      'see what /persist on the node has: is it not mounted, full, or read-only (dmesg: an ext4 with errors becomes so; once mended, ' +
      `mount -o remount,rw /persist)? then ${AGAIN}`,
  },
};

const INSTEAD = 'or bring the node there by its image: kubeos upgrade; or leave it out: --exclude';

// The same in a rollback, which takes a slot as it is.
const IN_ROLLBACK: Readonly<Partial<Record<ScriptExit, { what: string; next: string }>>> = {
  'bad-content': { ...MEANINGS['bad-content'], next: `mend what is in the slot, ${INSTEAD}` },
  'read-back-mismatch': {
    what: 'the slot is not what it was when it was verified',
    next: `look for disk errors (dmesg) on the node, ${INSTEAD}`,
  },
};

// write compares no more than what stage has proven.
const IN_WRITE: Readonly<Partial<Record<ScriptExit, { what: string; next: string }>>> = {
  'checksum-mismatch': {
    what: 'the image was damaged on the node',
    next: `look for disk errors (dmesg) on the node, then ${AGAIN}: the image is fetched anew`,
  },
};

const NAMES: ReadonlyMap<number, ScriptExit> = new Map(
  Object.entries(SCRIPT_EXITS).map(([name, code]) => [code, name as ScriptExit]),
);

/** The failure that a script's exit code stands for, its last lines kept. `stale-token` is a LockLostError, `unsupported-image` an ImageRefusedError. */
export function explainScriptFailure(failure: ScriptFailure): KubeosError {
  const tail = lastLines(failure.stderr, LOG_LINES);
  const name = failure.code === undefined ? undefined : NAMES.get(failure.code);
  const context: FailureContext = {
    node: failure.node,
    step: failure.step,
    reason: tail.at(-1)?.replace(/^kubeos: /, '') ?? endOf(failure),
    logTail: tail,
  };
  if (name === undefined) {
    const what =
      failure.code === undefined
        ? `${failure.step} was ended by ${failure.signal ?? 'a signal'}`
        : `${failure.step} failed`;
    const reason = [endOf(failure), ...tail.slice(-1)].join(': ');
    return new KubeosError(what, EXIT.incomplete, {
      ...context,
      reason,
      next: `look at the node: kubeos logs ${failure.node}`,
    });
  }
  const { what, next } = meaningOf(name, failure);
  if (name === 'stale-token') return new LockLostError(what, { ...context, next });
  if (name === 'unsupported-image') return new ImageRefusedError(what, { ...context, next });
  return new KubeosError(what, EXIT.incomplete, { ...context, next });
}

function meaningOf(name: ScriptExit, { script, rollsBack }: ScriptFailure): { what: string; next: string } {
  const here = rollsBack === true ? IN_ROLLBACK : script === 'write' ? IN_WRITE : {};
  return here[name] ?? MEANINGS[name];
}

// A shell says 128 and more for a command that a signal ended.
function endOf({ code, signal }: ScriptFailure): string {
  if (code === undefined) return `ended by ${signal ?? 'a signal'}`;
  return code > 128 ? `exit code ${String(code)} (ended by signal ${String(code - 128)})` : `exit code ${String(code)}`;
}
