export interface DrainOptions {
  /** Milliseconds; 0 waits for ever. */
  timeoutMs: number;
  /** Seconds for each pod to end; -1 leaves it to the pod. */
  gracePeriodSeconds: number;
  /** Also evict pods that no controller will bring back. */
  force: boolean;
  /** Also evict pods with emptyDir volumes, whose data is lost. */
  deleteEmptyDirData: boolean;
  /** Delete instead of evict, which passes over PodDisruptionBudgets. */
  disableEviction: boolean;
  /** Only pods that match this label selector are drained. */
  podSelector?: string;
}

/** One thing that a drain will meet. */
export interface DrainObstacle {
  kind: 'bare-pod' | 'empty-dir' | 'budget-never' | 'budget-now' | 'finalizer' | 'terminating';
  /** `certain`: the drain will fail. `waits`: it may pass within the drain's timeout. */
  verdict: 'certain' | 'waits';
  /** namespace/name */
  pod: string;
  /** What owns the pod, as `ReplicaSet shop/web-5d4f`; missing for a bare pod. */
  owner?: string;
  /** namespace/name of the PodDisruptionBudget, for the budget kinds. */
  budget?: string;
  /** What stands in the way, with the budget's numbers: one sentence. */
  message: string;
  /** How to get past it. */
  remedy: string;
}

export interface DrainForecast {
  /** How many pods the drain will evict. DaemonSet, mirror and finished pods do not count. */
  pods: number;
  obstacles: readonly DrainObstacle[];
}

export interface DrainProgress {
  podsLeft: number;
  podsAtStart: number;
  /** The first pod that is waited for, namespace/name. */
  waitingFor?: string;
  /** Why it is waited for: `budget shop/db allows 0`, `terminating since 48s`. */
  because?: string;
}
