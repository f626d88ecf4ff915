/** What is asked about: `user` and `port` where something stronger than ssh_config has settled them already. */
export interface HostQuestion {
  name: string;
  user?: string;
  port?: number;
  /** The way there is settled already: ProxyJump and ProxyCommand do not count. */
  wayIsSettled?: boolean;
}

export type HostKind = 'node' | 'jump host';

/** Keys in lower case, values as `ssh -G` prints them. */
export type ConfigValues = ReadonlyMap<string, readonly string[]>;
