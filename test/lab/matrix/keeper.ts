import type { LabGate, Passing } from '../../../src/lab/gate.ts';
import { type Call, callOf } from './calls.ts';
import type { Mark, Side } from './places.ts';

/** Somebody who stands at the gate: every call passes, unless this one is waited for. */
export interface Held {
  call: Call;
  /** False: it never has its effect. On its way out that is too late, and it only goes unanswered. */
  letGo(pass: boolean): void;
}

/** Keeps a lab's gate: holds the one call that a test waits for, and shows it all others. */
export class Keeper implements LabGate {
  /** Told of every call that changes a node, once it has its effect. */
  onEffect: (call: Call) => Promise<void> = () => Promise.resolve();
  /** The boot that a node runs, by its name. */
  bootOf: (node: string) => Promise<string> = () => Promise.resolve('');
  #wanted: { node: string; mark: Mark; held: (held: Held) => void } | undefined;
  readonly #bootBefore = new Map<string, string>();

  /** Forgets which boots were ordered before. */
  forget(): void {
    this.#wanted = undefined;
    this.#bootBefore.clear();
  }

  /** Resolves to the first such call of this node; it stays held until it is let go. */
  hold(node: string, mark: Mark): Promise<Held> {
    return new Promise((resolve) => {
      this.#wanted = { node, mark, held: resolve };
    });
  }

  async enter(passing: Passing): Promise<boolean> {
    const call = callOf(passing);
    if (call === undefined) return true;
    if (call.what === 'reboot') this.#bootBefore.set(call.node, await this.bootOf(call.node));
    return this.#stop(call, 'enter');
  }

  async leave(passing: Passing): Promise<void> {
    const call = callOf(passing);
    if (call === undefined) return;
    if (!READS.has(call.what)) await this.onEffect(call);
    await this.#stop(call, 'leave');
  }

  async #stop(call: Call, side: Side): Promise<boolean> {
    const wanted = this.#wanted;
    if (wanted === undefined || wanted.node !== call.node) return true;
    if (wanted.mark.what !== call.what || wanted.mark.side !== side) return true;
    if (wanted.mark.newBoot === true && !(await this.#onNewBoot(call.node))) return true;
    this.#wanted = undefined;
    return new Promise((resolve) => wanted.held({ call, letGo: resolve }));
  }

  async #onNewBoot(node: string): Promise<boolean> {
    const before = this.#bootBefore.get(node);
    return before !== undefined && (await this.bootOf(node)) !== before;
  }
}

const READS: ReadonlySet<Call['what']> = new Set(['observe', 'poll', 'boot-report', 'logs', 'log']);
