import { KubeosError, LockLostError } from '../../src/errors.ts';
import { EXIT } from '../../src/exit-codes.ts';
import type { NodeJournal } from '../../src/rollout/facts.ts';
import type { SimMachine } from './machine.ts';

/** What a script refuses, with its reason; the call adds where that was. */
export class Refusal extends Error {
  readonly reason: string;
  constructor(what: string, reason: string) {
    super(what);
    this.reason = reason;
  }
}

export const outOfOrder = (why: string): Refusal => new Refusal('a step that must come first has not been done', why);
export const badContent = (why: string): Refusal =>
  new Refusal('the slot holds no system that may be booted here', why);
export const notProven = (why: string): Refusal => new Refusal('the node does not run what was expected', why);

/** As the real adapter tells a script's refusal: node, step, reason, what next, and the script's own words. */
export function explain(error: unknown, node: string, step: string): unknown {
  if (!(error instanceof Refusal)) return error;
  const { message, reason } = error;
  return new KubeosError(message, EXIT.incomplete, {
    node,
    step,
    reason,
    next: 'give the same command again',
    logTail: [`kubeos: ${reason}`],
    cause: error,
  });
}

export const takenOver = (node: string): LockLostError =>
  new LockLostError('another run of kubeos has taken over this node', { node });

export const isOpen = ({ phase }: NodeJournal): boolean =>
  phase !== 'committed' && phase !== 'fell-back' && phase !== 'aborted';

export function needOpen({ journal }: SimMachine): void {
  if (journal === undefined || !isOpen(journal)) throw outOfOrder('begin comes first');
}

export function needEnv({ env }: SimMachine): void {
  if (env.problem !== undefined) throw new Refusal('the boot environment of GRUB is not usable', env.problem);
}

export function endJob(machine: SimMachine): void {
  machine.job?.cancel();
  machine.job = undefined;
}
