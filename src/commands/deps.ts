import type { KubectlCluster, ClusterSettings } from '../cluster/index.ts';
import type { RemoteSettings, SshRemote } from '../remote/index.ts';
import type { Clock } from '../rollout/ports.ts';

/** Where kubeos reads and writes; a test hands in its own. */
export interface Io {
  stdin: NodeJS.ReadStream;
  stdout: OutputStream;
  stderr: OutputStream;
  env: Readonly<Record<string, string | undefined>>;
}

/** As much of a tty.WriteStream as output needs; `isTTY` and the sizes are missing for pipes and files. */
export interface OutputStream {
  write(text: string): boolean;
  isTTY?: boolean;
  columns?: number;
  rows?: number;
}

/** What the commands are given by the composition root. */
export interface Deps {
  io: Io;
  clock: Clock;
  version: string;
  connectCluster(settings: ClusterSettings): Promise<KubectlCluster>;
  createRemote(settings: RemoteSettings): Promise<SshRemote>;
}
