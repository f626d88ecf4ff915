import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ApiClock } from './clock.ts';
import { apiVersionOf, type ResourceKind } from './kinds.ts';
import { timestamp, type Draft, type KubeObject } from './objects.ts';

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** One change of one object. */
export interface StoreEvent {
  type: EventType;
  kind: ResourceKind;
  object: KubeObject;
  /** What it was before; missing for ADDED. */
  previous?: KubeObject;
  resourceVersion: number;
}

/** Everything the lab's API knows: objects by kind, namespace and name, and the latest changes. */
export class Store {
  readonly #clock: ApiClock;
  readonly #historyLimit: number;
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #sorted = new WeakMap<Map<string, KubeObject>, readonly string[]>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #history: StoreEvent[] = [];
  /** Changes up to this resourceVersion are no longer remembered. */
  #trimmedTo = 0;
  #version = 1;

  constructor(clock: ApiClock, historyLimit: number) {
    this.#clock = clock;
    this.#historyLimit = historyLimit;
  }

  /** The resourceVersion of the latest change. */
  get resourceVersion(): number {
    return this.#version;
  }

  /** All objects of a kind, or those of one namespace, sorted by namespace and name. */
  list(kind: ResourceKind, namespace = ''): KubeObject[] {
    const objects = this.#of(kind);
    // Sorting is dear and names change seldom: the order is kept until one comes or goes.
    let keys = this.#sorted.get(objects);
    if (keys === undefined) this.#sorted.set(objects, (keys = [...objects.keys()].sort()));
    const wanted = namespace === '' ? keys : keys.filter((key) => key.startsWith(`${namespace}/`));
    return wanted.flatMap((key) => objects.get(key) ?? []);
  }

  get(kind: ResourceKind, namespace: string, name: string): KubeObject | undefined {
    return this.#of(kind).get(keyOf(namespace, name));
  }

  /** Gives the draft its uid, creation time and resourceVersion, and keeps it. The name must be free. */
  create(kind: ResourceKind, draft: Draft): KubeObject {
    const object = this.asCreated(kind, draft);
    this.#of(kind).set(keyOf(object.metadata.namespace ?? '', object.metadata.name), object);
    this.#sorted.delete(this.#of(kind));
    this.#emit({ type: 'ADDED', kind, object, resourceVersion: this.#version });
    return object;
  }

  /** What `create` would keep; takes the next resourceVersion. */
  asCreated(kind: ResourceKind, draft: Draft): KubeObject {
    const metadata = {
      ...draft.metadata,
      name: draft.metadata?.name ?? '',
      uid: randomUUID(),
      resourceVersion: String(++this.#version),
      ...(kind.hasGeneration ? { generation: 1 } : {}),
      creationTimestamp: timestamp(this.#clock.now()),
    };
    return { ...draft, apiVersion: apiVersionOf(kind), kind: kind.kind, metadata };
  }

  /** Replaces an object; a change that changes nothing keeps its resourceVersion and tells nobody, as real servers do. */
  replace(kind: ResourceKind, object: KubeObject): KubeObject {
    const key = keyOf(object.metadata.namespace ?? '', object.metadata.name);
    const previous = this.#of(kind).get(key);
    if (previous === undefined) throw new Error(`${kind.plural} ${key} is not in the store`);
    const version = previous.metadata.resourceVersion;
    const candidate = { ...object, metadata: { ...object.metadata, resourceVersion: version } };
    if (isDeepStrictEqual(candidate, previous)) return previous;
    const next = { ...candidate, metadata: { ...candidate.metadata, resourceVersion: String(++this.#version) } };
    this.#of(kind).set(key, next);
    this.#emit({ type: 'MODIFIED', kind, object: next, previous, resourceVersion: this.#version });
    return next;
  }

  /** Takes an object out; returns its last state, or undefined where it was gone already. */
  remove(kind: ResourceKind, namespace: string, name: string): KubeObject | undefined {
    const previous = this.get(kind, namespace, name);
    if (previous === undefined) return undefined;
    this.#of(kind).delete(keyOf(namespace, name));
    this.#sorted.delete(this.#of(kind));
    const object = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(++this.#version) } };
    this.#emit({ type: 'DELETED', kind, object, previous, resourceVersion: this.#version });
    return object;
  }

  /** Tells of every change from now on. Returns the way to stop it. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** The changes after a resourceVersion, or undefined where they are no longer all known. */
  since(resourceVersion: number): readonly StoreEvent[] | undefined {
    if (resourceVersion < this.#trimmedTo) return undefined;
    return this.#history.filter((event) => event.resourceVersion > resourceVersion);
  }

  /** Forgets all past changes, as a server does whose history was compacted. */
  forgetHistory(): void {
    this.#history = [];
    this.#trimmedTo = this.#version;
  }

  #of(kind: ResourceKind): Map<string, KubeObject> {
    const key = `${kind.group}/${kind.plural}`;
    let found = this.#objects.get(key);
    if (found === undefined) this.#objects.set(key, (found = new Map<string, KubeObject>()));
    return found;
  }

  #emit(event: StoreEvent): void {
    this.#history.push(event);
    // Trimmed in larger pieces, so that not every change copies the whole list.
    if (this.#history.length > this.#historyLimit * 1.5) {
      const dropped = this.#history.splice(0, this.#history.length - this.#historyLimit);
      this.#trimmedTo = dropped.at(-1)?.resourceVersion ?? this.#trimmedTo;
    }
    for (const listener of [...this.#listeners]) listener(event);
  }
}

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`;
