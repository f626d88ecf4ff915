import http, { type IncomingMessage, type OutgoingHttpHeaders, type RequestOptions } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import tls, { type SecureContextOptions } from 'node:tls';
import { FetchFault, faultOf, faultOfStatus } from './fault.ts';

/** Where an image is, and how this machine may ask for it. */
export interface Place {
  url: string;
  /** Without it, only https is asked, and nothing leads from https to http in any case. */
  flagSafe: boolean;
  /** The certificates that the spec names; the system's authorities count where they are missing. */
  certificates: SecureContextOptions;
  /** The URL of the proxy; the environment's are never used. */
  proxy?: string;
  /** Milliseconds without a byte after which a request is given up. */
  stallMs: number;
}

const MAX_REDIRECTS = 3;
const REDIRECTS: ReadonlySet<number | undefined> = new Set([301, 302, 303, 307, 308]);

/**
 * Asks once, follows redirects, and resolves to an answer of 200 or 206, its body unread.
 * @throws FetchFault, or the signal's reason
 */
export async function ask(
  place: Place,
  method: 'GET' | 'HEAD',
  headers: OutgoingHttpHeaders,
  signal?: AbortSignal,
): Promise<IncomingMessage> {
  let url = new URL(place.url);
  const secure = url.protocol === 'https:';
  if (!secure && !place.flagSafe) throw new FetchFault('http needs flagSafe: true', { hopeless: true });
  for (let redirects = 0; ; redirects++) {
    const response = await askOnce(place, url, { method, headers }, signal);
    const { statusCode = 0 } = response;
    if (statusCode === 200 || statusCode === 206) return response;
    response.destroy();
    const { location } = response.headers;
    if (!REDIRECTS.has(statusCode) || location === undefined) throw faultOfStatus(statusCode);
    if (redirects === MAX_REDIRECTS) throw new FetchFault('too many redirects', { hopeless: true, ofServer: true });
    url = placeAfter(url, location, secure);
  }
}

function placeAfter(url: URL, location: string, secure: boolean): URL {
  const next = URL.canParse(location, url.href) ? new URL(location, url.href) : undefined;
  const allowed = next?.protocol === 'https:' || (next?.protocol === 'http:' && !secure);
  if (next === undefined || !allowed) {
    const words = 'a redirect leads to a protocol that is not allowed (https never leads to http)';
    throw new FetchFault(words, { hopeless: true, ofServer: true });
  }
  if (next.origin === url.origin && next.username === '') [next.username, next.password] = [url.username, url.password];
  return next;
}

async function askOnce(
  place: Place,
  url: URL,
  { method, headers }: { method: string; headers: OutgoingHttpHeaders },
  signal: AbortSignal | undefined,
): Promise<IncomingMessage> {
  const { username, password } = url;
  const options: RequestOptions = {
    ...{ method, agent: false, timeout: place.stallMs },
    headers: { ...headers, 'User-Agent': 'kubeos', 'Accept-Encoding': 'identity', Connection: 'close' },
    ...(username === '' ? {} : { auth: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` }),
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    return await answerOf(await requestTo(place, url, options, signal), signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw faultOf(error, false);
  }
}

async function requestTo(
  place: Place,
  url: URL,
  options: RequestOptions,
  signal: AbortSignal | undefined,
): Promise<http.ClientRequest> {
  // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
  const trust = { ...place.certificates, rejectUnauthorized: true, minVersion: 'TLSv1.2' as const };
  const isSecure = url.protocol === 'https:';
  if (place.proxy === undefined) {
    return isSecure ? https.request(url, { ...options, ...trust }) : http.request(url, options);
  }
  const proxy = new URL(place.proxy);
  if (!isSecure) {
    const plain = new URL(url.href);
    [plain.username, plain.password] = ['', ''];
    const headers = { ...(options.headers as OutgoingHttpHeaders), Host: url.host, ...proxyLogin(proxy) };
    return http.request({ ...options, ...addressOf(proxy), path: plain.href, headers });
  }
  const socket = await tunnel(proxy, url, place.stallMs, signal);
  const servername = /^[\d.]+$|:/.test(url.hostname) ? '' : url.hostname;
  const host = url.hostname.replaceAll(/^\[|\]$/g, '');
  const connect = (): Socket => tls.connect({ ...trust, socket, host, ...(servername === '' ? {} : { servername }) });
  // Any agent, be it `false`, would make a connection of its own, in plain HTTP and past the proxy.
  const ofTunnel = { ...options, agent: undefined, createConnection: connect };
  return http.request(url.href.replace(/^https:/, 'http:'), ofTunnel);
}

const addressOf = (proxy: URL): RequestOptions => ({
  host: proxy.hostname.replaceAll(/^\[|\]$/g, ''),
  port: proxy.port === '' ? 80 : Number(proxy.port),
});

function proxyLogin({ username, password }: URL): OutgoingHttpHeaders {
  if (username === '') return {};
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(login).toString('base64')}` };
}

/** A connection to the server through the proxy (RFC 9110, 9.3.6). */
function tunnel(proxy: URL, url: URL, stallMs: number, signal: AbortSignal | undefined): Promise<Socket> {
  const words = 'the proxy cannot be reached, or lets nobody through';
  return new Promise((resolve, reject) => {
    const target = `${url.hostname}:${url.port === '' ? '443' : url.port}`;
    const request = http.request({
      ...addressOf(proxy),
      ...{ method: 'CONNECT', path: target, agent: false, timeout: stallMs },
      headers: { Host: target, ...proxyLogin(proxy) },
      ...(signal === undefined ? {} : { signal }),
    });
    request.once('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new FetchFault(`${words} (HTTP ${String(statusCode)})`));
    });
    request.once('timeout', () => request.destroy(new FetchFault(words)));
    request.once('response', (response) => {
      response.destroy();
      reject(new FetchFault(words));
    });
    request.once('error', (error) => reject(new FetchFault(words, { cause: error })));
    request.end();
  });
}

function answerOf(request: http.ClientRequest, signal: AbortSignal | undefined): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let answer: IncomingMessage | undefined;
    request.once('response', (response) => resolve((answer = response)));
    // A body that stalls ends as one that breaks off, with its own words.
    request.once('timeout', () => {
      (answer ?? request).destroy(
        new FetchFault(`${answer === undefined ? 'no answer' : 'nothing came'} for a minute`),
      );
    });
    request.on('error', (error) => reject((signal?.aborted === true ? signal.reason : error) as Error));
    request.end();
  });
}
