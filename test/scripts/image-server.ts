import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import { type ServerOptions, createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export type Answering = (request: IncomingMessage, response: ServerResponse) => void;

export interface ImageServer {
  /** Without a slash at the end. */
  url: string;
  /** Method and Range of each request, as `GET bytes=0-`. */
  requests: string[];
  close: () => Promise<void>;
}

/** A server on the loopback that answers each request as told. */
export async function serve(answer: Answering, tls?: ServerOptions): Promise<ImageServer> {
  const requests: string[] = [];
  const handle: Answering = (request, response) => {
    requests.push(`${request.method ?? ''} ${request.headers.range ?? ''}`.trim());
    answer(request, response);
  };
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Serves one file with HEAD and ranges, as an ordinary web server does. */
export function file(name: string): Answering {
  return (request, response) => {
    void sendFile(name, request, response);
  };
}

async function sendFile(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { size } = await stat(name);
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const start = range === null ? 0 : Number(range[1]);
  const end = range?.[2] === undefined || range[2] === '' ? size - 1 : Math.min(Number(range[2]), size - 1);
  if (start >= size) {
    response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
    return;
  }
  response.writeHead(range === null ? 200 : 206, {
    'Content-Length': end - start + 1,
    'Accept-Ranges': 'bytes',
    ...(range !== null && { 'Content-Range': `bytes ${start}-${end}/${size}` }),
  });
  if (request.method === 'HEAD') response.end();
  else createReadStream(name, { start, end }).pipe(response);
}
