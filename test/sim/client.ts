import type { Clock } from '../../src/rollout/ports.ts';
import type { SimWorld } from './world.ts';

/** One run of kubeos, seen from outside: it can be killed or frozen between any two of its breaths. */
export class SimClient {
  readonly world: SimWorld;
  readonly name: string;
  /** How often it has stepped outside, towards the cluster, a node or the clock. */
  breaths = 0;
  dead = false;
  /** What happens at a breath: a kill, a signal, a cut. */
  onBreath: (count: number, doing: string) => void = () => undefined;
  #frozen: Promise<void> | undefined;
  #thaw: () => void = () => undefined;
  readonly onThaw: (() => void)[] = [];

  constructor(world: SimWorld, name: string) {
    this.world = world;
    this.name = name;
  }

  kill(): void {
    this.dead = true;
  }

  /** SIGSTOP. */
  freeze(): void {
    this.#frozen = new Promise((resolve) => (this.#thaw = resolve));
  }

  /** SIGCONT. */
  thaw(): void {
    this.#frozen = undefined;
    for (const wake of this.onThaw) wake();
    this.#thaw();
  }

  get frozen(): boolean {
    return this.#frozen !== undefined;
  }

  /** The way to or from the outside: where a killed run stops for good. */
  async breathe(doing: string, ms = 20): Promise<void> {
    this.breaths++;
    this.onBreath(this.breaths, doing);
    await this.#alive();
    await this.world.clock.sleep(ms);
    await this.#alive();
  }

  /** A killed process has no clock either. */
  readonly clock: Clock = {
    now: () => this.world.clock.now(),
    sleep: async (ms, signal) => {
      await this.world.clock.sleep(ms, signal);
      await this.#alive();
      signal?.throwIfAborted();
    },
  };

  async #alive(): Promise<void> {
    if (this.dead) await new Promise(() => undefined);
    while (this.#frozen !== undefined) await this.#frozen;
  }
}
