import type { ClusterNode, NodeObservation } from './facts.ts';
import type { Finding, Plan, PlanEntry } from './plan-types.ts';
import type { ClockOffset } from './preflight-types.ts';
import { rebootAhead } from './standing.ts';
import { formatDuration } from './units.ts';

/** More than this between two clocks is told. */
const SKEW_MS = 30_000;

const NEXT_CLOCK =
  'let time synchronisation set it (chronyc makestep): certificates are judged by it, and logs do not fit together';

/** How far a clock is ahead (or, negative, behind) for certain; 0 where it may be right. */
function skewOf(clock: ClockOffset, reference: ClockOffset): number {
  const atLeast = clock.atLeastMs - reference.atMostMs;
  const atMost = clock.atMostMs - reference.atLeastMs;
  if (atLeast > SKEW_MS) return atLeast;
  return atMost < -SKEW_MS ? atMost : 0;
}

const THIS_MACHINE: ClockOffset = { atLeastMs: 0, atMostMs: 0 };

const sayOff = (ms: number): string => `at least ${formatDuration(Math.abs(ms))} ${ms > 0 ? 'ahead' : 'behind'}`;

/** What is wrong with one node's clock: held against the API server's, else against this machine's. */
export function judgeClock(seen: NodeObservation, api: ClockOffset | undefined): readonly Finding[] {
  const clock = seen.preflight?.clock;
  const off = clock === undefined ? 0 : skewOf(clock, api ?? THIS_MACHINE);
  if (off === 0) return [];
  const whose = api === undefined ? "this machine's" : "the API server's";
  return [
    { what: `its clock differs by more than 30s from ${whose}`, reason: `it is ${sayOff(off)}`, next: NEXT_CLOCK },
  ];
}

/**
 * What the reader should know of a node that must be rebooted and is not Ready: nobody ends the pods that are evicted from
 * it where its kubelet is silent (an evicted pod is deleted only once the kubelet has ended it).
 * @param pods how many its drain will evict
 */
export function judgeKubelet(node: ClusterNode, pods: number): readonly Finding[] {
  if (node.ready) return [];
  const reason = node.notReadyBecause === undefined ? {} : { reason: node.notReadyBecause };
  const isSilent = node.kubeletSilent === true;
  if (!isSilent || pods === 0) {
    const what = isSilent ? 'its kubelet is silent' : 'it is not Ready';
    const next = 'nothing: it goes first; unless it is Ready after its trial boot, it is sent back (--health-timeout)';
    return [{ what, ...reason, next }];
  }
  const ended = pods === 1 ? 'the pod that its drain evicts' : `the ${pods} pods that its drain evicts`;
  return [
    {
      what: `its kubelet is silent, so that nobody ends ${ended}`,
      ...reason,
      next: 'start its kubelet first (systemctl restart kubelet), else its drain may wait in vain (--drain-timeout)',
    },
  ];
}

/** What is wrong with clocks that no single node can be blamed for. */
export function noteClocks(
  observed: ReadonlyMap<string, NodeObservation>,
  api: ClockOffset | undefined,
): readonly Finding[] {
  const findings: Finding[] = [];
  const off = api === undefined ? 0 : skewOf(THIS_MACHINE, api);
  if (off !== 0) {
    findings.push({
      what: "this machine's clock differs by more than 30s from the API server's",
      reason: `it is ${sayOff(off)}`,
      next: 'let time synchronisation set it; the lock and all waits go without comparing clocks',
    });
  }
  const right = [...observed].flatMap(([node, seen]) => {
    const clock = seen.preflight?.clock;
    return clock === undefined || judgeClock(seen, api).length > 0 ? [] : [{ node, clock }];
  });
  const first = right.reduce((a, b) => (b.clock.atMostMs < a.clock.atMostMs ? b : a), right[0] ?? NOBODY);
  const last = right.reduce((a, b) => (b.clock.atLeastMs > a.clock.atLeastMs ? b : a), right[0] ?? NOBODY);
  const apart = last.clock.atLeastMs - first.clock.atMostMs;
  if (apart > SKEW_MS) {
    findings.push({
      what: `the clocks of ${first.node} and ${last.node} are at least ${formatDuration(apart)} apart`,
      next: NEXT_CLOCK,
    });
  }
  return findings;
}

const NOBODY = { node: '', clock: THIS_MACHINE };

/** One image has one architecture, and which one shows only in the slot: so it is not written to machines of two. */
export function refuseArchitectures(
  entries: readonly PlanEntry[],
  observed: ReadonlyMap<string, NodeObservation>,
): readonly Finding[] {
  const byMachine = new Map<string, string[]>();
  for (const { node, assignment, firstStep } of entries) {
    const writes = assignment.operation === 'upgrade' && (firstStep === 'stage' || firstStep === 'write');
    const architecture = observed.get(node)?.architecture ?? '';
    if (!writes || architecture === '') continue;
    byMachine.set(architecture, [...(byMachine.get(architecture) ?? []), node]);
  }
  if (byMachine.size < 2) return [];
  return [
    {
      what: `the nodes are of ${byMachine.size} architectures, and an image fits one`,
      reason: [...byMachine].map(([architecture, nodes]) => `${architecture}: ${nodes.join(', ')}`).join('\n'),
      next: "take those that the image is made for: --nodes, or -l 'kubernetes.io/arch=ARCH'",
    },
  ];
}

/** Control planes whose reboot takes the API away, which the run then waits for. */
export function noteControlPlanes(
  nodes: readonly ClusterNode[],
  entries: readonly PlanEntry[],
  maxUnavailable: number,
): readonly Finding[] {
  const all = nodes.filter(({ controlPlane }) => controlPlane);
  const rebooted = entries.filter(
    ({ node, firstStep }) => rebootAhead(firstStep) && all.some(({ name }) => name === node),
  );
  const [one] = rebooted;
  if (one === undefined) return [];
  const alone = nodes.length === 1 ? 'the only node' : 'the only control plane';
  if (all.length === 1) {
    return [
      {
        what: `${one.node} is ${alone}: the cluster's API is away while it reboots`,
        ...(nodes.length === 1 ? { reason: 'what is evicted from it has nowhere else to run until it is back' } : {}),
        next: 'nothing: the run waits for it (--reboot-timeout, --health-timeout)',
      },
    ];
  }
  return quorum(all.length, Math.min(maxUnavailable, rebooted.length));
}

/** etcd needs more than half of its members (etcd's FAQ, failure tolerance); they run on the control planes as a rule. */
function quorum(members: number, atOnce: number): readonly Finding[] {
  const tolerated = Math.floor((members - 1) / 2);
  if (atOnce <= tolerated) return [];
  return [
    {
      what: `${atOnce} of the ${members} control planes may be down at once: the cluster's API is away meanwhile`,
      reason: `an etcd of ${members} members works with ${members - tolerated} at least`,
      next: tolerated > 0 ? `--maxunavailable ${tolerated}` : 'nothing: the run waits for each (--reboot-timeout)',
    },
  ];
}

/** `--strict`: one node that cannot be started refuses all. */
export function refuseStrictly(
  entries: readonly PlanEntry[],
  notStarted: Plan['notStarted'],
  strict: boolean,
): readonly Finding[] {
  if (!strict || entries.length === 0 || notStarted.length === 0) return [];
  const nodes = notStarted.map(({ node }) => node);
  return [
    {
      what: `${nodes.length === 1 ? 'a node' : `${nodes.length} nodes`} cannot be started (--strict)`,
      reason: nodes.join(', '),
      next: 'mend what is said of them below, leave them out (--exclude), or leave out --strict',
    },
  ];
}
