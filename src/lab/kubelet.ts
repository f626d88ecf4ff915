import type { LabApi, NodeChange } from './api/index.ts';

/** What a kubelet says of the system that it runs on. */
export interface SystemInfo {
  osImage: string;
  bootId: string;
  kernelVersion: string;
}

/** Milliseconds. */
export interface KubeletTimings {
  /** From the system's start until the kubelet reports. */
  startMs: number;
  /** Between two renewals of the node's Lease; 10 s in a real cluster. */
  heartbeatMs: number;
  /** Without a heartbeat for so long, the cluster calls the node Unknown; 40 s or more in a real cluster. */
  graceMs: number;
}

/** One node's kubelet, and the node controller's view of it while it is away. */
export class NodeKubelet {
  readonly #name: string;
  readonly #api: Pick<LabApi, 'get' | 'setNode' | 'heartbeat'>;
  readonly #timings: KubeletTimings;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, api: Pick<LabApi, 'get' | 'setNode' | 'heartbeat'>, timings: KubeletTimings) {
    this.#name = name;
    this.#api = api;
    this.#timings = timings;
  }

  /** The system runs: after a moment the kubelet reports it, and goes on with its heartbeat. */
  start(info: SystemInfo, ready: boolean): void {
    this.#after(this.#timings.startMs, () => {
      this.#report({ ...(ready ? { ready } : UNREADY), ...info });
      this.#beat();
    });
  }

  /** The system is down: nobody renews the Lease, and after a while the cluster notices. */
  lose(): void {
    this.#after(this.#timings.graceMs, () => this.#report({ ready: false }));
  }

  /** Ends its timer; nothing more is reported. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  // A node that somebody deleted is not there to be told of.
  #report(change: NodeChange): void {
    if (this.#api.get('nodes', '', this.#name) !== undefined) this.#api.setNode(this.#name, change);
  }

  #beat(): void {
    this.#api.heartbeat(this.#name);
    this.#after(this.#timings.heartbeatMs, () => this.#beat());
  }

  #after(ms: number, act: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }
}

/** As a kubelet says it whose network never comes up. */
const UNREADY = {
  ready: false,
  reason: 'KubeletNotReady',
  message: 'container runtime network not ready: cni plugin not initialized',
} as const;
