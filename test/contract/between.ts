import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request, createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makePki } from '../../src/lab/pki.ts';

/** What is done to requests that match; nothing else is touched. */
export interface Rule {
  method: string;
  /** Of path and query. */
  path: RegExp;
  /** How many requests; it must come to them all. */
  times: number;
  /** Answered so instead of being passed on. */
  answer?: { status: number; reason: string; message: string; retryAfter?: number };
  /** Done before the request is passed on. */
  first?: () => Promise<void>;
  /** Passed on, but the connection breaks instead of the answer. */
  loseAnswer?: true;
}

/**
 * A strict little proxy between kubectl and an API server, for what a healthy server does not do on command: it passes
 * everything on as it is, except what a rule names.
 */
export class Between {
  /** How often each status was answered, by the API server or by a rule; a 410 inside a watch counts too. */
  readonly statuses = new Map<number, number>();
  kubeconfig = '';
  private readonly target: string;
  private readonly folder: string;
  private readonly rules: Rule[] = [];
  private readonly streams = new Set<{ path: string; response: ServerResponse }>();
  private readonly sockets = new Set<Socket>();
  private server: Server | undefined;
  private isDown = false;

  private constructor(target: string, folder: string) {
    this.target = target;
    this.folder = folder;
  }

  static async start(target: { url: string; token: string }): Promise<Between> {
    const between = new Between(target.url, await mkdtemp(join(tmpdir(), 'between-')));
    const { server: pair, ca } = await makePki(join(between.folder, 'pki'));
    between.server = createServer({ key: pair.key, cert: pair.cert }, (incoming, response) => {
      between.pass(incoming, response).catch(() => response.destroy());
    });
    between.server.on('connection', (socket: Socket) => {
      between.sockets.add(socket);
      socket.on('close', () => between.sockets.delete(socket));
      if (between.isDown) socket.destroy();
    });
    await new Promise<void>((resolve) => between.server!.listen(0, '127.0.0.1', resolve));
    const url = `https://127.0.0.1:${(between.server.address() as AddressInfo).port}`;
    between.kubeconfig = join(between.folder, 'kubeconfig');
    await writeFile(between.kubeconfig, kubeconfigText(url, ca, target.token), { mode: 0o600 });
    return between;
  }

  add(rule: Rule): void {
    this.rules.push({ ...rule });
  }

  /** Breaks off every answer under way to requests for this path; how many there were. */
  cut(path: RegExp): number {
    const found = [...this.streams].filter((stream) => path.test(stream.path));
    for (const { response } of found) response.destroy();
    return found.length;
  }

  /** Nobody gets through until it is up again. */
  down(isDown: boolean): void {
    this.isDown = isDown;
    if (isDown) for (const socket of this.sockets) socket.destroy();
  }

  count(status: number): number {
    return this.statuses.get(status) ?? 0;
  }

  /** Throws where a rule did not come to all its requests. */
  requireSpent(): void {
    const left = this.rules.splice(0).filter(({ times }) => times > 0);
    this.statuses.clear();
    if (left.length > 0)
      throw new Error(`never asked: ${left.map(({ method, path }) => `${method} ${path}`).join(', ')}`);
  }

  async close(): Promise<void> {
    this.down(true);
    await new Promise((resolve) => this.server?.close(resolve));
    await rm(this.folder, { recursive: true, force: true });
  }

  private async pass(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = incoming.url ?? '';
    const parts: Buffer[] = [];
    for await (const part of incoming) parts.push(part as Buffer);
    const rule = this.rules.find((one) => one.times > 0 && one.method === incoming.method && one.path.test(path));
    if (rule !== undefined) rule.times--;
    if (rule?.answer !== undefined) {
      this.note(rule.answer.status);
      refuse(response, rule.answer);
      return;
    }
    await rule?.first?.();
    const answer = await this.forward(incoming, Buffer.concat(parts));
    if (rule?.loseAnswer === true) {
      answer.resume();
      response.destroy();
      return;
    }
    this.note(answer.statusCode ?? 0);
    const stream = { path, response };
    this.streams.add(stream);
    response.on('close', () => {
      this.streams.delete(stream);
      answer.destroy();
    });
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.on('data', (part: Buffer) => {
      if (path.includes('watch=true') && part.includes('"code":410')) this.note(410);
    });
    answer.on('error', () => response.destroy());
    answer.on('aborted', () => response.destroy());
    answer.pipe(response);
  }

  private note(status: number): void {
    this.statuses.set(status, this.count(status) + 1);
  }

  private forward(incoming: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
    const headers = { ...incoming.headers };
    for (const name of ['host', 'transfer-encoding']) Reflect.deleteProperty(headers, name);
    return new Promise((resolve, reject) => {
      const sent = request(
        new URL(incoming.url ?? '', this.target),
        {
          method: incoming.method ?? 'GET',
          headers: { ...headers, ...(body.length === 0 ? {} : { 'content-length': body.length }) },
          rejectUnauthorized: false,
          agent: false,
        },
        resolve,
      );
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

function refuse(response: ServerResponse, answer: NonNullable<Rule['answer']>): void {
  const { status: code, reason, message, retryAfter } = answer;
  const more = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) };
  response.writeHead(code, { 'content-type': 'application/json', ...more });
  const details = retryAfter === undefined ? {} : { details: { retryAfterSeconds: retryAfter } };
  const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', code, reason, message, ...details };
  response.end(JSON.stringify(body));
}

const kubeconfigText = (url: string, ca: string, token: string): string => `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "${url}", certificate-authority-data: ${Buffer.from(ca).toString('base64')}}}]
users: [{name: u, user: {token: ${token}}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`;
