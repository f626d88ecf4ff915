import type { Clock, ImageSource } from '../rollout/ports.ts';
import type { JumpHost } from './jump-hosts.ts';
import type { KeepaliveLimits } from './keepalive.ts';

/** One entry of `--hosts FILE`: what is said of one node; what is missing comes from ssh_config or the defaults. */
export interface HostEntry {
  /** The node's name in the cluster. */
  name: string;
  /** Host name or IP address. */
  address?: string;
  port?: number;
  user?: string;
  /** Path of a private key. */
  identity?: string;
  /** Gone through in this order, instead of what ssh_config says; none: the node is reached directly. */
  jump?: readonly JumpHost[];
}

/** How nodes are reached; flags and their `KUBEOS_*` variables are settled before. */
export interface RemoteSettings {
  /** `--ssh-user`; beats the hosts file and ssh_config. */
  sshUser?: string;
  /** `--ssh-port`. */
  sshPort?: number;
  /** `--jump`: gone through in this order; beats the hosts file and ssh_config. None: every node is reached directly. */
  jump?: readonly JumpHost[];
  /** `-i/--identity`: paths of private keys; with them no other key file is tried. */
  identities?: readonly string[];
  /** `--ssh-config`: read instead of the user's and the system's file, as `ssh -F` does; `none` reads no file. */
  sshConfig?: string;
  /** `--known-hosts`: the files to look host keys up in; new ones are added to the first. */
  knownHosts?: readonly string[];
  /** `--accept-new-host-keys`: trust a host's first key, and remember it. A changed key is refused all the same. */
  acceptNewHostKeys: boolean;
  /** `--address-type`: which of the node's addresses is used where nothing names one; `InternalIP` if missing. */
  addressType?: string;
  /** The entries of `--hosts FILE`. */
  hosts?: readonly HostEntry[];
  /** How many connections may be in the making at once; 32 if missing. */
  connectLimit?: number;
  /** Milliseconds until a connection must have signed in; 30 000 if missing. */
  readyTimeoutMs?: number;
  /** When a silent connection counts as dead; asked after each 5 s, and 3 times, if missing. */
  keepalive?: KeepaliveLimits;
  /** How long a node that stopped answering is tried again; see `DEFAULT_PATIENCE`. */
  patience?: Partial<Patience>;
  /** Asks the user; missing where there is no terminal. Never called twice at once. */
  ask?: Ask;
  /** `KUBEOS_SSH_PASSWORD`: of the user on the nodes; never sent to a jump host. */
  sshPassword?: string;
  /** How a user who is not root becomes root; missing: sudo must not ask. */
  sudo?: SudoSettings;
  /** Where the image is from that is sent to nodes (`via` ssh); missing: nobody fetches it here. */
  images?: ImageSource;
  /** Milliseconds in which a node must take some of the image that is sent to it; 60 000 if missing. */
  sendStallMs?: number;
  /** Bytes a second that all nodes together are sent; missing: as fast as they take it. */
  sendRate?: number;
  /** HOME, SSH_AUTH_SOCK, KUBEOS_SSH_PASSPHRASE, and PATH to find `ssh`. */
  environment: Readonly<Record<string, string | undefined>>;
}

/**
 * Asks the person at the terminal; resolves to undefined where nothing was given. `hidden` shows no echo.
 * Rejects with an InterruptedError where the question is broken off, and with the signal's reason where it is withdrawn.
 */
export type Ask = (
  question: string,
  options: { hidden: boolean; signal?: AbortSignal | undefined },
) => Promise<string | undefined>;

export interface SudoSettings {
  /** `KUBEOS_SUDO_PASSWORD`. */
  password?: string;
  /** `--ask-sudo-password`: the user is asked once a node's sudo wants it. */
  ask: boolean;
}

/** Milliseconds for which a node that answered before may stay away before a call gives up. */
export interface Patience {
  /** In the middle of a long step, which goes on on the node meanwhile. */
  jobMs: number;
  /** In a short call. */
  callMs: number;
  /** After the order to reboot was sent and not answered: then the wait for the boot decides. */
  rebootMs: number;
}

export const DEFAULT_PATIENCE: Patience = { jobMs: 15 * 60_000, callMs: 2 * 60_000, rebootMs: 60_000 };

/** What the adapter is given beside its settings. */
export interface RemoteHooks {
  /** Waits between polls and attempts are taken from it; the machine's own clock if missing. */
  clock?: Clock;
  /** Something the user should know that is no failure: a lost connection that is being made again, a new host key. */
  notice?: (message: string, node?: string) => void;
}
