import { join } from 'node:path';
import { ConnectError, KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Credentials } from './auth.ts';
import type { HostKeySubject } from './host-keys.ts';
import { isNodeName } from './hosts-file.ts';
import type { JumpHost } from './jump-hosts.ts';
import { DEFAULT_SSH_PORT, hostKeyName } from './known-hosts.ts';
import { routeOf, socketOptions, type Route, type SocketOptions } from './route.ts';
import type { HostEntry, RemoteSettings } from './settings.ts';
import type { HostConfig, SshConfig } from './ssh-config.ts';

/** Everything that is needed to connect to one host: flags, hosts file, ssh_config and defaults settled. */
export interface Target {
  /** `root@10.0.0.11:22`, or `the jump host ops@b1:22`, as it is shown. */
  shown: string;
  /** The node's name; missing for a jump host. */
  node?: string;
  host: string;
  port: number;
  credentials: Credentials;
  hostKey: HostKeySubject;
  route: Route;
  /** How its own TCP connection is made, where it has one. */
  socket: SocketOptions;
  /** ConnectTimeout of ssh_config; milliseconds. */
  connectTimeoutMs?: number;
}

/**
 * Works out how a node is reached. The order is flag, hosts file, ssh_config, then root, port 22 and the node's address
 * of the wanted type.
 */
export async function resolveNode(node: ClusterNode, settings: RemoteSettings, config: SshConfig): Promise<Target> {
  refuseOddName(node.name);
  const entry = settings.hosts?.find(({ name }) => name === node.name);
  const user = settings.sshUser ?? entry?.user;
  const port = settings.sshPort ?? entry?.port;
  const jump = settings.jump ?? entry?.jump;
  const wayIsSettled = jump !== undefined;
  const said = await config.ask('node', { name: node.name, ...optional({ user, port }), wayIsSettled });
  const host = entry?.address ?? said.hostName ?? addressOf(node, settings.addressType, said.addressFamily);
  const settled = { name: node.name, node: node.name, host, ...login(user, port, said) };
  const named = settings.identities ?? identityOf(entry);
  return assemble(settled, settings, { named, further: [] }, said, jump);
}

/**
 * The same for a jump host, which the hosts file and the flags of nodes do not speak of. The first one of a chain is
 * reached as its own lines of ssh_config say; a `further` one from the one before it.
 */
export async function resolveJumpHost(
  jump: JumpHost,
  settings: RemoteSettings,
  config: SshConfig,
  position: 'first' | 'further',
): Promise<Target> {
  const wayIsSettled = position === 'further';
  const said = await config.ask('jump host', { ...jump, wayIsSettled });
  const settled = { name: jump.name, host: said.hostName ?? jump.name, ...login(jump.user, jump.port, said) };
  // Its own key files go first; `-i` speaks of nodes, but often opens the way to them too.
  const keys = { named: undefined, further: settings.identities ?? [] };
  const target = assemble(settled, settings, keys, said, wayIsSettled ? [] : undefined);
  const hostKey = wayIsSettled ? { ...target.hostKey, scannable: false } : target.hostKey;
  return { ...target, shown: `the jump host ${target.shown}`, hostKey };
}

/** Key files that were named for this host instead of all others, and those to try after its own. */
interface KeyChoice {
  named: readonly string[] | undefined;
  further: readonly string[];
}

interface Settled {
  name: string;
  node?: string;
  host: string;
  user: string;
  port: number;
}

function assemble(
  settled: Settled,
  settings: RemoteSettings,
  keys: KeyChoice,
  said: HostConfig,
  jump: readonly JumpHost[] | undefined,
): Target {
  const { host, user, port } = settled;
  const route = routeOf(said, { ...settled, alias: said.hostKeyAlias ?? settled.name }, jump);
  return {
    shown: `${user}@${host.includes(':') ? `[${host}]` : host}:${String(port)}`,
    ...(settled.node !== undefined && { node: settled.node }),
    host,
    port,
    credentials: credentialsOf(user, settings, keys, said),
    hostKey: hostKeyOf(settled, settings, said, route.kind === 'direct'),
    route,
    socket: route.kind === 'direct' ? socketOptions(said, host) : {},
    ...(said.connectTimeoutMs !== undefined && { connectTimeoutMs: said.connectTimeoutMs }),
  };
}

function credentialsOf(
  user: string,
  { environment }: RemoteSettings,
  { named, further }: KeyChoice,
  said: HostConfig,
): Credentials {
  const home = homeOf(environment);
  const keyFiles = named ?? said.identityFiles;
  return {
    user,
    keyFiles: unique([...keyFiles, ...further].map((file) => underHome(file, home))),
    explicit: named !== undefined,
    identitiesOnly: said.identitiesOnly,
    agentSocket: agentSocket(said.identityAgent, environment, home),
    rules: said.signIn,
  };
}

function hostKeyOf(
  { name, node, host, port }: Settled,
  settings: RemoteSettings,
  said: HostConfig,
  isDirect: boolean,
): HostKeySubject {
  const home = homeOf(settings.environment);
  const files = settings.knownHosts ?? said.knownHostsFiles;
  const common = {
    role: node === undefined ? ('jump host' as const) : ('node' as const),
    address: host,
    port,
    files: files.map((file) => underHome(file, home)),
    acceptNew: settings.acceptNewHostKeys || said.strictHostKeys !== 'yes',
    neverStrict: said.strictHostKeys === 'no',
    hashed: said.hashKnownHosts,
  };
  // As in OpenSSH, an alias stands alone, without a port.
  const alias = said.hostKeyAlias;
  if (alias !== undefined) {
    const known = alias.toLowerCase();
    return { ...common, names: [known], portlessNames: [], addedAs: known, scannable: false };
  }
  const names = unique([name.toLowerCase(), host.toLowerCase()]);
  return {
    ...common,
    addedAs: hostKeyName(host, port),
    names: names.map((one) => hostKeyName(one, port)),
    portlessNames: port === DEFAULT_SSH_PORT ? [] : names,
    scannable: isDirect,
  };
}

function login(user: string | undefined, port: number | undefined, said: HostConfig) {
  return { user: user ?? said.user ?? 'root', port: port ?? said.port ?? DEFAULT_SSH_PORT };
}

function homeOf(environment: RemoteSettings['environment']): string {
  return environment['HOME'] ?? '/';
}

function refuseOddName(name: string): void {
  if (isNodeName(name)) return;
  throw new KubeosError('its name is not one that ssh can be given', EXIT.refused, {
    node: name,
    reason: 'node names are letters, digits, dots and hyphens, and begin with a letter or digit',
    next: 'leave it out: --exclude',
  });
}

function addressOf(node: ClusterNode, wanted = 'InternalIP', family?: HostConfig['addressFamily']): string {
  const ofType = node.addresses.filter(({ type }) => type === wanted).map(({ address }) => address);
  // Of a node with both kinds, AddressFamily of ssh_config chooses.
  const isWanted = (address: string) => family === undefined || address.includes(':') === (family === 'inet6');
  const address = ofType.find(isWanted) ?? ofType[0];
  if (address !== undefined) return refuseOddAddress(address, node.name);
  const has = node.addresses.map((one) => `${one.type} ${one.address}`).join(', ');
  throw new ConnectError(`it has no address of the type ${wanted}`, 'unreachable', {
    node: node.name,
    reason: has === '' ? 'the cluster knows no address of it' : `it has: ${has}`,
    next: 'choose one with --address-type, or name one in a file: --hosts FILE',
  });
}

// It comes from the cluster, and may go to a ProxyCommand.
function refuseOddAddress(address: string, node: string): string {
  if (/^[\w:][\w:.%-]*$/.test(address)) return address;
  throw new ConnectError('its address in the cluster is no host name or IP address', 'unreachable', {
    node,
    reason: JSON.stringify(address.slice(0, 80)),
    next: 'name one in a file: --hosts FILE',
  });
}

// IdentityAgent of ssh_config(5): a path, `none`, the literal SSH_AUTH_SOCK, or a variable's name after a dollar sign.
function agentSocket(
  said: string | undefined,
  environment: RemoteSettings['environment'],
  home: string,
): string | undefined {
  if (said === 'none') return undefined;
  const variable = said === undefined ? 'SSH_AUTH_SOCK' : /^\$?\{?([A-Z_][A-Z0-9_]*)\}?$/.exec(said)?.[1];
  const path = variable === undefined ? said : environment[variable];
  return path === undefined || path === '' ? undefined : underHome(path, home);
}

function underHome(path: string, home: string): string {
  return path.startsWith('~/') ? join(home, path.slice(2)) : path;
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

function identityOf(entry: HostEntry | undefined): string[] | undefined {
  return entry?.identity === undefined ? undefined : [entry.identity];
}

function optional(values: { user: string | undefined; port: number | undefined }): { user?: string; port?: number } {
  return {
    ...(values.user !== undefined && { user: values.user }),
    ...(values.port !== undefined && { port: values.port }),
  };
}
