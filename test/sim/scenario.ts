import { expect } from 'vitest';
import type { RolloutEvent, RolloutResult } from '../../src/rollout/events.ts';
import { gatherPlan } from '../../src/rollout/gather.ts';
import type { RolloutRequest } from '../../src/rollout/goal.ts';
import type { Plan } from '../../src/rollout/plan-types.ts';
import { carryOut } from '../../src/rollout/use-cases.ts';
import type { Outcome } from '../../src/rollout/steps.ts';
import { SimClient } from './client.ts';
import { SimCluster } from './sim-cluster.ts';
import { SimRemote } from './sim-remote.ts';
import { ARTIFACT, DRAIN, type SimWorld } from './world.ts';

/** One command given, with whatever happens to it. */
export interface Command {
  request?: Partial<RolloutRequest>;
  /** Called at every breath of the run. */
  onBreath?: (client: SimClient, count: number, doing: string, stop: Stop) => void;
  /** Called while the plan is read, before the lock is taken. */
  onShown?: () => void;
  rebootTimeoutMs?: number;
  healthTimeoutMs?: number;
  deadManMs?: number;
  budgetWaitMs?: number;
  /** --lock-wait */
  lockWaitMs?: number;
}

export interface Stop {
  graceful: AbortController;
  hard: AbortController;
}

export interface Ran {
  client: SimClient;
  events: RolloutEvent[];
  plan: Plan | undefined;
  result: RolloutResult | undefined;
  error: unknown;
  /** Killed before it ended. */
  killed: boolean;
}

export const UPGRADE: RolloutRequest = {
  goal: { operation: 'upgrade', version: 'KubeOS 2.0.0', toOtherSlot: false },
  image: { type: 'disk', artifact: ARTIFACT, shownUrl: ARTIFACT.url },
  selection: { includeControlPlane: false },
  maxUnavailable: { kind: 'count', count: 1 },
  canary: 1,
  maxFailures: 1,
  writeAfterDrain: false,
  drain: DRAIN,
  allowMajor: true,
  reinstall: false,
  retryFailedImage: false,
  allowNoFallback: false,
  managedBoot: false,
  rights: 'rollout',
};

/** `rollback --to-previous`, as a change of the upgrade's request. */
export const TO_PREVIOUS: Partial<RolloutRequest> = { goal: { operation: 'rollback', toOtherSlot: false } };

/** Gives one command and lets time pass until it has ended, or was killed. */
export async function give(world: SimWorld, command: Command = {}): Promise<Ran> {
  const started = start(world, command);
  return world.clock.run(started);
}

/** Gives one command without waiting: for two at once. */
export async function start(world: SimWorld, command: Command = {}, name = 'run'): Promise<Ran> {
  const client = new SimClient(world, name);
  const stop = { graceful: new AbortController(), hard: new AbortController() };
  const ran: Ran = { client, events: [], plan: undefined, result: undefined, error: undefined, killed: false };
  const request = { ...UPGRADE, ...command.request };
  world.budget = { ...world.budget, maxUnavailable: count(request) };
  const killed = new Promise<void>((resolve) => {
    client.onBreath = (breath, doing) => {
      command.onBreath?.(client, breath, doing, stop);
      if (client.dead) resolve();
    };
  });
  const done = work(client, request, command, stop, ran);
  await Promise.race([done, killed]);
  ran.killed = client.dead;
  // The process is over, one way or the other.
  client.kill();
  if (!ran.killed) expect(world.broken).toEqual([]);
  return ran;
}

async function work(client: SimClient, request: RolloutRequest, command: Command, stop: Stop, ran: Ran): Promise<void> {
  const ports = {
    cluster: new SimCluster(client),
    remote: new SimRemote(client),
    clock: client.clock,
    report: { event: (event: RolloutEvent) => void ran.events.push(event) },
  };
  const options = {
    run: `${client.name}-${client.world.clock.now()}`,
    budgetWaitMs: command.budgetWaitMs ?? 600_000,
    rebootTimeoutMs: command.rebootTimeoutMs ?? 900_000,
    healthTimeoutMs: command.healthTimeoutMs ?? 600_000,
    deadManMs: command.deadManMs ?? 900_000,
    ...(request.goal.operation === 'upgrade' && request.image !== undefined
      ? { artifact: request.image.artifact }
      : {}),
  };
  try {
    const plan = await gatherPlan(ports, request);
    ran.plan = plan;
    const signals = { graceful: stop.graceful.signal, hard: stop.hard.signal };
    command.onShown?.();
    const replan = (): Promise<Plan> => gatherPlan(ports, request, undefined, plan);
    const { lockWaitMs: waitMs } = command;
    const holder = { holder: client.name, ...(waitMs === undefined ? {} : { waitMs }) };
    ran.result = await carryOut(ports, { plan, replan }, holder, options, signals);
  } catch (error) {
    ran.error = error;
  }
}

const count = ({ maxUnavailable }: RolloutRequest): number =>
  maxUnavailable.kind === 'count' ? maxUnavailable.count : Infinity;

/** The outcomes by node. */
export function outcomes({ result, error }: Ran): Record<string, Outcome> {
  if (result === undefined) throw error instanceof Error ? error : new Error('the run has no result');
  return Object.fromEntries(result.results.map(({ node, outcome }) => [node, outcome]));
}

/** Every node runs the version in a permanent slot, is in service, and carries nothing of ours. */
export function expectAllAt(world: SimWorld, version: string, names: Iterable<string> = world.nodes.keys()): void {
  for (const name of names) expectAt(world, name, version);
}

export function expectAt(world: SimWorld, name: string, version: string): void {
  const { machine, ready, cordoned, cordonedBy, osImage, record } = world.node(name);
  const state = {
    version: machine.running.version,
    permanent: machine.permanent,
    next: machine.env.next,
    osImage,
    ready,
    cordonedByUs: cordoned && cordonedBy === 'a run',
    record,
  };
  expect(state, name).toEqual({
    version,
    permanent: machine.active,
    next: undefined,
    osImage: version,
    ready: true,
    cordonedByUs: false,
    record: undefined,
  });
}
