import type { Via, Ways } from './artifacts.ts';
import type { NodeObservation } from './facts.ts';
import type { Finding } from './plan-types.ts';

const NODES_ALONE: Ways = { here: false };

/**
 * How the image comes to this node.
 * @param noWay the node itself was asked, and does not get to the image's server
 * @returns undefined where there is no way
 */
export function viaOf(
  { hasCurl, hasWget }: Pick<NodeObservation, 'hasCurl' | 'hasWget'>,
  { via, here }: Ways = NODES_ALONE,
  noWay = false,
): Via | undefined {
  const has = { curl: hasCurl, wget: hasWget === true, ssh: here };
  if (via !== undefined) return has[via] ? via : undefined;
  const wanted: readonly Via[] = noWay ? ['ssh', 'curl', 'wget'] : ['curl', 'wget', 'ssh'];
  return wanted.find((one) => has[one]);
}

/** Why the image does not come to this node; nothing where it does. */
export function refuseVia(seen: NodeObservation, ways: Ways = NODES_ALONE): readonly Finding[] {
  if (viaOf(seen, ways) !== undefined) return [];
  const { via, notHere } = ways;
  const next = 'put it on the node, or let this machine fetch the image: --via ssh, for https with --certs-dir';
  if (via !== undefined) return [{ what: `it has no ${TOOLS[via]} to fetch the image with (--via ${via})`, next }];
  const what = 'it has no curl and no GNU wget to fetch the image with';
  if (notHere === undefined) return [{ what, next: next.replace('it', 'one') }];
  return [
    {
      what: `${what}, and this machine does not get it from its server`,
      reason: notHere,
      next: 'put one on the node, or see what is in the way from here: name service, routes, firewall, --certs-dir, clock',
    },
  ];
}

const TOOLS: Readonly<Record<Via, string>> = { curl: 'curl', wget: 'GNU wget', ssh: 'machine' };
