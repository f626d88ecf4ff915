import { syncBudgets } from './budgets.ts';
import type { Core } from './core.ts';
import { deleteObject } from './deletes.ts';
import { Kubelet, type PodTimings } from './kubelet.ts';
import { syncNodes } from './node-lifecycle.ts';
import type { KubeObject } from './objects.ts';
import { syncReplicas } from './replicas.ts';
import { schedulePods } from './scheduling.ts';

/** Kinds whose changes no controller waits for. */
const QUIET: ReadonlySet<string> = new Set(['leases', 'events', 'os']);

/** The lab's controller manager, scheduler and kubelets: after every change, all of them look at everything again. */
export class Controllers {
  readonly #core: Core;
  readonly #kubelet: Kubelet;
  readonly #unsubscribe: () => void;
  #cancel: (() => void) | undefined;

  constructor(core: Core, timings: PodTimings) {
    this.#core = core;
    this.#kubelet = new Kubelet(core, timings);
    this.#unsubscribe = core.store.subscribe(({ kind }) => {
      if (!QUIET.has(kind.plural)) this.#soon();
    });
  }

  /** Whether nothing more will change by itself: every pod runs where it can, every deleted one is gone. */
  get settled(): boolean {
    return this.#cancel === undefined && this.#kubelet.idle;
  }

  stop(): void {
    this.#unsubscribe();
    this.#cancel?.();
    this.#kubelet.stop();
  }

  #soon(): void {
    this.#cancel ??= this.#core.clock.later(0, () => {
      this.#cancel = undefined;
      this.#sync();
    });
  }

  #sync(): void {
    collectGarbage(this.#core);
    syncNodes(this.#core);
    syncReplicas(this.#core);
    schedulePods(this.#core);
    syncBudgets(this.#core);
    this.#kubelet.sync();
  }
}

/** Removes what only objects own that are gone; owners of a kind that the lab does not serve are left out. */
function collectGarbage(core: Core): void {
  const kinds = new Set(core.catalog.kinds.map((kind) => kind.kind));
  const all = core.catalog.kinds.flatMap((kind) => core.store.list(kind).map((object) => ({ kind, object })));
  const living = new Set(all.map(({ object }) => object.metadata.uid));
  for (const { kind, object } of all) {
    const owners = (object.metadata.ownerReferences ?? []).filter((owner) => kinds.has(owner.kind));
    if (owners.length === 0 || owners.some((owner) => living.has(owner.uid)) || isEnding(object)) continue;
    const target = { kind, namespace: object.metadata.namespace ?? '', name: object.metadata.name };
    deleteObject(core, target, { dryRun: false, propagationPolicy: '', preconditions: {} });
  }
}

const isEnding = (object: KubeObject): boolean => object.metadata.deletionTimestamp !== undefined;
