import type { Clock } from '../rollout/ports.ts';

/** What the adapter is told about the cluster and how to reach it. */
export interface ClusterSettings {
  /** The kubectl to run: a path, or a name that is looked up in the environment's PATH. */
  kubectl: string;
  /** `--kubeconfig`; without it kubectl finds its own (KUBECONFIG, ~/.kube/config). */
  kubeconfig?: string;
  /** `--context`; without it the kubeconfig's current one. */
  context?: string;
  /** Where the Lease `kubeos` lives; kube-system by default. */
  lockNamespace?: string;
  /** How long a lock that is not renewed stays ours, in whole seconds; 60 by default, renewed four times as often. */
  lockSeconds?: number;
  /** The environment that kubectl runs in. */
  environment: Readonly<Record<string, string | undefined>>;
  clock: Clock;
  /** How long an API server that is away is waited for, per request, in milliseconds; 5 minutes by default. */
  retryForMs?: number;
  /** Something the user should know that is no failure: that the API server is away, and for how long it was. */
  notice?: (message: string) => void;
}

export const DEFAULT_LOCK_NAMESPACE = 'kube-system';
export const DEFAULT_LOCK_SECONDS = 60;
export const DEFAULT_RETRY_FOR_MS = 5 * 60_000;
