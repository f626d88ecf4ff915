import { ConnectError } from '../../src/errors.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import type { Authority } from '../../src/rollout/ports.ts';
import type { SimClient } from './client.ts';
import type { SimMachine } from './machine.ts';
import { endJob, explain, takenOver } from './refusals.ts';
import type { SimWorld } from './world.ts';

const RETRY_MS = 1000;
/** As long as the real adapter tries again to reach a node that answered this run before. */
const CALL_PATIENCE_MS = 120_000;

/** The way to a node and back; a run may die, and a connection break, on either. */
export class SimCalls {
  readonly #client: SimClient;
  readonly #world: SimWorld;
  readonly #reached = new Set<string>();

  constructor(client: SimClient) {
    this.#client = client;
    this.#world = client.world;
  }

  reachable(machine: SimMachine): boolean {
    const { refusesSsh, strangeHostKey } = this.#world.fault(machine.name);
    return machine.answersSsh && refusesSsh !== true && strangeHostKey !== true;
  }

  /** @param patienceMs how long a node that answered before may stay away; then every script may be repeated */
  async call<T>(
    node: ClusterNode,
    doing: string,
    act: (machine: SimMachine) => T,
    patienceMs = CALL_PATIENCE_MS,
  ): Promise<T> {
    const end = this.#world.clock.now() + patienceMs;
    for (;;) {
      try {
        return await this.#attempt(node, doing, act);
      } catch (error) {
        const isOver = this.#world.clock.now() >= end;
        const passes = error instanceof ConnectError && error.failure === 'unreachable';
        if (!passes || !this.#reached.has(node.name) || isOver) throw error;
      }
      await this.#client.clock.sleep(RETRY_MS);
    }
  }

  async #attempt<T>(node: ClusterNode, doing: string, act: (machine: SimMachine) => T): Promise<T> {
    await this.#client.breathe(`${doing} ${node.name}`);
    const machine = this.#connect(node.name);
    this.#reached.add(node.name);
    try {
      const answer = act(machine);
      await this.#client.breathe(`${doing} ${node.name}, answered`);
      this.#connect(node.name);
      return answer;
    } catch (error) {
      throw explain(error, node.name, doing.replace(/^(launch|poll) /, '').replace(/ .*$/, ''));
    }
  }

  #connect(name: string): SimMachine {
    const machine = this.#world.machine(name);
    if (this.reachable(machine)) return machine;
    throw this.away(name);
  }

  away(name: string): ConnectError {
    if (this.#world.fault(name).strangeHostKey === true) {
      const next = 'compare it with its console';
      return new ConnectError('its host key has changed', 'host-key-changed', { node: name, reason: 'another', next });
    }
    return new ConnectError('the node does not answer', 'unreachable', { node: name, next: 'see whether it is up' });
  }

  async change<T>(
    node: ClusterNode,
    by: Authority,
    doing: string,
    act: (machine: SimMachine) => T,
    patienceMs = CALL_PATIENCE_MS,
  ): Promise<T> {
    const changing = (machine: SimMachine): T => {
      if (by.token < machine.token) throw takenOver(node.name);
      machine.token = by.token;
      if (machine.job !== undefined && machine.job.token < by.token && doing === 'claim') endJob(machine);
      this.#world.actedBy(node.name, by.token);
      const answer = act(machine);
      if (doing !== 'end-job') this.#world.logs.push({ node: node.name, message: doing });
      return answer;
    };
    return this.call(node, doing, changing, patienceMs);
  }
}
