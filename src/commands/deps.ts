import type { ClusterSettings, KubectlCluster } from '../cluster/index.ts';
import type { RemoteHooks, RemoteSettings, SshRemote } from '../remote/index.ts';
import type { UncaughtErrors } from '../local/uncaught.ts';
import type { Clock } from '../rollout/ports.ts';

/** Where kubeos reads and writes. */
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
  /** The command line after the program's name, for the screens that tell how to carry on. */
  argv: readonly string[];
  version: string;
  clock: Clock;
  /** Bugs beside the command's own way; one that has work to bring to an end asks to be told of them. */
  uncaught: UncaughtErrors;
  connectCluster(settings: ClusterSettings): Promise<KubectlCluster>;
  createRemote(settings: RemoteSettings, hooks: RemoteHooks): Promise<SshRemote>;
}
