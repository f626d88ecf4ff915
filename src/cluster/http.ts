import { request, type Agent, type IncomingMessage } from 'node:http';

export interface HttpCall {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH';
  /** Path and query. */
  path: string;
  body?: unknown;
  contentType?: string;
  /** Without a byte for this long the connection counts as dead. */
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface HttpAnswer {
  status: number;
  retryAfterSeconds: number | undefined;
  /** When the server answered, on its own clock: milliseconds since 1970; undefined where it does not say. */
  dateMs: number | undefined;
  body: string;
}

/** The connection to the proxy, or the proxy's to the API server, broke. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

/** One HTTP exchange over the proxy's socket. Rejects with ConnectionLost, or with the signal's reason. */
export async function exchange(to: { socketPath: string; agent: Agent }, call: HttpCall): Promise<HttpAnswer> {
  const message = await open(to, call);
  const body = await readAll(message, call);
  const dateMs = Date.parse(message.headers.date ?? '');
  const retryAfter = Number(message.headers['retry-after']);
  return {
    status: message.statusCode ?? 0,
    retryAfterSeconds: Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : undefined,
    dateMs: Number.isFinite(dateMs) ? dateMs : undefined,
    body,
  };
}

/** Sends the call and resolves with the answer's head; the body is still to be read. */
export function open(to: { socketPath: string; agent: Agent }, call: HttpCall): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const data = call.body === undefined ? undefined : Buffer.from(JSON.stringify(call.body));
    const sent = request({
      socketPath: to.socketPath,
      agent: to.agent,
      method: call.method,
      path: call.path,
      timeout: call.timeoutMs,
      // kubectl proxy answers 403 to any other host name (its --accept-hosts).
      headers: {
        host: 'localhost',
        accept: 'application/json',
        ...(data === undefined
          ? {}
          : { 'content-type': call.contentType ?? 'application/json', 'content-length': data.length }),
      },
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    });
    sent.once('timeout', () => sent.destroy(new ConnectionLost(`no answer for ${call.timeoutMs / 1000} s`)));
    sent.once('response', resolve);
    sent.on('error', (cause) => reject(lost(cause, call.signal)));
    sent.end(data);
  });
}

async function readAll(message: IncomingMessage, call: HttpCall): Promise<string> {
  const parts: Buffer[] = [];
  try {
    for await (const part of message) parts.push(part as Buffer);
  } catch (cause) {
    throw lost(cause, call.signal);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** What a broken exchange rejects with: the abort's own reason where there was one. */
export function lost(cause: unknown, signal: AbortSignal | undefined): Error {
  if (signal?.aborted === true && signal.reason instanceof Error) return signal.reason;
  if (cause instanceof ConnectionLost) return cause;
  return new ConnectionLost(cause instanceof Error ? cause.message : String(cause), { cause });
}
