import { ConnectError } from '../../src/errors.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import type { Authority, StepProgress } from '../../src/rollout/ports.ts';
import type { SimClient } from './client.ts';
import { BYTES, type SimJob, type SimMachine } from './machine.ts';
import { endJob, outOfOrder, takenOver } from './refusals.ts';
import type { SimCalls } from './sim-calls.ts';
import type { SimWorld } from './world.ts';

const JOB_MS = { stage: 12_000, write: 15_000, verify: 9000 } as const;
const POLL_MS = 4000;
/** As long as the real adapter lets a node stay away that works for us. */
const JOB_PATIENCE_MS = 60_000;
/** As the real adapter starts a step again that a reset ended. */
const MAX_STARTS = 3;

/** What a detached step does, when it begins and when it ends. */
export interface Work {
  done: (machine: SimMachine) => boolean;
  /** It stands still until this is over. */
  stands?: Promise<void> | undefined;
  begin: (machine: SimMachine) => void;
  end: (machine: SimMachine) => void;
}

/** Long steps, which go on without the run that started them. */
export class SimJobs {
  readonly #client: SimClient;
  readonly #world: SimWorld;
  readonly #calls: SimCalls;

  constructor(client: SimClient, calls: SimCalls) {
    this.#client = client;
    this.#world = client.world;
    this.#calls = calls;
  }

  /** A detached step: started or adopted, then polled; it goes on without us. */
  async run(
    node: ClusterNode,
    by: Authority,
    step: SimJob['step'],
    mark: string,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
    work: Work,
  ): Promise<void> {
    for (let start = 1; start <= MAX_STARTS; start++) {
      signal.throwIfAborted();
      const launched = await this.#calls.change(node, by, `launch ${step}`, (machine) => {
        if (machine.job?.mark === `${step} ${mark}` && machine.job.state === 'running') return machine.job;
        if (work.done(machine)) return undefined;
        endJob(machine);
        work.begin(machine);
        machine.job = this.#launch(machine, { step, mark: `${step} ${mark}`, token: by.token }, work);
        return machine.job;
      });
      if (launched === undefined || (await this.#follow(node, by, launched, onProgress, signal))) return;
    }
    throw outOfOrder(`${step} vanished on the node ${MAX_STARTS} times`);
  }

  /** Resolves to whether it came to its end; false where it vanished. */
  async #follow(
    node: ClusterNode,
    by: Authority,
    launched: SimJob,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    let awaySince: number | undefined;
    for (;;) {
      if (signal.aborted) {
        await this.#calls.change(node, by, 'end-job', endJob).catch(() => undefined);
        throw signal.reason as Error;
      }
      const job = await this.#poll(node, by, launched);
      if (job === 'away') {
        awaySince ??= this.#world.clock.now();
        if (this.#world.clock.now() - awaySince > JOB_PATIENCE_MS) throw this.#calls.away(node.name);
      } else awaySince = undefined;
      if (job === 'done' || job === 'gone') return job === 'done';
      const share = Math.min(1, (this.#world.clock.now() - launched.startedAt) / launched.ms);
      onProgress({ doneBytes: Math.floor(share * BYTES), totalBytes: BYTES });
      await this.#client.clock.sleep(POLL_MS, signal).catch(() => undefined);
    }
  }

  async #poll(node: ClusterNode, by: Authority, launched: SimJob): Promise<SimJob['state'] | 'away' | 'gone'> {
    try {
      const look = (machine: SimMachine): SimJob['state'] | 'gone' => {
        if (machine.token > by.token) throw takenOver(node.name);
        if (machine.job !== launched) return 'gone';
        if (launched.state === 'failed') throw launched.error!;
        return launched.state;
      };
      return await this.#calls.call(node, `poll ${launched.step}`, look, 0);
    } catch (error) {
      if (error instanceof ConnectError) return 'away';
      throw error;
    }
  }

  #launch(machine: SimMachine, job: Pick<SimJob, 'step' | 'mark' | 'token'>, work: Work): SimJob {
    const finish = (): void => {
      try {
        work.end(machine);
        running.state = 'done';
      } catch (error) {
        running.state = 'failed';
        running.error = error as Error;
      }
    };
    const ms = JOB_MS[job.step];
    const running: SimJob = {
      ...job,
      startedAt: this.#world.clock.now(),
      ms,
      state: 'running',
      cancel: () => undefined,
    };
    if (work.stands === undefined) {
      running.cancel = this.#world.clock.after(ms, finish);
    } else {
      let ended = false;
      running.cancel = () => void (ended = true);
      void work.stands.then(() => (ended ? undefined : finish()));
    }
    return running;
  }
}
