import type { Core } from './core.ts';
import { deleteObject } from './deletes.ts';
import {
  at,
  conditionOf,
  isReady,
  listAt,
  textAt,
  timestamp,
  type Condition,
  type JsonObject,
  type KubeObject,
} from './objects.ts';

/** How long the lab's pods take where no annotation says otherwise, in milliseconds. */
export interface PodTimings {
  startMs: number;
  endMs: number;
}

/** Annotations by which a pod says how it behaves in the lab. */
export const POD_ANNOTATIONS = {
  /** Milliseconds from its deletion to its end, at most its grace period. */
  endMs: 'lab.kubeos/term-ms',
  /** Milliseconds from being bound to a node to being Ready. */
  startMs: 'lab.kubeos/start-ms',
  /** `false`: it runs, but never becomes Ready. */
  ready: 'lab.kubeos/ready',
} as const;

/** Plays the kubelets of all nodes that are Ready: starts pods, ends those that are deleted, reports their readiness. */
export class Kubelet {
  readonly #core: Core;
  readonly #timings: PodTimings;
  readonly #timers = new Map<string, () => void>();
  #lastIp = 0;

  constructor(core: Core, timings: PodTimings) {
    this.#core = core;
    this.#timings = timings;
  }

  sync(): void {
    for (const pod of this.#core.store.list(this.#core.catalog.byName('pods'))) {
      if (!this.#isOnLiveNode(pod)) continue;
      if (pod.metadata.deletionTimestamp !== undefined) this.#after('end', pod, this.#endDelay(pod), this.#end);
      else if (textAt(pod, 'status', 'phase') === 'Pending') {
        this.#after('start', pod, annotated(pod, POD_ANNOTATIONS.startMs, this.#timings.startMs), this.#start);
      } else if (textAt(pod, 'status', 'phase') === 'Running' && isReady(pod) !== wantsReady(pod)) this.#start(pod);
    }
  }

  /** Whether it has nothing to do any more. */
  get idle(): boolean {
    return this.#timers.size === 0;
  }

  stop(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  #isOnLiveNode(pod: KubeObject): boolean {
    const node = this.#core.store.get(this.#core.catalog.byName('nodes'), '', textAt(pod, 'spec', 'nodeName'));
    return node !== undefined && isReady(node);
  }

  #endDelay(pod: KubeObject): number {
    const grace = (pod.metadata.deletionGracePeriodSeconds ?? 0) * 1000;
    return Math.min(grace, annotated(pod, POD_ANNOTATIONS.endMs, this.#timings.endMs));
  }

  /** Does something to the pod later, unless the pod or its node is gone by then. Asked again, it keeps its time. */
  #after(what: string, { metadata }: KubeObject, ms: number, act: (pod: KubeObject) => void): void {
    const key = `${what} ${metadata.uid}`;
    if (this.#timers.has(key)) return;
    const run = (): void => {
      this.#timers.delete(key);
      const pods = this.#core.catalog.byName('pods');
      const now = this.#core.store.get(pods, metadata.namespace ?? '', metadata.name);
      if (now?.metadata.uid === metadata.uid && this.#isOnLiveNode(now)) act(now);
    };
    this.#timers.set(key, this.#core.clock.later(ms, run));
  }

  readonly #end = ({ metadata }: KubeObject): void => {
    const target = {
      kind: this.#core.catalog.byName('pods'),
      namespace: metadata.namespace ?? '',
      name: metadata.name,
    };
    deleteObject(this.#core, target, {
      ...{ dryRun: false, gracePeriodSeconds: 0, propagationPolicy: '', preconditions: {} },
    });
  };

  readonly #start = (pod: KubeObject): void => {
    if (pod.metadata.deletionTimestamp !== undefined) return;
    const now = timestamp(this.#core.clock.now());
    const ready = wantsReady(pod);
    const ip = textAt(pod, 'status', 'podIP') || this.#nextIp();
    const status: JsonObject = {
      ...pod.status,
      ...{ phase: 'Running', startTime: textAt(pod, 'status', 'startTime') || now, podIP: ip, podIPs: [{ ip }] },
      conditions: withPodConditions(pod, ready, now),
      containerStatuses: listAt(pod, 'spec', 'containers').map((container) => ({
        ...{ name: textAt(container, 'name'), image: textAt(container, 'image'), imageID: '', restartCount: 0 },
        ...{ ready, started: true, lastState: {}, state: { running: { startedAt: now } } },
      })),
    };
    this.#core.store.replace(this.#core.catalog.byName('pods'), { ...pod, status });
  };

  #nextIp(): string {
    this.#lastIp++;
    return `10.244.${(this.#lastIp >> 8) & 255}.${this.#lastIp & 255}`;
  }
}

const wantsReady = (pod: KubeObject): boolean => pod.metadata.annotations?.[POD_ANNOTATIONS.ready] !== 'false';

function annotated(pod: KubeObject, name: string, otherwise: number): number {
  const value = Number(at(pod, 'metadata', 'annotations', name) ?? otherwise);
  return Number.isFinite(value) && value >= 0 ? value : otherwise;
}

function withPodConditions(pod: KubeObject, ready: boolean, now: string): JsonObject[] {
  const wanted: [string, boolean][] = [
    ['Initialized', true],
    ['Ready', ready],
    ['ContainersReady', ready],
    ['PodScheduled', true],
  ];
  return wanted.map(([type, value]) => changedCondition(conditionOf(pod, type), type, value ? 'True' : 'False', now));
}

/** A condition whose time moves only when its status does. */
export function changedCondition(
  before: Condition | undefined,
  type: string,
  status: Condition['status'],
  now: string,
  more: { reason?: string; message?: string } = {},
): JsonObject {
  const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? now) : now;
  return { type, status, lastTransitionTime, ...more };
}
