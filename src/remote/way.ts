import type { Duplex } from 'node:stream';
import { ConnectError } from '../errors.ts';
import type { Connection } from './connection.ts';
import { ClosedEarlyError } from './dial-errors.ts';
import { ProxyStream } from './proxy-command.ts';
import type { RemoteSettings } from './settings.ts';
import type { Target } from './target.ts';

/**
 * Opens what a connection to the target is carried over: a channel of the jump host, or its ProxyCommand. Undefined for
 * a TCP connection of its own.
 */
export async function openWay(
  target: Target,
  jump: Connection | undefined,
  environment: RemoteSettings['environment'],
  timeoutMs: number,
): Promise<Duplex | undefined> {
  if (jump !== undefined) return jump.forward(target, timeoutMs);
  return target.route.kind === 'command' ? new ProxyStream(target.route.command, environment) : undefined;
}

/** Closes the way of a connection that could not be made, and throws why: in the ProxyCommand's words, if it failed. */
export async function wayFailed(error: unknown, way: Duplex | undefined, target: Target): Promise<never> {
  way?.destroy();
  if (!(way instanceof ProxyStream) || !(error instanceof ConnectError)) throw error;
  if (error.failure !== 'unreachable' && error.failure !== 'timeout') throw error;
  await way.settled();
  const { reason, notRun } = way.ending();
  const next = notRun
    ? 'mend ProxyCommand in ssh_config, or install what it calls'
    : 'try the same with ssh itself; a ProxyCommand has no terminal here, so what it signs in with must be at hand (an agent)';
  if (error.failure === 'timeout') {
    throw new ConnectError(error.message, 'timeout', {
      ...place(target),
      reason: `${error.reason ?? ''}\n${reason}`,
      next,
    });
  }
  if (notRun) throw new ConnectError(error.message, 'unreachable', { ...place(target), reason, next });
  throw new ClosedEarlyError(target, { phase: 'connect' }, reason, next);
}

function place({ node }: Target): { node?: string } {
  return node === undefined ? {} : { node };
}
