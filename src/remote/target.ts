import { join } from 'node:path';
import { ConnectError, KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Credentials } from './auth.ts';
import type { HostKeySubject } from './host-keys.ts';
import { isNodeName } from './hosts-file.ts';
import { DEFAULT_SSH_PORT, hostKeyName } from './known-hosts.ts';
import type { HostEntry, RemoteSettings } from './settings.ts';
import { DEFAULT_RULES } from './sign-in-rules.ts';
import type { HostConfig, SshConfig } from './ssh-config.ts';

/** Everything that is needed to connect to one host: flags, hosts file, ssh_config and defaults settled. */
export interface Target {
  /** `root@10.0.0.11:22`, as it is shown. */
  shown: string;
  /** The node's name; missing for a jump host. */
  node?: string;
  host: string;
  port: number;
  credentials: Credentials;
  hostKey: HostKeySubject;
  /** Jump hosts in the order they are gone through. */
  jump: readonly JumpHost[];
}

/** `[user@]host[:port]` of a ProxyJump. */
export interface JumpHost {
  name: string;
  user?: string;
  port?: number;
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
  const said = await config.ask('node', { name: node.name, ...optional({ user, port }) });
  refuseProxyCommand(said, node.name);
  const host = entry?.address ?? said?.hostName ?? addressOf(node, settings.addressType);
  const settled = { name: node.name, node: node.name, host, ...login(user, port, said) };
  const named = settings.identities ?? identityOf(entry);
  return assemble(settled, settings, { named, further: [] }, said, jumpHosts(said));
}

/** The same for a jump host, which the hosts file and the flags of nodes do not speak of. */
export async function resolveJumpHost(jump: JumpHost, settings: RemoteSettings, config: SshConfig): Promise<Target> {
  const said = await config.ask('jump host', jump);
  refuseProxyCommand(said, jump.name);
  const settled = { name: jump.name, host: said?.hostName ?? jump.name, ...login(jump.user, jump.port, said) };
  // Its own key files go first; `-i` speaks of nodes, but often opens the way to them too.
  return assemble(settled, settings, { named: undefined, further: settings.identities ?? [] }, said, []);
}

/** Reads one hop of a ProxyJump: `[user@]host[:port]`, `[user@][v6]:port` or `ssh://…`. */
export function parseJumpHost(text: string): JumpHost {
  const plain = text
    .trim()
    .replace(/^ssh:\/\//, '')
    .replace(/\/$/, '');
  const at = plain.lastIndexOf('@');
  const place = plain.slice(at + 1);
  const parts = /^\[([^\]]+)\](?::(\d+))?$/.exec(place) ?? /^([^:]+)(?::(\d+))?$/.exec(place);
  const name = parts?.[1] ?? place;
  if (name === '' || name.startsWith('-') || /[\s/]/.test(name)) {
    throw new ConnectError(`ProxyJump of ssh_config is not understood: ${text}`, 'protocol', {
      next: 'write it as user@host:port',
    });
  }
  const port = parts?.[2] === undefined ? undefined : Number(parts[2]);
  return { name, ...optional({ user: at > 0 ? plain.slice(0, at) : undefined, port }) };
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
  said: HostConfig | undefined,
  jump: readonly JumpHost[],
): Target {
  const { host, user, port } = settled;
  return {
    shown: `${user}@${host.includes(':') ? `[${host}]` : host}:${String(port)}`,
    ...(settled.node !== undefined && { node: settled.node }),
    host,
    port,
    credentials: credentialsOf(user, settings, keys, said),
    hostKey: hostKeyOf(settled, settings, said, jump.length === 0),
    jump,
  };
}

function credentialsOf(
  user: string,
  { environment }: RemoteSettings,
  { named, further }: KeyChoice,
  said: HostConfig | undefined,
): Credentials {
  const home = homeOf(environment);
  const keyFiles = named ?? said?.identityFiles ?? DEFAULT_KEYS.map((file) => join(home, '.ssh', file));
  return {
    user,
    keyFiles: unique([...keyFiles, ...further].map((file) => underHome(file, home))),
    explicit: named !== undefined,
    identitiesOnly: said?.identitiesOnly ?? false,
    agentSocket: agentSocket(said?.identityAgent, environment, home),
    rules: said?.signIn ?? DEFAULT_RULES,
  };
}

function hostKeyOf(
  { name, host, port }: Settled,
  settings: RemoteSettings,
  said: HostConfig | undefined,
  isDirect: boolean,
): HostKeySubject {
  const home = homeOf(settings.environment);
  const files = settings.knownHosts ?? said?.knownHostsFiles ?? defaultKnownHosts(home);
  const common = {
    address: host,
    port,
    files: files.map((file) => underHome(file, home)),
    acceptNew: settings.acceptNewHostKeys || (said !== undefined && said.strictHostKeys !== 'yes'),
    neverStrict: said?.strictHostKeys === 'no',
    hashed: said?.hashKnownHosts ?? false,
  };
  // As in OpenSSH, an alias stands alone, without a port.
  const alias = said?.hostKeyAlias;
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

function login(user: string | undefined, port: number | undefined, said: HostConfig | undefined) {
  return { user: user ?? said?.user ?? 'root', port: port ?? said?.port ?? DEFAULT_SSH_PORT };
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

const DEFAULT_KEYS = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

function defaultKnownHosts(home: string): string[] {
  return [join(home, '.ssh', 'known_hosts'), join(home, '.ssh', 'known_hosts2'), '/etc/ssh/ssh_known_hosts'];
}

function addressOf(node: ClusterNode, wanted = 'InternalIP'): string {
  const address = node.addresses.find(({ type }) => type === wanted)?.address;
  if (address !== undefined) return address;
  const has = node.addresses.map((one) => `${one.type} ${one.address}`).join(', ');
  throw new ConnectError(`it has no address of the type ${wanted}`, 'unreachable', {
    node: node.name,
    reason: has === '' ? 'the cluster knows no address of it' : `it has: ${has}`,
    next: 'choose one with --address-type, or name one in a file: --hosts FILE',
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

function refuseProxyCommand(said: HostConfig | undefined, name: string): void {
  if (said?.proxyCommand === undefined) return;
  throw new ConnectError(`ssh_config reaches ${name} by a ProxyCommand, which kubeos cannot use`, 'protocol', {
    reason: `ProxyCommand ${said.proxyCommand}`,
    next: 'use ProxyJump in ssh_config, or a file that says otherwise: --ssh-config FILE',
  });
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

function jumpHosts(said: HostConfig | undefined): JumpHost[] {
  return (said?.proxyJump ?? []).map(parseJumpHost);
}

function optional(values: { user: string | undefined; port: number | undefined }): { user?: string; port?: number } {
  return {
    ...(values.user !== undefined && { user: values.user }),
    ...(values.port !== undefined && { port: values.port }),
  };
}
