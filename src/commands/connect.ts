import { readFile } from 'node:fs/promises';
import type { ClusterSettings, KubectlCluster } from '../cluster/index.ts';
import { InterruptedError, UsageError } from '../errors.ts';
import { childEnvironment, createPrompter, flagSetting, secretSetting } from '../local/index.ts';
import type { HostEntry, RemoteSettings, SshRemote } from '../remote/index.ts';
import type { Deps } from './deps.ts';
import type { ClusterFlags, LockFlags, SshFlags } from './option-types.ts';

/** The two adapters of a command that is at work. */
export interface Connections {
  cluster: KubectlCluster;
  remote: SshRemote;
}

export interface ConnectHooks {
  /** Something the user should know that is no failure. */
  notice: (message: string, node?: string) => void;
  /** What sends the nodes an image that this machine has fetched. */
  sending?: Pick<RemoteSettings, 'images' | 'sendRate'>;
  /** Takes a drawn frame away while the user is asked something. */
  paused?: <T>(task: () => Promise<T>) => Promise<T>;
}

/** Runs a task with the cluster and the nodes at hand, and closes every connection however it ends. */
export async function withConnections<T>(
  deps: Deps,
  flags: ClusterFlags & SshFlags & Partial<LockFlags>,
  hooks: ConnectHooks,
  task: (connections: Connections) => Promise<T>,
): Promise<T> {
  const asking = new AbortController();
  const settings = await remoteSettings(deps, flags, hooks, asking.signal);
  return withCluster(deps, flags, hooks, async (cluster) => {
    const remote = await deps.createRemote(settings, { clock: deps.clock, notice: hooks.notice });
    try {
      return await task({ cluster, remote });
    } finally {
      // A question that is still on the screen has lost its meaning.
      asking.abort(new InterruptedError());
      await remote.disconnect();
    }
  });
}

/** Runs a task with the cluster alone at hand, and closes the connection however it ends. */
export async function withCluster<T>(
  deps: Deps,
  flags: ClusterFlags & Partial<LockFlags>,
  { notice }: Pick<ConnectHooks, 'notice'>,
  task: (cluster: KubectlCluster) => Promise<T>,
): Promise<T> {
  const cluster = await deps.connectCluster({ ...clusterSettings(deps, flags), notice });
  try {
    return await task(cluster);
  } finally {
    await cluster.disconnect();
  }
}

function clusterSettings(deps: Deps, flags: ClusterFlags & Partial<LockFlags>): ClusterSettings {
  const { lockDuration } = flags;
  return {
    kubectl: flags.kubectl,
    lockNamespace: flags.lockNamespace,
    ...(lockDuration === undefined ? {} : { lockSeconds: lockDuration / 1000 }),
    environment: childEnvironment(deps.io.env),
    clock: deps.clock,
    ...(flags.kubeconfig === undefined ? {} : { kubeconfig: flags.kubeconfig }),
    ...(flags.context === undefined ? {} : { context: flags.context }),
  };
}

async function remoteSettings(
  deps: Deps,
  flags: SshFlags,
  hooks: ConnectHooks,
  asking: AbortSignal,
): Promise<RemoteSettings> {
  const { sshUser, sshPort, identity, knownHosts, hosts } = flags;
  const prompter = createPrompter(deps.io);
  const paused = hooks.paused ?? ((ask) => ask());
  const ask = prompter.canAsk
    ? (question: string, { hidden, signal }: { hidden: boolean; signal?: AbortSignal | undefined }) => {
        const ends = signal === undefined ? asking : AbortSignal.any([asking, signal]);
        return paused(() => (hidden ? prompter.secret(question, ends) : prompter.text(question, ends)));
      }
    : undefined;
  return {
    acceptNewHostKeys: flags.acceptNewHostKeys ?? flagSetting(deps.io.env, 'KUBEOS_ACCEPT_NEW_HOST_KEYS') ?? false,
    addressType: flags.addressType,
    environment: deps.io.env,
    ...(sshUser === undefined ? {} : { sshUser }),
    ...(sshPort === undefined ? {} : { sshPort }),
    ...(identity === undefined ? {} : { identities: identity }),
    ...waySettings(flags),
    ...(knownHosts === undefined ? {} : { knownHosts }),
    ...(hosts === undefined ? {} : { hosts: await readHosts(hosts) }),
    ...(ask === undefined ? {} : { ask }),
    ...passwords(deps, flags.askSudoPassword === true, prompter.canAsk),
    ...hooks.sending,
  };
}

const waySettings = ({ jump, sshConfig }: SshFlags): Pick<RemoteSettings, 'jump' | 'sshConfig'> => ({
  ...(jump === undefined ? {} : { jump }),
  ...(sshConfig === undefined ? {} : { sshConfig }),
});

function passwords(deps: Deps, askSudo: boolean, canAsk: boolean): Pick<RemoteSettings, 'sshPassword' | 'sudo'> {
  const sshPassword = secretSetting(deps.io.env, 'KUBEOS_SSH_PASSWORD');
  const sudoPassword = secretSetting(deps.io.env, 'KUBEOS_SUDO_PASSWORD');
  if (askSudo && sudoPassword === undefined && !canAsk) {
    throw new UsageError('--ask-sudo-password needs a terminal to ask at', {
      next: 'set KUBEOS_SUDO_PASSWORD instead',
    });
  }
  const sudo = { ask: askSudo, ...(sudoPassword === undefined ? {} : { password: sudoPassword }) };
  return {
    ...(sshPassword === undefined ? {} : { sshPassword }),
    ...(askSudo || sudoPassword !== undefined ? { sudo } : {}),
  };
}

async function readHosts(file: string): Promise<HostEntry[]> {
  const { parseHostsFile } = await import('../remote/hosts-file.ts');
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`${file} cannot be read`, {
      reason: String(error),
      next: 'name a file that is there and that you may read',
      cause: error,
    });
  });
  return parseHostsFile(text, file);
}
