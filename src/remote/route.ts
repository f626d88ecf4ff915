import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { ConnectError } from '../errors.ts';
import { JUMP_FORM, parseJump, type JumpHost } from './jump-hosts.ts';
import { expandProxyCommand, type ProxyTokens } from './proxy-command.ts';
import type { HostConfig } from './ssh-config.ts';

/** The way to a host. */
export type Route =
  | { kind: 'direct' }
  /** Through these, in this order. */
  | { kind: 'jump'; hops: readonly JumpHost[] }
  /** Over a command's standard input and output. */
  | { kind: 'command'; command: string };

/** What ssh_config says of a TCP connection, as net.connect takes it. */
export interface SocketOptions {
  localAddress?: string;
  family?: 4 | 6;
}

/**
 * Settles the way to a host: the jump hosts that a flag or the hosts file chose, else what ssh_config says.
 * @param chosen empty: directly
 * @throws ConnectError where ssh_config says what cannot be done
 */
export function routeOf(said: HostConfig, tokens: ProxyTokens, chosen: readonly JumpHost[] | undefined): Route {
  const hops = chosen ?? jumpHostsOf(said, tokens);
  if (hops.length > 0) return { kind: 'jump', hops };
  if (chosen !== undefined || said.proxyCommand === undefined) return { kind: 'direct' };
  if (said.proxyUseFdpass) {
    throw new ConnectError(
      `ssh_config reaches ${tokens.name} with ProxyUseFdpass, which kubeos cannot use`,
      'protocol',
      {
        reason: 'its ProxyCommand would hand over an open connection instead of carrying the data itself',
        next: 'leave ProxyUseFdpass out and let the command carry the data, or name jump hosts: --jump',
      },
    );
  }
  return { kind: 'command', command: expandProxyCommand(said.proxyCommand, tokens) };
}

/** @throws ConnectError where BindAddress or BindInterface names nothing to bind to */
export function socketOptions(said: HostConfig, host: string): SocketOptions {
  const family = isIP(host) > 0 ? (isIPv6(host) ? 'inet6' : 'inet') : said.addressFamily;
  const localAddress = localAddressOf(said, family ?? 'inet');
  return {
    ...(localAddress !== undefined && { localAddress }),
    ...(said.addressFamily === 'inet' && { family: 4 as const }),
    ...(said.addressFamily === 'inet6' && { family: 6 as const }),
  };
}

// The tokens of ProxyJump are those of a ProxyCommand (ssh_config(5)), since ssh makes one of it.
function jumpHostsOf({ proxyJump }: HostConfig, { host, name, port, user }: ProxyTokens): readonly JumpHost[] {
  if (proxyJump === undefined) return [];
  const values = new Map([
    ['%', '%'],
    ['h', host],
    ['n', name],
    ['p', String(port)],
    ['r', user],
  ]);
  const text = proxyJump.replaceAll(/%([%hnpr])/g, (_all, token: string) => values.get(token) ?? '');
  const hops = parseJump(text);
  if (hops !== undefined) return hops;
  throw new ConnectError(`ProxyJump of ssh_config is not understood: ${text}`, 'protocol', {
    next: `write it as ${JUMP_FORM}`,
  });
}

// BindAddress outweighs BindInterface, as in OpenSSH.
function localAddressOf({ bindAddress, bindInterface }: HostConfig, family: 'inet' | 'inet6'): string | undefined {
  if (bindAddress !== undefined) {
    if (isIP(bindAddress) > 0) return bindAddress;
    throw unbound(`BindAddress ${bindAddress}`, 'kubeos takes an IP address there');
  }
  if (bindInterface === undefined) return undefined;
  const wanted = family === 'inet6' ? 'IPv6' : 'IPv4';
  const found = networkInterfaces()[bindInterface]?.find((one) => one.family === wanted);
  if (found !== undefined) return found.address;
  throw unbound(`BindInterface ${bindInterface}`, `no such interface with an ${wanted} address on this machine`);
}

function unbound(line: string, reason: string): ConnectError {
  return new ConnectError(`ssh_config says ${line}, which cannot be bound to`, 'protocol', {
    reason,
    next: 'mend the file, or leave it out: --ssh-config none',
  });
}
