import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { refuseUnknownNames } from '../rollout/selection.ts';
import { withConnections } from './connect.ts';
import type { Deps } from './deps.ts';
import { noticeOn } from './notices.ts';
import type { LogsFlags } from './option-types.ts';

/** `kubeos logs NODE`: what kubeos wrote to the node's own log. */
export async function logs(deps: Deps, name: string, flags: LogsFlags): Promise<ExitCode> {
  const lines = await withConnections(deps, flags, { notice: noticeOn(deps) }, async ({ cluster, remote }) => {
    const nodes = await cluster.nodes();
    refuseUnknownNames('kubeos logs', [name], nodes);
    const node = nodes.find((one) => one.name === name);
    if (node === undefined) throw new UsageError(`the cluster has no node ${name}`);
    return remote.logTail(node, flags.lines);
  });
  for (const line of lines) deps.io.stdout.write(`${line}\n`);
  if (lines.length === 0) deps.io.stderr.write(`${name} holds no line of kubeos in its log\n`);
  return EXIT.done;
}
