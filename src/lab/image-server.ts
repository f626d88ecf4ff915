import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import http, { type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { Server, Socket } from 'node:net';
import path from 'node:path';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientEnd } from './client-node.ts';
import type { Pki } from './pki.ts';

/** How one download is to go wrong. */
export interface DownloadFault {
  corrupt?: boolean;
  /** Cut the connection half-way through what was asked for. */
  cut?: boolean;
  bytesPerSecond?: number;
}

export interface ImageServerOptions {
  /** The folder whose plain files are served; nothing below or above it. */
  folder: string;
  pki: Pki;
  /** 127.0.0.1 unless told. */
  address?: string;
  /** Asked once for every download, with the client's end of the connection; a look at the first bytes is none. */
  faultFor?: (client: ClientEnd) => Promise<DownloadFault | undefined>;
}

export interface ImageServer {
  /** Addresses without a slash at the end: plain, with TLS, and with TLS that wants a client certificate. */
  readonly urls: { readonly http: string; readonly https: string; readonly mtls: string };
  close(): Promise<void>;
}

interface Range {
  start: number;
  /** The last byte, counted. */
  end: number;
}

/** As much as is looked at before a slot is written while the image arrives. */
const LOOK_BYTES = 256 * 1024;
const isLook = (range: Range | undefined): boolean => range?.start === 0 && range.end < LOOK_BYTES;

/** Serves a folder of images over http, https and mTLS: GET and HEAD, one byte range, ETag, If-Range. */
export async function startImageServer(options: ImageServerOptions): Promise<ImageServer> {
  const address = options.address ?? '127.0.0.1';
  const { server, ca } = options.pki;
  const tls = { key: server.key, cert: server.cert, minVersion: 'TLSv1.2' as const };
  const serve: RequestListener = (request, response) => {
    answer(options, request, response).catch(() => response.destroy());
  };
  const servers: Server[] = [
    http.createServer(serve),
    https.createServer(tls, serve),
    https.createServer({ ...tls, ca, requestCert: true, rejectUnauthorized: true }, serve),
  ];
  const sockets = new Set<Socket>();
  const [plain, secure, mutual] = await Promise.all(servers.map((one) => listen(one, address, sockets)));
  return {
    urls: { http: `http://${plain ?? ''}`, https: `https://${secure ?? ''}`, mtls: `https://${mutual ?? ''}` },
    close: async () => {
      const closed = servers.map((one) => new Promise((resolve) => one.close(resolve)));
      for (const socket of sockets) socket.destroy();
      await Promise.all(closed);
    },
  };
}

async function listen(server: Server, address: string, sockets: Set<Socket>): Promise<string> {
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, address, resolve);
  });
  const bound = server.address();
  return `${address}:${typeof bound === 'object' && bound !== null ? bound.port : 0}`;
}

async function answer(options: ImageServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = await servedFile(options.folder, request.url ?? '/');
  if (request.method !== 'GET' && request.method !== 'HEAD') refuse(response, 405, { allow: 'GET, HEAD' });
  else if (file === undefined) refuse(response, 404);
  else await serveFile(options, file, request, response);
}

async function serveFile(
  options: ImageServerOptions,
  file: ServedFile,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const range = rangeOf(request, file);
  if (range === 'unsatisfiable') {
    refuse(response, 416, { 'content-range': `bytes */${file.size}` });
    return;
  }
  const part = range ?? { start: 0, end: file.size - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    'accept-ranges': 'bytes',
    'content-length': part.end - part.start + 1,
    'content-type': 'application/octet-stream',
    etag: file.etag,
    ...(range === undefined ? {} : { 'content-range': `bytes ${part.start}-${part.end}/${file.size}` }),
  });
  if (request.method === 'HEAD' || file.size === 0) {
    response.end();
    return;
  }
  const fault = isLook(range) ? undefined : await options.faultFor?.(clientEnd(request.socket));
  await send(file, part, response, fault ?? {});
}

const clientEnd = ({ remoteAddress = '', remotePort = 0, localPort = 0 }: Socket): ClientEnd => ({
  address: remoteAddress,
  port: remotePort,
  serverPort: localPort,
});

async function send(file: ServedFile, range: Range, response: ServerResponse, fault: DownloadFault): Promise<void> {
  const end = fault.cut === true ? range.start + Math.floor((range.end - range.start) / 2) : range.end;
  const source = createReadStream(file.path, { start: range.start, end });
  const spoiler = new Spoiler(fault, Math.max(0, Math.floor(file.size / 2) - range.start));
  if (fault.cut !== true) {
    await pipeline(source, spoiler, response);
    return;
  }
  await pipeline(source, spoiler, response, { end: false });
  await new Promise<void>((resolve) => response.write('', () => resolve()));
  response.socket?.destroySoon();
}

/** Slows a stream down and changes one byte of it. */
class Spoiler extends Transform {
  readonly #fault: DownloadFault;
  #untilSpoiled: number;

  constructor(fault: DownloadFault, spoilAt: number) {
    super();
    this.#fault = fault;
    this.#untilSpoiled = spoilAt;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const at = this.#untilSpoiled;
    this.#untilSpoiled -= chunk.length;
    if (this.#fault.corrupt === true && at >= 0 && at < chunk.length) chunk[at] = (chunk[at] ?? 0) ^ 0xff;
    const perSecond = this.#fault.bytesPerSecond;
    if (perSecond === undefined) {
      done(null, chunk);
      return;
    }
    void sleep((chunk.length / perSecond) * 1000).then(() => done(null, chunk));
  }
}

interface ServedFile {
  path: string;
  size: number;
  etag: string;
}

async function servedFile(folder: string, url: string): Promise<ServedFile | undefined> {
  const name = /^\/([\w.-]+)(?:\?.*)?$/.exec(url)?.[1];
  if (name === undefined || name.startsWith('.')) return undefined;
  const file = path.join(folder, name);
  const facts = await stat(file).catch(() => undefined);
  if (facts?.isFile() !== true) return undefined;
  return {
    path: file,
    size: facts.size,
    etag: `"${facts.size.toString(16)}-${Math.floor(facts.mtimeMs).toString(16)}"`,
  };
}

/** The range of a request (RFC 9110, section 14); undefined where the whole file is to be sent. */
function rangeOf(request: IncomingMessage, file: ServedFile): Range | 'unsatisfiable' | undefined {
  const condition = request.headers['if-range'];
  if (condition !== undefined && condition !== file.etag) return undefined;
  const match = /^bytes=(?:(?<first>\d+)-(?<last>\d*)|-(?<suffix>\d+))$/.exec(request.headers.range ?? '');
  if (match?.groups === undefined) return undefined;
  const { first, last, suffix } = match.groups as Record<string, string | undefined>;
  const start = first === undefined ? Math.max(0, file.size - Number(suffix)) : Number(first);
  const end = last === undefined || last === '' ? file.size - 1 : Math.min(Number(last), file.size - 1);
  return start > end ? 'unsatisfiable' : { start, end };
}

function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-length': 0, ...headers }).end();
}
