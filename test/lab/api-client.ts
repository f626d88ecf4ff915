import { request as send } from 'node:https';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi, type ApiOptions, type LabApi } from '../../src/lab/api/index.ts';
import { makePki } from '../../src/lab/pki.ts';

/** How to ask an API server: the lab's, or a real one. */
export interface Endpoint {
  url: string;
  /** PEM text; without it the certificate is not checked. */
  ca?: string;
  token?: string;
}

export interface Answer {
  code: number;
  contentType: string;
  text: string;
  /** The text as JSON; undefined where it is none. */
  json: Status;
}

/** What the tests read of a Status, or of any object. */
export interface Status {
  kind?: string;
  reason?: string;
  message?: string;
  code?: number;
  status?: unknown;
  details?: {
    name?: string;
    group?: string;
    kind?: string;
    causes?: { reason: string; message: string; field?: string }[];
  };
  metadata?: {
    name?: string;
    uid?: string;
    resourceVersion?: string;
    continue?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
    finalizers?: string[];
  };
  spec?: Record<string, unknown>;
  items?: Status[];
}

export interface Call {
  body?: unknown;
  type?: string;
  accept?: string;
}

/** One request; a body that is text goes out as it is, anything else as JSON. */
export function ask(to: Endpoint, method: string, path: string, call: Call = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const data = call.body === undefined || typeof call.body === 'string' ? call.body : JSON.stringify(call.body);
    const outgoing = send(
      new URL(path, to.url),
      { method, agent: false, ...trustOf(to), headers: headersOf(to, call, data) },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('error', reject).on('end', () => {
          const contentType = response.headers['content-type'] ?? '';
          resolve({ code: response.statusCode ?? 0, contentType, text, json: parsed(text) });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(data);
  });
}

const trustOf = ({ ca }: Endpoint): object => (ca === undefined ? { rejectUnauthorized: false } : { ca });

function headersOf(to: Endpoint, call: Call, data?: string): Record<string, string> {
  return {
    ...(to.token === undefined ? {} : { authorization: `Bearer ${to.token}` }),
    ...(call.accept === undefined ? {} : { accept: call.accept }),
    // Node.js sends no length with a DELETE by itself.
    ...(data === undefined
      ? {}
      : { 'content-type': call.type ?? 'application/json', 'content-length': String(Buffer.byteLength(data)) }),
  };
}

function parsed(text: string): Status {
  try {
    return JSON.parse(text) as Status;
  } catch {
    return {};
  }
}

export interface WatchEvent {
  type: string;
  object: Status & { rows?: { cells: unknown[] }[]; columnDefinitions?: unknown[] | null };
}

/** An open watch: its events so far, and how it ended. */
export interface OpenWatch {
  events: WatchEvent[];
  /** Settles when the stream ends: `end`, or the code of the error that broke it. */
  ended: Promise<string>;
  close(): void;
}

/** Opens a watch; resolves once the server has answered. */
export function watch(to: Endpoint, path: string, accept?: string): Promise<OpenWatch> {
  return new Promise((resolve, reject) => {
    const headers = headersOf(to, accept === undefined ? {} : { accept });
    const outgoing = send(new URL(path, to.url), { agent: false, ...trustOf(to), headers }, (response) => {
      const events: WatchEvent[] = [];
      let rest = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        const lines = (rest + part).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) events.push(JSON.parse(line) as WatchEvent);
      });
      const ended = new Promise<string>((settle) => {
        response.on('end', () => settle('end'));
        response.on('error', (error: NodeJS.ErrnoException) => settle(error.code ?? error.message));
      });
      resolve({ events, ended, close: () => outgoing.destroy() });
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

export interface LabServer {
  api: LabApi;
  endpoint: Endpoint;
  /** The file of the admin's kubeconfig, and of one for another token. */
  kubeconfig: string;
  kubeconfigOf(token: string): Promise<string>;
  folder: string;
  close(): Promise<void>;
}

/** A lab API with the user admin (token `admin-token`) and viewer (`viewer-token`). */
export async function startLabServer(options: Partial<ApiOptions> = {}): Promise<LabServer> {
  const folder = await mkdtemp(join(tmpdir(), 'kubeos-lab-api-'));
  const pki = await makePki(join(folder, 'pki'));
  const tokens = new Map([
    ['admin-token', 'admin'],
    ['viewer-token', 'viewer'],
  ]);
  const tls = { key: pki.server.key, cert: pki.server.cert, ca: pki.ca };
  const api = await startApi({ host: '127.0.0.1', tls, tokens, podStartMs: 20, podEndMs: 20, ...options });
  const kubeconfigOf = async (token: string): Promise<string> => {
    const file = join(folder, `kubeconfig-${token}`);
    await writeFile(file, api.kubeconfig(token), { mode: 0o600 });
    return file;
  };
  return {
    api,
    endpoint: { url: api.url, ca: pki.ca, token: 'admin-token' },
    kubeconfig: await kubeconfigOf('admin-token'),
    kubeconfigOf,
    folder,
    close: async () => {
      await api.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A worker node of the lab. */
export const worker = (name: string) => ({
  name,
  addresses: [{ type: 'InternalIP', address: '10.1.0.1' }],
  osImage: 'KubeOS 1.0.0',
  kernelVersion: '5.10.0',
  architecture: 'amd64',
  bootId: `boot-of-${name}`,
});
