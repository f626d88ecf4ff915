import { jumpLoop } from './ssh-config.ts';
import { showJumpHost, type JumpHost } from './jump-hosts.ts';
import type { Target } from './target.ts';

/** One jump host on a way. */
export interface Hop {
  /** The way up to here: what shares it shares one connection. */
  key: string;
  target: Target;
}

type Resolve = (jump: JumpHost, position: 'first' | 'further') => Promise<Target>;

/**
 * The jump hosts from this machine to a target, in order. The first one named may have jump hosts of its own in
 * ssh_config, as with `ssh -J`.
 * @throws ConnectError where a jump host is to be reached through itself
 */
export function hopsTo(target: Target, resolve: Resolve): Promise<readonly Hop[]> {
  return wayOf(target, resolve, []);
}

async function wayOf(target: Target, resolve: Resolve, behind: readonly Target[]): Promise<readonly Hop[]> {
  if (target.route.kind !== 'jump') return [];
  const hops: Hop[] = [];
  for (const [index, jump] of target.route.hops.entries()) {
    const next = await resolve(jump, index === 0 ? 'first' : 'further');
    const passed = [...behind, ...hops.map((hop) => hop.target)];
    if (passed.some((one) => isSame(one, next))) throw looped(jump, passed, next);
    if (index === 0) hops.push(...(await wayOf(next, resolve, [...behind, next])));
    hops.push({ key: `${hops.at(-1)?.key ?? 'jump'} ${showJumpHost(jump)}`, target: next });
  }
  return hops;
}

function isSame(one: Target, other: Target): boolean {
  const isSameHost = one.host.toLowerCase() === other.host.toLowerCase() && one.port === other.port;
  return isSameHost && one.credentials.user === other.credentials.user;
}

function looped(jump: JumpHost, passed: readonly Target[], again: Target): Error {
  const way = [...passed, again].map(({ shown }) => shown.replace(/^the jump host /, ''));
  return jumpLoop(jump.name, `the jump hosts are: ${way.join(', ')}`);
}
