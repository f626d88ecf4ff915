import { readFileSync } from 'node:fs';
import type { Display } from '../../../src/report/display.ts';
import type { NodeResult, RolloutEvent, RolloutResult } from '../../../src/rollout/events.ts';
import type { ClusterNode, NodeJournal, NodeObservation, Slot, SlotFacts } from '../../../src/rollout/facts.ts';
import type { Plan, PlanEntry } from '../../../src/rollout/plan-types.ts';
import type { DrainForecast } from '../../../src/rollout/ports.ts';
import { preflightNode } from '../../../src/rollout/preflight-node.ts';
import { judgeClock, noteControlPlanes } from '../../../src/rollout/preflight-run.ts';
import type { PreflightFacts } from '../../../src/rollout/preflight-types.ts';
import type { Way } from '../../../src/rollout/standing.ts';

export const GIB = 1024 ** 3;
export const MIB = 1024 ** 2;

export const DISPLAY: Display = { colour: false, ascii: false, columns: 80 };

/** A block of docs/screens.md, as lines: what the page promises is what the tests compare with. */
export function screen(name: string): string[] {
  const page = readFileSync(new URL('../../../docs/screens.md', import.meta.url), 'utf8');
  const block = new RegExp(`<!-- screen: ${name} -->\\n+\`\`\`\\n([^]*?)\\n\`\`\`\\n`).exec(page)?.[1];
  if (block === undefined) throw new Error(`docs/screens.md has no screen ${name}`);
  return block.split('\n');
}

export const screenNames = (): string[] =>
  [
    ...readFileSync(new URL('../../../docs/screens.md', import.meta.url), 'utf8').matchAll(/<!-- screen: (\S+) -->/g),
  ].map((match) => match[1] ?? '');

const V1 = 'KubeOS 1.0.0';
const V2 = 'KubeOS 2.0.0';
const SHA256 = '9f2c40d15a0e6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a7be841aa';
export const RUN = '20261123-120344-7f3a9c';

const noDrain = (pods: number): DrainForecast => ({ pods, obstacles: [] });

export function entry(node: string, pods: number, changes: Partial<PlanEntry> = {}): PlanEntry {
  return {
    node,
    now: V1,
    assignment: { operation: 'upgrade', version: V2, replaced: V1, from: 'A', target: 'B', sha256: SHA256 },
    firstStep: 'stage',
    adopt: false,
    fellBackEarlier: false,
    alreadyDown: false,
    canary: false,
    drain: noDrain(pods),
    notes: [],
    ...changes,
  };
}

export function plan(changes: Partial<Plan> = {}): Plan {
  const entries = changes.entries ?? [entry('worker-1', 7, { canary: true })];
  return {
    operation: 'upgrade',
    version: V2,
    direction: 'upgrade',
    image: { type: 'disk', shownUrl: 'https://10.0.0.5/update.img', sha256: SHA256 },
    addressed: entries.map((one) => one.node),
    maxUnavailable: 2,
    canary: 1,
    maxFailures: 1,
    writeAfterDrain: false,
    drain: {
      timeoutMs: 600_000,
      gracePeriodSeconds: -1,
      force: false,
      deleteEmptyDirData: false,
      disableEviction: false,
    },
    already: [],
    leftOut: [],
    notStarted: [],
    refusals: [],
    notes: [],
    ...changes,
    entries,
  };
}

/** The plan that docs/screens.md shows for what preflight finds. */
export function preflightPlan(): Plan {
  const clock = (ms: number): Pick<PlanEntry, 'warnings'> => {
    const offset = { atLeastMs: ms - 500, atMostMs: ms + 500 };
    const api = { atLeastMs: -500, atMostMs: 500 };
    return { warnings: judgeClock(observedWith({ clock: offset }), api) };
  };
  const entries = [
    entry('cp-1', 9, { canary: true, ...clock(600_000) }),
    entry('worker-1', 7, {
      ...clock(-121_000),
      notes: ['slot B was written to and never verified: it is written anew'],
    }),
  ];
  const readOnly = observedWith({ persistReadOnly: true });
  const way: Way = { kind: 'way', firstStep: 'stage', assignment: entries[0]!.assignment, adopt: false, notes: [] };
  const goal = {
    operation: 'upgrade' as const,
    version: V2,
    sha256: SHA256,
    reinstall: false,
    retryFailedImage: false,
    allowNoFallback: false,
  };
  const { errors } = preflightNode({
    node: { name: 'worker-2' },
    way,
    seen: readOnly,
    goal,
    request: { managedBoot: false },
  });
  return plan({
    entries,
    image: { ...plan().image!, seen: { from: 'cp-1', sizeBytes: 2 * GIB, ranges: true, content: 'ext4' } },
    notStarted: ['worker-2', 'worker-3'].map((node) => ({ node, now: V1, findings: errors, unreachable: false })),
    notes: noteControlPlanes(
      ['cp-1', 'worker-1'].map((name) => ({ ...clusterNode(name), controlPlane: name === 'cp-1' })),
      entries,
      2,
    ),
  });
}

function observedWith(change: Partial<PreflightFacts>): NodeObservation {
  return {
    ...observation('A', V1, V1),
    preflight: { persistReadOnly: false, partBytes: 0, tools: [], certificateProblems: [], ...change },
  };
}

/** A drain that meets the same budget with each of these pods. */
const waitsForDb = (pods: number, held: readonly string[]): DrainForecast => ({
  pods,
  obstacles: held.map((pod) => ({
    kind: 'budget-now',
    verdict: 'waits',
    pod: `shop/${pod}`,
    owner: 'StatefulSet shop/db',
    budget: 'shop/db',
    message: 'budget shop/db allows no eviction now: 3 of its 4 pods healthy, 3 needed',
    remedy: 'it is waited for (--drain-timeout)',
  })),
});

/** The plan that docs/screens.md opens with. */
export function samplePlan(): Plan {
  const loses = 'KubeOS 0.9.1';
  const toA = { operation: 'upgrade', version: V2, replaced: V1, from: 'B', target: 'A', sha256: SHA256 } as const;
  return plan({
    entries: [
      entry('worker-1', 7, { canary: true, loses }),
      entry('worker-2', 5, { loses, drain: waitsForDb(5, ['db-0']) }),
      entry('worker-3', 4, { assignment: toA, loses, drain: waitsForDb(4, ['db-1', 'db-3']) }),
      entry('worker-4', 6, { firstStep: 'drain' }),
    ],
    already: [{ node: 'worker-5', now: V2, notes: [] }],
    leftOut: [{ node: 'cp-1', because: 'control plane; --include-control-plane' }],
    notStarted: [
      {
        node: 'worker-6',
        now: V1,
        unreachable: true,
        findings: [
          {
            what: '10.1.0.16:22 does not answer',
            reason: 'no answer within 10s',
            next: "look at the node's console, or leave it out: --exclude worker-6",
          },
        ],
      },
    ],
  });
}

export function rollbackPlan(): Plan {
  const assignment = {
    operation: 'rollback',
    version: V1,
    replaced: V2,
    from: 'B',
    target: 'A',
    sha256: '',
  } as const;
  const trust = { basis: 'recorded digest', verifiedAt: '2026-11-20T09:30:00.000Z' } as const;
  const common = { now: V2, assignment, firstStep: 'verify', trust } as const;
  const imageless: Partial<Plan> = plan();
  delete imageless.image;
  return {
    ...(imageless as Plan),
    operation: 'rollback',
    direction: 'rollback',
    version: V1,
    maxUnavailable: 1,
    entries: [entry('worker-1', 7, { ...common, canary: true }), entry('worker-2', 5, common)],
    already: ['worker-3', 'worker-4'].map((node) => ({ node, now: V1, notes: [] })),
  };
}

export function nodeResult(
  node: string,
  outcome: NodeResult['outcome'],
  changes: Partial<NodeResult> = {},
): NodeResult {
  return { node, outcome, from: V1, logTail: [], tookMs: 0, unreachable: false, ...changes };
}

export const upgraded = (node: string, tookMs: number, unavailableMs: number): NodeResult =>
  nodeResult(node, 'upgraded', { now: V2, slot: 'B', tookMs, unavailableMs });

export function rolloutResult(results: readonly NodeResult[], changes: Partial<RolloutResult> = {}): RolloutResult {
  return { run: RUN, operation: 'upgrade', version: V2, exitCode: 0, results, tookMs: 0, ...changes };
}

/** Noon of the examples' day, UTC. */
export const at = (time: string): number => Date.parse(`2026-11-23T${time}Z`);

/** The same events for every report; `time` is HH:MM:SS of that day, in UTC. */
export function event<Type extends RolloutEvent['type']>(
  time: string,
  type: Type,
  fields: Omit<Extract<RolloutEvent, { type: Type }>, 'at' | 'type'>,
): RolloutEvent {
  return { at: at(time), type, ...fields } as unknown as RolloutEvent;
}

export function clusterNode(name: string, changes: Partial<ClusterNode> = {}): ClusterNode {
  return {
    name,
    uid: `uid-${name}`,
    addresses: [],
    labels: {},
    controlPlane: false,
    ready: true,
    cordoned: false,
    osImage: V1,
    kernelVersion: '5.10.0-216',
    architecture: 'amd64',
    bootId: 'boot-1',
    operatorUpgrading: false,
    ...changes,
  };
}

export function slotFacts(slot: Slot, version: string, changes: Partial<SlotFacts> = {}): SlotFacts {
  return {
    device: slot === 'A' ? '/dev/vda2' : '/dev/vda3',
    sizeBytes: 2 * GIB,
    fsType: 'ext4',
    label: `ROOT-${slot}`,
    version,
    content: 'bootable',
    recordHolds: false,
    failedTrial: false,
    ...changes,
  };
}

export function observation(
  active: Slot,
  inA: string,
  inB: string,
  changes: Partial<NodeObservation> = {},
): NodeObservation {
  return {
    bootId: 'boot-1',
    osVersion: active === 'A' ? inA : inB,
    kernelVersion: '5.10.0-216',
    architecture: 'x86_64',
    firmware: 'bios',
    active,
    slots: { A: slotFacts('A', inA), B: slotFacts('B', inB) },
    bootEnv: { path: '/boot/grub2/grubenv', saved: active },
    token: 3,
    freeBytes: 10 * GIB,
    hasCurl: true,
    ...changes,
  };
}

export function journal(changes: Partial<NodeJournal> = {}): NodeJournal {
  return {
    run: RUN,
    token: 3,
    operation: 'upgrade',
    version: V2,
    replaced: V1,
    sha256: SHA256,
    from: 'A',
    target: 'B',
    phase: 'committed',
    armedBootId: 'boot-0',
    reason: '',
    updatedAt: at('12:20:00') / 1000,
    ...changes,
  };
}
