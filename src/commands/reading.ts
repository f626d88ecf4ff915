import { createReport, displayOptions } from '../report/index.ts';
import { withConnections, type Connections } from './connect.ts';
import type { Deps } from './deps.ts';
import { shownBy } from './given-command.ts';
import { noticeOn } from './notices.ts';
import type { ClusterFlags, DisplayFlags, SshFlags } from './option-types.ts';

/**
 * Runs a task that only reads, with the cluster and the nodes at hand. On a terminal it is said that something goes on,
 * since a node that does not answer takes its time; elsewhere only notices are.
 */
export async function withReading<T>(
  deps: Deps,
  flags: ClusterFlags & SshFlags & DisplayFlags,
  task: (connections: Connections) => Promise<T>,
): Promise<T> {
  const { colour, ascii, mode } = displayOptions(deps.io.env, deps.io.stderr, shownBy(flags));
  if (mode !== 'terminal') return withConnections(deps, flags, { notice: noticeOn(deps) }, task);
  const progress = await createReport({ stream: deps.io.stderr, clock: deps.clock, colour, ascii, mode });
  const notice = (message: string, node?: string): void =>
    progress.event({ at: deps.clock.now(), type: 'notice', message, ...(node === undefined ? {} : { node }) });
  const paused = <Answer>(ask: () => Promise<Answer>): Promise<Answer> => progress.paused(ask);
  try {
    return await withConnections(deps, flags, { notice, paused }, (connections) => {
      // Not before now: until here kubectl may have asked for a login.
      progress.activity('reading the cluster and its nodes');
      return task(connections);
    });
  } finally {
    progress.stop();
  }
}
