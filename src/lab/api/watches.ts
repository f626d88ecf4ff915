import type { ServerResponse } from 'node:http';
import type { Core } from './core.ts';
import { apiVersionOf, type ResourceKind } from './kinds.ts';
import type { KubeObject } from './objects.ts';
import type { Matcher } from './selectors.ts';
import { ApiError, expired } from './status-errors.ts';
import type { EventType, StoreEvent } from './store.ts';

export interface WatchRequest {
  kind: ResourceKind;
  version: string;
  namespace: string;
  matches: Matcher;
  /** Empty or `0`: begin with what is there. */
  resourceVersion: string;
  bookmarks: boolean;
  /** Undefined: half an hour. */
  timeoutMs: number | undefined;
  /** An object as the client wants it: as it is, or as a Table. */
  render(object: KubeObject, first: boolean): object;
}

const DEFAULT_TIMEOUT_MS = 30 * 60_000;

/** The watches that are open, so that the lab can cut them and let them expire. */
export class Watches {
  readonly #core: Core;
  readonly #bookmarkMs: number;
  readonly #open = new Set<OpenWatch>();

  constructor(core: Core, bookmarkMs: number) {
    this.#core = core;
    this.#bookmarkMs = bookmarkMs;
  }

  get count(): number {
    return this.#open.size;
  }

  /** Answers with a stream of events until the time is up or the client leaves. Throws ApiError before the first. */
  serve(request: WatchRequest, response: ServerResponse): void {
    const watch = new OpenWatch(this.#core, request, response, this.#bookmarkMs);
    this.#open.add(watch);
    response.on('close', () => {
      watch.end();
      this.#open.delete(watch);
    });
    watch.begin();
  }

  /** Breaks every watch off in the middle, as a lost connection does. */
  cut(): void {
    for (const watch of this.#open) watch.cut();
  }

  /** Ends every watch with 410 Gone and forgets the past, so that none can carry on from where it was. */
  expire(): void {
    this.#core.store.forgetHistory();
    for (const watch of this.#open) watch.expire();
  }
}

class OpenWatch {
  readonly #core: Core;
  readonly #request: WatchRequest;
  readonly #response: ServerResponse;
  readonly #bookmarkMs: number;
  readonly #stops: (() => void)[] = [];
  #first = true;

  constructor(core: Core, request: WatchRequest, response: ServerResponse, bookmarkMs: number) {
    this.#core = core;
    this.#request = request;
    this.#response = response;
    this.#bookmarkMs = bookmarkMs;
  }

  begin(): void {
    const { resourceVersion, timeoutMs } = this.#request;
    const from = startOf(resourceVersion);
    const past = from === undefined ? [] : this.#core.store.since(from);
    this.#response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    // Without this the head would wait for the first event, and with it the client.
    this.#response.flushHeaders();
    if (past === undefined) {
      this.#fail(expired(`too old resource version: ${resourceVersion} (${this.#core.store.resourceVersion})`));
      return;
    }
    if (from === undefined) this.#sendPresent();
    for (const event of past) this.#onEvent(event);
    this.#stops.push(this.#core.store.subscribe((event) => this.#onEvent(event)));
    this.#stops.push(this.#core.clock.later(timeoutMs ?? DEFAULT_TIMEOUT_MS, () => this.#timeOut()));
    this.#keepBookmarking();
  }

  end(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  cut(): void {
    this.end();
    this.#response.destroy();
  }

  expire(): void {
    this.#fail(expired('The resourceVersion for the provided watch is too old.'));
  }

  #sendPresent(): void {
    const { kind, namespace, matches } = this.#request;
    for (const object of this.#core.store.list(kind, namespace)) if (matches(object)) this.#send('ADDED', object);
  }

  /** An object that begins or ceases to match appears and disappears, as on a real server. */
  #onEvent({ type, kind, object, previous }: StoreEvent): void {
    const { kind: wanted, namespace, matches } = this.#request;
    if (kind !== wanted || (namespace !== '' && object.metadata.namespace !== namespace)) return;
    const was = previous !== undefined && matches(previous);
    const is = type !== 'DELETED' && matches(object);
    if (is) this.#send(was ? 'MODIFIED' : 'ADDED', object);
    else if (was)
      this.#send('DELETED', {
        ...previous,
        metadata: { ...previous.metadata, resourceVersion: object.metadata.resourceVersion },
      });
  }

  #send(type: EventType, object: KubeObject): void {
    const shown = { ...object, apiVersion: apiVersionOf(this.#request.kind, this.#request.version) };
    this.#write({ type, object: this.#request.render(shown, this.#first) });
    this.#first = false;
  }

  #keepBookmarking(): void {
    if (!this.#request.bookmarks) return;
    const stop = this.#core.clock.later(this.#bookmarkMs, () => {
      this.#bookmark();
      this.#keepBookmarking();
    });
    this.#stops.push(stop);
  }

  #bookmark(): void {
    const { kind, version } = this.#request;
    const metadata = { resourceVersion: String(this.#core.store.resourceVersion), creationTimestamp: null };
    this.#write({ type: 'BOOKMARK', object: { kind: kind.kind, apiVersion: apiVersionOf(kind, version), metadata } });
  }

  #timeOut(): void {
    if (this.#request.bookmarks) this.#bookmark();
    this.end();
    this.#response.end();
  }

  #fail(error: ApiError): void {
    this.end();
    this.#write({ type: 'ERROR', object: error.body });
    this.#response.end();
  }

  #write(event: object): void {
    if (!this.#response.writableEnded) this.#response.write(`${JSON.stringify(event)}\n`);
  }
}

/** Undefined where the watch begins with what is there. Seen on v1.34.4: a word that is no number is a 500. */
function startOf(resourceVersion: string): number | undefined {
  if (resourceVersion === '' || resourceVersion === '0') return undefined;
  if (!/^\d+$/.test(resourceVersion)) {
    const why = `strconv.ParseUint: parsing ${JSON.stringify(resourceVersion)}: invalid syntax`;
    throw new ApiError(500, '', `resourceVersion: Invalid value: ${JSON.stringify(resourceVersion)}: ${why}`);
  }
  return Number(resourceVersion);
}
