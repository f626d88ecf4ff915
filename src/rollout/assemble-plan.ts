import { ConnectError, type KubeosError } from '../errors.ts';
import { isDown, resolveMaxUnavailable } from './budget.ts';
import { certainFailures } from './certain-failures.ts';
import { otherSlot, type ClusterNode, type NodeObservation } from './facts.ts';
import type { NodeGoal, RolloutRequest } from './goal.ts';
import { imageWay } from './image-way.ts';
import { noteOnServer, type Look } from './look.ts';
import { byEngine, imageOf, noteTrustedTag } from './plan-image.ts';
import { liveRunOf, notesOn } from './plan-notes.ts';
import type { Finding, Plan, PlanEntry } from './plan-types.ts';
import type { DrainForecast, LockState, MissingRight, OsResource } from './ports.ts';
import { leftOvers } from './left-overs.ts';
import { OTHER_MACHINE, UNREPORTED, type BootDoubt } from './other-machine.ts';
import { isManaged } from './managed-boot.ts';
import { preflightNode } from './preflight-node.ts';
import { judgeClock, judgeKubelet, noteClocks, noteControlPlanes } from './preflight-run.ts';
import type { ClockOffset } from './preflight-types.ts';
import { otherSlotVersion, previousVersion, type ObservedNode, type Previous } from './previous.ts';
import { findRefusals } from './refusals.ts';
import { sameMachines } from './same-machine.ts';
import { selectNodes, type Selection } from './selection.ts';
import { trustPart } from './slot-trust.ts';
import { deriveStanding, rebootAhead, type Standing } from './standing.ts';
import type { Step } from './steps.ts';
import { HIGHEST_TOKEN } from './tokens.ts';
import { inTurn } from './turns.ts';
import { relationOf } from './versions.ts';

/** Everything that a plan is made of, read beforehand. */
export interface PlanInput {
  request: RolloutRequest;
  nodes: readonly ClusterNode[];
  /** By node: what it shows of itself, or why it could not be asked. Holds every selected node. */
  observed: ReadonlyMap<string, NodeObservation | KubeosError>;
  /** By node, where its kubelet tells of another boot than SSH shows. */
  bootDoubts?: ReadonlyMap<string, BootDoubt>;
  /** By node, for those that `nodesToDrain` names. */
  forecasts: ReadonlyMap<string, DrainForecast>;
  osResources: readonly OsResource[];
  missingRights: readonly MissingRight[];
  /** The lock, where another run that is alive holds it. */
  liveLock?: LockState;
  /** Missing where no node has to fetch the image, or none could look. */
  look?: Look;
  /** The API server's clock; missing where it is not known. */
  apiClock?: ClockOffset;
}

type Facts = Pick<PlanInput, 'request' | 'nodes' | 'observed'>;

/**
 * Makes the plan: plain data, the same for the same input.
 * @throws UsageError for a selection that cannot be meant
 */
export function assemblePlan(input: PlanInput): Plan {
  const { request } = input;
  const { selection, goal, refusals } = judge(input);
  const sorted = sortNodes(input, selection, goal);
  const entries = inTurn(sorted.entries, request.canary);
  const reached = new Map(selection.selected.flatMap(({ name }) => answerOf(input, name)));
  const maxUnavailable = resolveMaxUnavailable(request.maxUnavailable, selection.addressed.length);
  return {
    operation: request.goal.operation,
    version: goal?.version ?? '',
    direction: directionOf(request, entries, goal),
    ...imageOf(request, input.look),
    addressed: selection.addressed.map(({ name }) => name),
    maxUnavailable,
    canary: request.canary,
    maxFailures: request.maxFailures,
    writeAfterDrain: request.writeAfterDrain,
    ...(request.writeRate === undefined ? {} : { writeRate: request.writeRate }),
    reinstall: request.reinstall,
    retryFailedImage: request.retryFailedImage,
    allowNoFallback: request.allowNoFallback,
    managedBoot: request.managedBoot,
    ...(request.ways === undefined ? {} : { ways: request.ways }),
    highestToken: highestToken(input, selection),
    ...liveRunOf(input.liveLock, input.nodes),
    drain: request.drain,
    entries,
    already: sorted.already,
    leftOut: selection.leftOut,
    notStarted: sorted.notStarted,
    refusals: [
      ...refusals,
      ...findRefusals({ ...input, ...sorted, selection, entries, reached, version: goal?.version }),
    ],
    notes: [
      ...notesOn(selection, entries, maxUnavailable, goal),
      ...(entries.length === 0 ? [] : noteClocks(reached, input.apiClock)),
      ...noteControlPlanes(input.nodes, entries, maxUnavailable),
      ...noteOnServer(input.look),
      ...(entries.length === 0 ? [] : noteTrustedTag(request.image)),
    ],
  };
}

/** The nodes whose drain the plan must know about. */
export const nodesToDrain = (facts: Facts): readonly string[] =>
  nodesOnTheirWay(facts, rebootAhead).map(({ name }) => name);

/** The nodes to which the image has to come. */
export const nodesToFetch = (facts: Facts): readonly ClusterNode[] =>
  facts.request.goal.operation === 'upgrade' ? nodesOnTheirWay(facts, (step) => step === 'stage') : [];

function nodesOnTheirWay(facts: Facts, wanted: (firstStep: Step) => boolean): readonly ClusterNode[] {
  const { selection, goal } = judge(facts);
  if (goal === undefined) return [];
  return selection.selected.filter((node) => {
    const seen = facts.observed.get(node.name);
    if (seen === undefined || seen instanceof Error) return false;
    const standing = deriveStanding(node, seen, goal);
    return standing.kind === 'way' && wanted(standing.firstStep);
  });
}

function answerOf({ observed }: Facts, node: string): [string, NodeObservation][] {
  const seen = observed.get(node);
  return seen === undefined || seen instanceof Error ? [] : [[node, seen]];
}

/** What every node of the plan shall become; what the plan itself says of it. */
export const goalOf = (plan: Plan): NodeGoal => ({
  operation: plan.operation,
  version: plan.version,
  sha256: plan.operation === 'upgrade' ? (plan.image?.sha256 ?? '') : '',
  ...byEngine(plan.image?.type),
  reinstall: plan.reinstall ?? false,
  retryFailedImage: plan.retryFailedImage ?? false,
  allowNoFallback: plan.allowNoFallback ?? false,
  ...(plan.ways === undefined ? {} : { ways: plan.ways }),
});

interface Judged {
  selection: Selection;
  goal?: NodeGoal;
  refusals: readonly Finding[];
}

function judge({ request, nodes, observed }: Facts): Judged {
  const selection = selectNodes(nodes, request.selection, request.goal.version);
  const reached = selection.selected.flatMap((node): ObservedNode[] => {
    const seen = observed.get(node.name);
    return seen === undefined || seen instanceof Error ? [] : [{ node, seen }];
  });
  const found = versionOf(request, reached, selection);
  if (found === undefined) return { selection, refusals: [] };
  if ('refusals' in found) return { selection, refusals: found.refusals };
  const goal: NodeGoal = {
    operation: request.goal.operation,
    version: found.version,
    sha256: request.image?.artifact.sha256 ?? '',
    ...byEngine(request.image?.type),
    reinstall: request.reinstall,
    retryFailedImage: request.retryFailedImage,
    allowNoFallback: request.allowNoFallback,
    ...(request.ways === undefined ? {} : { ways: request.ways }),
  };
  return { selection, goal, refusals: [] };
}

function versionOf(
  { goal }: RolloutRequest,
  reached: readonly ObservedNode[],
  selection: Selection,
): Previous | undefined {
  if (goal.version !== undefined) return { version: goal.version };
  // Nodes that nobody could ask say nothing of a previous version: that they cannot be reached is what counts.
  if (reached.length === 0 || selection.selected.length === 0) return undefined;
  return goal.toOtherSlot ? otherSlotVersion(reached) : previousVersion(reached);
}

interface Sorted {
  entries: PlanEntry[];
  already: Plan['already'][number][];
  notStarted: Plan['notStarted'][number][];
}

function sortNodes(input: PlanInput, selection: Selection, goal: NodeGoal | undefined): Sorted {
  const sorted: Sorted = { entries: [], already: [], notStarted: [] };
  const same = sameMachines(input.observed, input.nodes);
  for (const node of selection.selected) {
    const seen = input.observed.get(node.name);
    const unclear = same.get(node.name);
    if (unclear !== undefined) {
      sorted.notStarted.push({ node: node.name, now: node.osImage, findings: [unclear], unreachable: false });
    } else if (input.bootDoubts?.get(node.name) === 'other machine') {
      // Unreachable, since what was reached is not this node: it is left alone, the run's token included.
      sorted.notStarted.push({ node: node.name, now: node.osImage, findings: [OTHER_MACHINE], unreachable: true });
    } else if (seen === undefined || seen instanceof Error) sortUnasked(node, seen, goal, sorted);
    else if (goal !== undefined) sortAsked(input, node, seen, goal, sorted);
  }
  return sorted;
}

function sortUnasked(node: ClusterNode, error: KubeosError | undefined, goal: NodeGoal | undefined, to: Sorted): void {
  const finding = error === undefined ? { what: 'it was not asked' } : findingOf(error);
  if (node.ready && node.osImage === goal?.version && !goal.reinstall && node.record === undefined) {
    to.already.push({ node: node.name, now: node.osImage, notes: [`its slots were not looked at: ${finding.what}`] });
    return;
  }
  const unreachable = error instanceof ConnectError;
  to.notStarted.push({ node: node.name, now: node.osImage, findings: [finding], unreachable });
}

function sortAsked(input: PlanInput, node: ClusterNode, seen: NodeObservation, goal: NodeGoal, to: Sorted): void {
  const standing = deriveStanding(node, seen, goal);
  if (standing.kind === 'done') {
    to.already.push({ node: node.name, now: seen.osVersion, notes: standing.notes });
    return;
  }
  const forecast = input.forecasts.get(node.name) ?? { pods: 0, obstacles: [] };
  const preflight =
    standing.kind === 'way'
      ? preflightNode({ node, way: standing, seen, goal, request: input.request, look: input.look })
      : NO_FINDINGS;
  const findings =
    standing.kind === 'blocked'
      ? standing.findings
      : [...obstaclesTo(standing, node, forecast, input), ...preflight.errors];
  if (standing.kind === 'blocked' || findings.length > 0) {
    to.notStarted.push({ node: node.name, now: seen.osVersion, findings, unreachable: false });
    return;
  }
  const entry = {
    ...entryOf(standing, node, seen, forecast),
    ...managedPart(standing, seen, input.request),
    ...imageWay(standing, node, seen, input),
    ...trustPart(standing, seen),
  };
  const mustReboot = standing.kind === 'way' && rebootAhead(standing.firstStep);
  const warnings = [
    ...(mustReboot ? judgeKubelet(node, forecast.pods) : []),
    ...preflight.warnings,
    ...warningsOn(node, seen, input),
  ];
  to.entries.push({
    ...entry,
    notes: isAtWork(node, input) ? [] : [...entry.notes, ...leftOvers(node, seen, goal, standing)],
    ...(warnings.length === 0 ? {} : { warnings }),
  });
}

/** What a run is in the midst of was not left by an earlier one. */
const isAtWork = ({ record }: ClusterNode, { liveLock }: PlanInput): boolean =>
  record !== undefined && record.run === liveLock?.run;

const warningsOn = ({ name }: ClusterNode, seen: NodeObservation, input: PlanInput): readonly Finding[] => [
  ...(input.bootDoubts?.get(name) === 'unreported' ? [UNREPORTED] : []),
  ...judgeClock(seen, input.apiClock),
];

const NO_FINDINGS = { errors: [], warnings: [] };

function obstaclesTo(
  standing: Exclude<Standing, { kind: 'done' | 'blocked' }>,
  node: ClusterNode,
  forecast: DrainForecast,
  input: PlanInput,
): readonly Finding[] {
  if (node.name === input.request.ownNode) {
    return [
      {
        what: 'kubeos itself runs in a pod on this node, and would be evicted by its drain',
        next: `run kubeos from elsewhere, or leave the node out: --exclude ${node.name}`,
      },
    ];
  }
  if (standing.kind !== 'way' || !rebootAhead(standing.firstStep)) return [];
  return certainFailures(forecast);
}

function entryOf(
  standing: Exclude<Standing, { kind: 'done' | 'blocked' }>,
  node: ClusterNode,
  seen: NodeObservation,
  drain: DrainForecast,
): PlanEntry {
  const way = standing.kind === 'way' ? standing : undefined;
  const loses = way === undefined ? undefined : lossOf(way, seen);
  return {
    node: node.name,
    now: seen.osVersion,
    assignment: standing.assignment,
    firstStep: way?.firstStep ?? 'uncordon',
    adopt: way?.adopt ?? false,
    ...(way?.preliminary === undefined ? {} : { preliminary: way.preliminary }),
    fellBackEarlier: standing.kind === 'fell-back',
    alreadyDown: isDown(node),
    canary: false,
    ...(seen.fallback === undefined ? {} : { fallback: seen.fallback.verdict }),
    ...(loses === undefined ? {} : { loses }),
    drain,
    notes: standing.kind === 'way' ? standing.notes : [`fell back in an earlier run: ${standing.reason}`],
  };
}

const managedPart = (
  standing: Standing,
  seen: NodeObservation,
  request: RolloutRequest,
): Pick<PlanEntry, 'managedBoot'> =>
  standing.kind === 'way' && isManaged(standing, seen, request) ? { managedBoot: true } : {};

/** The system that the write destroys: none where the slot holds this very image, or nothing that boots. */
function lossOf(way: Extract<Standing, { kind: 'way' }>, seen: NodeObservation): string | undefined {
  if (way.assignment.operation !== 'upgrade' || (way.firstStep !== 'stage' && way.firstStep !== 'write')) {
    return undefined;
  }
  const slot = seen.active === undefined ? undefined : seen.slots?.[otherSlot(seen.active)];
  if (slot?.content !== 'bootable' || slot.record?.sha256 === way.assignment.sha256) return undefined;
  return slot.version;
}

function directionOf(
  request: RolloutRequest,
  entries: readonly PlanEntry[],
  goal: NodeGoal | undefined,
): Plan['direction'] {
  if (request.goal.operation === 'rollback') return 'rollback';
  const relations = new Set(entries.map(({ now }) => relationOf(now, goal?.version ?? '')));
  if (relations.has('upgrade') || relations.has('unknown')) return 'upgrade';
  if (relations.has('downgrade')) return 'downgrade';
  return relations.has('same') && request.reinstall ? 'reinstall' : 'upgrade';
}

function highestToken({ observed }: PlanInput, { selected }: Selection): number {
  const tokens = selected.map((node) => {
    const seen = observed.get(node.name);
    return [node.record?.token ?? 0, seen === undefined || seen instanceof Error ? 0 : seen.token];
  });
  return Math.max(0, ...tokens.flat().filter((token) => token <= HIGHEST_TOKEN));
}

const findingOf = (error: KubeosError): Finding => ({
  what: error.message,
  ...(error.reason === undefined ? {} : { reason: error.reason }),
  ...(error.next === undefined ? {} : { next: error.next }),
});
