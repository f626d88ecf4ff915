import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { timingSafeEqual } from 'node:crypto';
import type { LabGate, Passing } from '../gate.ts';
import type { Core } from './core.ts';
import { type Request, readRequest } from './requests.ts';
import { route, type Reply } from './router.ts';
import { ApiError, PageNotFound, unauthorized } from './status-errors.ts';
import type { Watches } from './watches.ts';

export interface Listening {
  host: string;
  /** 0: any free one, the same again after a pause. */
  port: number;
  tls: { key: string; cert: string };
  /** Bearer token to user. */
  tokens: ReadonlyMap<string, string>;
  /** Where every request stops. */
  gate: LabGate | undefined;
}

/** The HTTPS side of the lab's API: who asks, and how an answer or a refusal is written. */
export class ApiServer {
  readonly #core: Core;
  readonly #watches: Watches;
  readonly #options: Listening;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #port: number;

  constructor(core: Core, watches: Watches, options: Listening) {
    this.#core = core;
    this.#watches = watches;
    this.#options = options;
    this.#port = options.port;
    this.#server = createServer({ ...options.tls, minVersion: 'TLSv1.2' }, (incoming, response) => {
      void this.#answer(incoming, response);
    });
    // A connection closed while its client sends the next request would look like a failed write.
    this.#server.keepAliveTimeout = 0;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    const { host } = this.#options;
    return `https://${host.includes(':') ? `[${host}]` : host}:${this.#port}`;
  }

  /** Listens; the second time on the same port. Rejects where the port is taken. */
  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#port, this.#options.host, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and breaks every connection off: new ones are refused. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const user = this.#userOf(incoming.headers.authorization);
      const request = await readRequest(incoming, user);
      if (!(await this.#enters(request))) {
        response.destroy();
        return;
      }
      const reply = route(this.#core, this.#watches, request, response);
      if (reply === undefined) return;
      await this.#options.gate?.leave(passing(request));
      send(response, reply);
    } catch (error) {
      incoming.resume();
      if (!response.headersSent) send(response, refusal(error));
      else response.destroy();
    }
  }

  async #enters(request: Request): Promise<boolean> {
    return this.#options.gate === undefined || (await this.#options.gate.enter(passing(request)));
  }

  #userOf(authorization: string | undefined): string {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1];
    if (token === undefined) throw unauthorized();
    for (const [known, user] of this.#options.tokens) if (isSame(known, token)) return user;
    throw unauthorized();
  }
}

const passing = ({ method, path, body }: Request): Passing => ({
  kind: 'request',
  ...{ method, path, body: body.toString() },
});

function isSame(known: string, given: string): boolean {
  const [a, b] = [Buffer.from(known), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function send(response: ServerResponse, { code, contentType, body }: Reply): void {
  response.writeHead(code, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-cache, private',
  });
  response.end(body);
}

function refusal(error: unknown): Reply {
  if (error instanceof PageNotFound) {
    return { code: 404, contentType: 'text/plain; charset=utf-8', body: '404 page not found\n' };
  }
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(
          500,
          'InternalError',
          `Internal error occurred: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
        );
  return { code: known.code, contentType: 'application/json', body: `${JSON.stringify(known.body)}\n` };
}
