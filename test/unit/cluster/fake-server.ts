import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../../src/rollout/ports.ts';
import type { ProxyAddress } from '../../../src/cluster/proxy.ts';

export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  host: string;
  body: unknown;
}

export type Answer = (seen: Seen, response: ServerResponse) => void;

/** An HTTP server on a Unix socket that answers as it is told, one answer a request, the last one for ever. */
export class FakeServer {
  readonly seen: Seen[] = [];
  private readonly answers: Answer[];
  private readonly folder: string;
  private readonly server = createServer((request, response) => void this.serve(request, response));
  private readonly agent = new Agent({ keepAlive: true });

  private constructor(folder: string, answers: Answer[]) {
    this.folder = folder;
    this.answers = answers;
  }

  static async start(answers: Answer[]): Promise<FakeServer> {
    const fake = new FakeServer(await mkdtemp(join(tmpdir(), 'fake-')), answers);
    await new Promise<void>((resolve) => fake.server.listen(join(fake.folder, 's'), resolve));
    return fake;
  }

  readonly address = (): Promise<ProxyAddress> =>
    Promise.resolve({ socketPath: join(this.folder, 's'), agent: this.agent });

  async stop(): Promise<void> {
    this.agent.destroy();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    await rm(this.folder, { recursive: true, force: true });
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const part of request) text += String(part);
    const url = new URL(request.url ?? '', 'http://localhost');
    const seen: Seen = {
      method: request.method ?? '',
      path: url.pathname,
      query: url.searchParams,
      host: request.headers.host ?? '',
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.seen.push(seen);
    const answer = this.answers.length > 1 ? this.answers.shift() : this.answers[0];
    answer?.(seen, response);
  }
}

export const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Answer =>
  (_seen, response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));

/** As the API server refuses: a metav1.Status. */
export const refusal = (code: number, reason: string, message: string, headers?: Record<string, string>): Answer =>
  json(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message }, headers);

/** As kubectl proxy answers where it cannot reach the API server. */
export const text =
  (status: number, body: string): Answer =>
  (_seen, response) =>
    void response.writeHead(status, { 'content-type': 'text/plain' }).end(body);

export const hangUp: Answer = (_seen, response) => void response.destroy();

/** A clock that is told how long it slept and never waits. */
export function quickClock(): Clock & { slept: number[] } {
  let now = 1_700_000_000_000;
  const slept: number[] = [];
  return {
    slept,
    now: () => now,
    async sleep(ms, signal) {
      signal?.throwIfAborted();
      slept.push(ms);
      now += ms;
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    },
  };
}
