import * as z from 'zod';
import { ConnectError, KubeosError, type ConnectFailure } from '../errors.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { BootReport, Clock } from '../rollout/ports.ts';
import { readAnswers, slotName } from './answers.ts';
import type { NodeCalls } from './node-calls.ts';

export interface BootTools {
  calls: NodeCalls;
  clock: Clock;
  notice: (message: string, node?: string) => void;
}

// A node that is down often answers with silence, so attempts are short, and follow each other quickly.
const ATTEMPT_MS = 10_000;
const WAIT_MS = [500, 500, 500, 500, 1000, 1500, 2000, 3000];

const reportSchema = z.object({ boot_id: z.string(), active: slotName, version: z.string().default('') });

/** What the node says of its present boot. `patienceMs` as in `CallOptions`. */
export async function bootReport(
  calls: NodeCalls,
  node: ClusterNode,
  options: { signal?: AbortSignal; asking?: AbortSignal; timeoutMs?: number; patienceMs?: number } = {},
): Promise<BootReport> {
  const timeoutMs = options.timeoutMs ?? ATTEMPT_MS;
  const answers = await calls.call(
    node,
    'boot-report',
    {},
    {
      timeoutMs,
      readyTimeoutMs: timeoutMs,
      patienceMs: options.patienceMs ?? 0,
      ...(options.signal !== undefined && { signal: options.signal }),
      ...(options.asking !== undefined && { asking: options.asking }),
    },
  );
  const report = readAnswers(answers, reportSchema, 'boot-report', node.name);
  return { bootId: report.boot_id, active: report.active, osVersion: report.version };
}

/** The longest time that a timer of Node.js takes. */
const LONGEST_MS = 2 ** 31 - 1;

/**
 * Waits until the node answers with another boot id than `previousBootId`; undefined once `timeoutMs` (0: never) is
 * over. Every failure is part of the wait. Those that waiting alone does not mend, a changed host key or a refused
 * login, are told at once: people can mend them meanwhile, and known_hosts is read anew each time. A question that nobody
 * answers is withdrawn when the time is over.
 * @throws KubeosError such a failure, or what the node refuses to answer for, where it still stood at the end
 */
export async function awaitBoot(
  tools: BootTools,
  node: ClusterNode,
  previousBootId: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<BootReport | undefined> {
  const asking = new AbortController();
  // People answer in the time of this machine, whatever clock the wait goes by.
  const timer = setTimeout(
    () => asking.abort(unanswered()),
    timeoutMs === 0 ? LONGEST_MS : Math.min(timeoutMs, LONGEST_MS),
  );
  try {
    return await watchForBoot(tools, node, previousBootId, { timeoutMs, signal, asking: asking.signal });
  } finally {
    clearTimeout(timer);
  }
}

async function watchForBoot(
  tools: BootTools,
  node: ClusterNode,
  previousBootId: string,
  { timeoutMs, signal, asking }: { timeoutMs: number; signal: AbortSignal; asking: AbortSignal },
): Promise<BootReport | undefined> {
  const begun = tools.clock.now();
  const left = () => (timeoutMs === 0 ? Infinity : begun + timeoutMs - tools.clock.now());
  const told = new Set<string>();
  let last = 'it still runs the boot from before';
  let standing: KubeosError | undefined;
  for (let attempt = 0; left() > 0; attempt++) {
    signal.throwIfAborted();
    try {
      const report = await bootReport(tools.calls, node, {
        signal,
        asking,
        timeoutMs: Math.min(ATTEMPT_MS, Math.max(left(), 100)),
      });
      if (report.bootId !== previousBootId) return report;
      last = 'it still runs the boot from before';
      standing = undefined;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof KubeosError)) throw error;
      last = describe(error);
      standing = mayStand(error) ? error : undefined;
      if (needsHands(error) && !told.has(error.message)) {
        told.add(error.message);
        tools.notice(`it is back, but: ${last}\n${error.next ?? ''}`.trimEnd(), node.name);
      }
    }
    const pause = WAIT_MS[Math.min(attempt, WAIT_MS.length - 1)] ?? 1000;
    await tools.clock.sleep(Math.max(0, Math.min(pause, left())), signal);
  }
  if (standing !== undefined) throw standing;
  tools.notice(`no new boot seen; last: ${last}`, node.name);
  return undefined;
}

const HANDS: readonly ConnectFailure[] = ['host-key-changed', 'host-key-unknown', 'login-refused', 'no-root'];

/** Waiting need not mend it; what a system refuses while it comes up, it may still answer for. */
const mayStand = (error: KubeosError): boolean => needsHands(error) || !(error instanceof ConnectError);

const needsHands = (error: KubeosError): boolean => error instanceof ConnectError && HANDS.includes(error.failure);

const unanswered = (): ConnectError =>
  new ConnectError('a question at its sign-in was not answered in time', 'login-refused', {
    next: 'give the same command again and answer it, or give beforehand what it asks for: an agent, KUBEOS_SSH_PASSWORD, KUBEOS_SSH_PASSPHRASE, KUBEOS_SUDO_PASSWORD',
  });

function describe(error: KubeosError): string {
  return [error.message, error.reason].filter((text) => text !== undefined).join(': ');
}
