/**
 * The exit codes of `kubeos`: a contract with pipelines, printed in `--help`, in the README and in the final JSON.
 * Where several fit, the order is 130, 6, 5, 3.
 */
export const EXIT = {
  done: 0,
  bug: 1,
  usage: 2,
  incomplete: 3,
  refused: 4,
  fellBack: 5,
  needsHands: 6,
  changesFound: 7,
  unreachable: 10,
  locked: 11,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each code means, in the words that `--help` and the README show. */
export const EXIT_MEANINGS: ReadonlyMap<ExitCode, string> = new Map<ExitCode, string>([
  [EXIT.done, 'done, or nothing to do'],
  [EXIT.bug, 'a bug in kubeos, with how to report it'],
  [EXIT.usage, 'wrong usage or an invalid spec; no node was touched'],
  [EXIT.incomplete, 'not all nodes done, all of them safe'],
  [EXIT.refused, 'refused by preflight or forecast; nothing was changed'],
  [EXIT.fellBack, 'a node fell back to its old slot'],
  [EXIT.needsHands, 'a node needs hands'],
  [EXIT.changesFound, 'plan --detailed-exitcode: there are changes to make'],
  [EXIT.unreachable, 'the API, or every node, cannot be reached or refuses the login'],
  [EXIT.locked, 'another live run holds the lock'],
  [EXIT.interrupted, 'interrupted'],
]);
