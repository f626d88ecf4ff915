import * as z from 'zod';
import type { ClusterNode } from '../rollout/facts.ts';
import type { Clock } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { ConnectionLost, lost, open } from './http.ts';
import { nodeSchema, toClusterNode } from './node-facts.ts';
import type { ProxyAddress } from './proxy.ts';

const WATCH_SECONDS = 240;
/** The server ends a watch after WATCH_SECONDS; one that stays silent beyond it is dead. */
const SILENCE_MS = (WATCH_SECONDS + 30) * 1000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

const eventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['ADDED', 'MODIFIED', 'DELETED']), object: nodeSchema }),
  z.object({ type: z.literal('BOOKMARK'), object: z.object({ metadata: z.object({ resourceVersion: z.string() }) }) }),
  z.object({ type: z.literal('ERROR'), object: z.unknown() }),
]);

type OnChange = (nodes: ReadonlyMap<string, ClusterNode>) => void;

/** One list and watch over all nodes, for all callers; it runs while there is at least one. */
export class NodeWatch {
  private readonly api: Api;
  private readonly address: () => Promise<ProxyAddress>;
  private readonly clock: Clock;
  private readonly callers = new Set<OnChange>();
  private nodes: Map<string, ClusterNode> | undefined;
  private stopper: AbortController | undefined;
  private announcing = false;
  /** Before the next list or watch; short again as soon as a watch has brought anything. */
  private pauseMs = FIRST_PAUSE_MS;

  constructor(api: Api, address: () => Promise<ProxyAddress>, clock: Clock) {
    this.api = api;
    this.address = address;
    this.clock = clock;
  }

  /** As `Cluster.watchNodes`. */
  add(onChange: OnChange): () => void {
    // A wrapper, so that one function given twice counts twice.
    const caller: OnChange = (nodes) => onChange(nodes);
    this.callers.add(caller);
    if (this.stopper === undefined) {
      this.stopper = new AbortController();
      void this.run(this.stopper.signal);
    } else if (this.nodes !== undefined) {
      queueMicrotask(() => {
        if (this.callers.has(caller) && this.nodes !== undefined) caller(new Map(this.nodes));
      });
    }
    return () => {
      this.callers.delete(caller);
      if (this.callers.size === 0) this.stop();
    };
  }

  stop(): void {
    this.stopper?.abort();
    this.stopper = undefined;
    this.nodes = undefined;
  }

  /** Lists, then watches, for ever; every failure only costs a pause, since an API server that is away comes back. */
  private async run(signal: AbortSignal): Promise<void> {
    let version = '';
    while (!signal.aborted) {
      try {
        if (version === '') version = await this.relist(signal);
        version = await this.follow(version, signal);
      } catch (error) {
        // A cut watch goes on from where it was, an unreachable server's too; anything else begins with a fresh list.
        if (error instanceof WatchCut) version = error.version;
        else if (!(error instanceof ConnectionLost)) version = '';
      }
      await this.clock.sleep(this.pauseMs, signal).catch(() => undefined);
      this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  private async relist(signal: AbortSignal): Promise<string> {
    const list = await this.api.list({
      doing: 'read the nodes',
      path: '/api/v1/nodes',
      item: nodeSchema,
      signal,
      retryForMs: 0,
    });
    const before = this.nodes;
    this.nodes = new Map(list.items.map((node) => [node.metadata.name, toClusterNode(node)]));
    if (before === undefined || !sameNodes(before, this.nodes)) this.announce(signal);
    return list.resourceVersion;
  }

  /** Follows one watch until the server ends it; resolves to where the next one begins ('' for a fresh list). */
  private async follow(from: string, signal: AbortSignal): Promise<string> {
    const query = new URLSearchParams({
      watch: 'true',
      resourceVersion: from,
      allowWatchBookmarks: 'true',
      timeoutSeconds: String(WATCH_SECONDS),
    });
    const path = `/api/v1/nodes?${query.toString()}`;
    const message = await open(await this.address(), { method: 'GET', path, timeoutMs: SILENCE_MS, signal });
    if (message.statusCode !== 200) {
      message.destroy();
      const status = message.statusCode ?? 0;
      // Gone (410) or refused: the list will tell. A server error is no reason to list again.
      throw status >= 500 ? new ConnectionLost(`HTTP ${status}`) : new WatchCut('', `HTTP ${status}`);
    }
    let version = from;
    let rest = '';
    message.setEncoding('utf8');
    try {
      for await (const text of message) {
        const lines = (rest + (text as string)).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const next = this.apply(line, signal);
          if (next === '') return '';
          version = next;
          this.pauseMs = FIRST_PAUSE_MS;
        }
      }
    } catch (cause) {
      throw new WatchCut(version, lost(cause, signal));
    } finally {
      message.destroy();
    }
    return version;
  }

  /** Takes in one event; its resourceVersion, or '' where the watch has expired (410) or makes no sense. */
  private apply(line: string, signal: AbortSignal): string {
    const parsed = eventSchema.safeParse(parseJson(line));
    if (!parsed.success || parsed.data.type === 'ERROR') return '';
    const event = parsed.data;
    if (event.type === 'BOOKMARK') return event.object.metadata.resourceVersion;
    const { name, resourceVersion } = event.object.metadata;
    const nodes = this.nodes ?? new Map<string, ClusterNode>();
    const after = event.type === 'DELETED' ? undefined : toClusterNode(event.object);
    const changed = JSON.stringify(nodes.get(name)) !== JSON.stringify(after);
    if (after === undefined) nodes.delete(name);
    else nodes.set(name, after);
    if (changed) this.announce(signal);
    return resourceVersion;
  }

  /** Tells all callers, once for all events that arrived together. */
  private announce(signal: AbortSignal): void {
    if (this.announcing) return;
    this.announcing = true;
    setImmediate(() => {
      this.announcing = false;
      if (signal.aborted || this.nodes === undefined) return;
      const snapshot = new Map(this.nodes);
      for (const caller of [...this.callers]) if (this.callers.has(caller)) caller(snapshot);
    });
  }
}

/** A watch that broke in the middle; the next one goes on from `version`. */
class WatchCut extends Error {
  override readonly name = 'WatchCut';
  readonly version: string;
  constructor(version: string, cause: unknown) {
    super('the watch was cut', { cause });
    this.version = version;
  }
}

function sameNodes(one: ReadonlyMap<string, ClusterNode>, other: ReadonlyMap<string, ClusterNode>): boolean {
  return (
    one.size === other.size &&
    [...one].every(([name, node]) => JSON.stringify(node) === JSON.stringify(other.get(name)))
  );
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
