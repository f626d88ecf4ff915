import type { LabApi } from './api/index.ts';

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
  readonly #api: Pick<LabApi, 'setNode' | 'heartbeat'>;
  readonly #timings: KubeletTimings;
  #timer: NodeJS.Timeout | undefined;

  constructor(name: string, api: Pick<LabApi, 'setNode' | 'heartbeat'>, timings: KubeletTimings) {
    this.#name = name;
    this.#api = api;
    this.#timings = timings;
  }

  /** The system runs: after a moment the kubelet reports it, and goes on with its heartbeat. */
  start(info: SystemInfo, ready: boolean): void {
    this.#after(this.#timings.startMs, () => {
      this.#api.setNode(this.#name, { ...(ready ? { ready } : UNREADY), ...info });
      this.#beat();
    });
  }

  /** The system is down: nobody renews the Lease, and after a while the cluster notices. */
  lose(): void {
    this.#after(this.#timings.graceMs, () => this.#api.setNode(this.#name, { ready: false }));
  }

  /** Ends its timer; nothing more is reported. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
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
