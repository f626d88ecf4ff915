import { EXIT, type ExitCode } from '../exit-codes.ts';
import { displayOptions, formatData, renderStatus, statusReport, statusToJson } from '../report/index.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import { observeAll } from '../rollout/gather.ts';
import { parseLabelSelector } from '../rollout/label-selector.ts';
import type { Cluster, Remote } from '../rollout/ports.ts';
import { isKubeOS, refuseUnknownNames } from '../rollout/selection.ts';
import type { Deps } from './deps.ts';
import { clusterWords, shownBy } from './given-command.ts';
import type { StatusFlags } from './option-types.ts';
import { withReading } from './reading.ts';

/** `kubeos status`: every node, and what a run does or left behind. Changes nothing; exit 0 once shown. */
export async function status(deps: Deps, flags: StatusFlags): Promise<ExitCode> {
  const report = await withReading(deps, flags, ({ cluster, remote }) => readStatus(deps, flags, cluster, remote));
  if (flags.output === 'json' || flags.output === 'yaml') {
    deps.io.stdout.write(await formatData(statusToJson(report), flags.output, clusterWords(flags)));
    return EXIT.done;
  }
  const display = displayOptions(deps.io.env, deps.io.stdout, shownBy(flags));
  const lines = renderStatus(report, display, { wide: flags.output === 'wide', ssh: flags.ssh });
  deps.io.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.done;
}

async function readStatus(
  deps: Deps,
  flags: StatusFlags,
  cluster: Cluster,
  remote: Remote,
): Promise<ReturnType<typeof statusReport>> {
  const [all, lock] = await Promise.all([cluster.nodes(), cluster.lockState()]);
  const nodes = wanted(all, flags);
  const observations = flags.ssh
    ? await observeAll(
        remote,
        nodes.filter((node) => isKubeOS(node)),
      )
    : new Map();
  return statusReport(nodes, observations, lock, deps.clock.now());
}

function wanted(nodes: readonly ClusterNode[], flags: StatusFlags): readonly ClusterNode[] {
  refuseUnknownNames('--nodes', flags.nodes, nodes);
  refuseUnknownNames('--exclude', flags.exclude, nodes);
  const matches = parseLabelSelector(flags.selector ?? '');
  return nodes.filter(
    (node) =>
      matches(node.labels) && flags.exclude?.includes(node.name) !== true && flags.nodes?.includes(node.name) !== false,
  );
}
