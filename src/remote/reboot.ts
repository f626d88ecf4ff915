import { ConnectError } from '../errors.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Authority, Clock } from '../rollout/ports.ts';
import { bootReport } from './await-boot.ts';
import { isPassing, type NodeCalls } from './node-calls.ts';
import type { Patience } from './settings.ts';

export interface RebootTools {
  calls: NodeCalls;
  clock: Clock;
  patience: Patience;
  notice: (message: string, node?: string) => void;
}

const RETRY_MS = 1000;

/**
 * Orders a reboot. Where the connection breaks before the node has answered, the boot id tells whether the order got
 * through; a node that stays away meanwhile most likely took it, and the wait for its boot judges.
 */
export async function orderReboot(
  tools: RebootTools,
  node: ClusterNode,
  by: Authority,
  purpose: 'trial' | 'send-back',
): Promise<void> {
  const { bootId } = await bootReport(tools.calls, node, { patienceMs: tools.patience.callMs });
  const begun = tools.clock.now();
  let sent = false;
  for (;;) {
    try {
      if (sent && (await bootReport(tools.calls, node)).bootId !== bootId) return;
      sent = true;
      const options = { step: 'reboot', patienceMs: 0 };
      await tools.calls.call(node, 'reboot', { run: by.run, token: by.token, purpose }, options);
      return;
    } catch (error) {
      if (!(error instanceof ConnectError) || !isPassing(error)) throw error;
      if (tools.clock.now() - begun >= tools.patience.rebootMs) {
        tools.notice('the order to reboot was sent, but its answer was lost with the connection', node.name);
        return;
      }
    }
    await tools.clock.sleep(RETRY_MS);
  }
}
