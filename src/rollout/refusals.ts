import type { RolloutRequest } from './goal.ts';
import { refuseImage, type Look } from './look.ts';
import type { Finding, Plan, PlanEntry } from './plan-types.ts';
import type { MissingRight, OsResource } from './ports.ts';
import { refuseArchitectures, refuseStrictly } from './preflight-run.ts';
import type { NodeObservation } from './facts.ts';
import { emptySelection, type Selection } from './selection.ts';
import { rebootAhead } from './standing.ts';
import { majorOf } from './versions.ts';

interface Input {
  request: RolloutRequest;
  selection: Selection;
  entries: readonly PlanEntry[];
  notStarted: Plan['notStarted'];
  /** The selected nodes that answered. */
  reached: ReadonlyMap<string, NodeObservation>;
  look?: Look;
  version: string | undefined;
  osResources: readonly OsResource[];
  missingRights: readonly MissingRight[];
}

/** What refuses the whole run, before anything is changed. */
export function findRefusals(input: Input): readonly Finding[] {
  const empty = emptySelection(input.selection);
  return [
    ...(empty === undefined ? [] : [empty]),
    ...(input.missingRights.length === 0 ? [] : [missingRightsFinding(input.missingRights)]),
    ...refuseOperator(input),
    ...refuseMajor(input),
    ...refuseImage(input.look),
    ...refuseArchitectures(input.entries, input.reached),
    ...refuseStrictly(input.entries, input.notStarted, input.request.strict === true),
  ];
}

/** What the cluster does not allow. */
export function missingRightsFinding(missing: readonly MissingRight[]): Finding {
  const named = missing.map(({ verb, resource, namespace, reason }) => {
    const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
    return `${verb} ${resource}${where}${reason === undefined || reason === '' ? '' : `: ${reason}`}`;
  });
  return {
    what: 'the cluster does not allow what this command needs',
    reason: named.join('\n'),
    next: 'grant these rights to the user of this kubeconfig; examples/rbac.yaml holds the least role',
  };
}

/** KubeOS's own operator would bring the nodes back to its own version: two writers never share a node. */
function refuseOperator({ osResources, selection, version }: Input): readonly Finding[] {
  const findings: Finding[] = [];
  const others = osResources.filter((os) => version !== undefined && os.osversion !== version);
  if (others.length > 0) {
    const named = others.map((os) => `${os.name}: opstype ${os.opstype}, osversion ${os.osversion}`);
    findings.push({
      what: "KubeOS's operator is told to keep another version: it would turn the nodes back",
      reason: named.join('\n'),
      next: others.map((os) => `kubectl delete os ${os.name.split('/').reverse().join(' -n ')}`).join('\n'),
    });
  }
  const busy = selection.addressed.filter((node) => node.operatorUpgrading).map(({ name }) => name);
  if (busy.length > 0) {
    findings.push({
      what: "KubeOS's operator is at work (label upgrade.openeuler.org/upgrading)",
      reason: busy.join(', '),
      next:
        'let it finish; where it is no longer installed, take its label off:\n' +
        `kubectl label node ${busy.join(' ')} upgrade.openeuler.org/upgrading-`,
    });
  }
  return findings;
}

/** KubeOS does not support an upgrade across a major version; going back to where a node came from always is. */
function refuseMajor({ request, entries, version }: Input): readonly Finding[] {
  const toPrevious = request.goal.version === undefined && !request.goal.toOtherSlot;
  if (request.allowMajor || toPrevious || version === undefined) return [];
  const to = majorOf(version);
  const crossing = entries.filter(({ now, firstStep }) => {
    const from = majorOf(now);
    return rebootAhead(firstStep) && from !== undefined && to !== undefined && from !== to;
  });
  if (crossing.length === 0) return [];
  return [
    {
      what: `${version} is another major version: KubeOS does not support crossing it`,
      reason: crossing.map(({ node, now }) => `${node} runs ${now}`).join('\n'),
      next: 'go by a version of the same major, or insist: --allow-major',
    },
  ];
}
