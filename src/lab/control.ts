import { createConnection, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { rm } from 'node:fs/promises';
import * as z from 'zod';
import { KubeosError, PreflightError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { FAULT_KINDS } from './faults.ts';
import type { Lab } from './lab.ts';

const kind = z.enum(FAULT_KINDS);

/** One line of JSON each way, over a Unix socket that only the lab's owner can open. */
const requestSchema = z.discriminatedUnion('do', [
  z.strictObject({ do: z.literal('status') }),
  z.strictObject({ do: z.literal('fault'), node: z.string(), kind }),
  z.strictObject({ do: z.literal('clear'), node: z.string(), kind: kind.optional() }),
  z.strictObject({ do: z.literal('stop') }),
]);

export type ControlRequest = z.infer<typeof requestSchema>;

const nodeSchema = z.object({
  name: z.string(),
  state: z.enum(['up', 'booting', 'down']),
  message: z.string().optional(),
  slot: z.enum(['A', 'B']).optional(),
  trial: z.boolean().optional(),
  version: z.string().optional(),
  ssh: z.string(),
  faults: z.array(z.string()),
});
const replySchema = z.object({
  error: z.string().optional(),
  next: z.string().optional(),
  nodes: z.array(nodeSchema).optional(),
});

/** What the lab answers: its nodes as they stand after the request. */
export type ControlledNode = z.infer<typeof nodeSchema>;

/** A Unix socket's path has at most 107 bytes on Linux (unix(7)). */
const MAX_SOCKET_PATH = 107;
const MAX_REQUEST_BYTES = 4096;
const ANSWER_TIMEOUT_MS = 30_000;

/** Throws a PreflightError where the folder's name is too long for the lab's socket. */
export function assertSocketFits(socketPath: string): void {
  if (Buffer.byteLength(socketPath) <= MAX_SOCKET_PATH) return;
  throw new PreflightError("the name of the lab's folder is too long", {
    reason: `its socket would be ${socketPath}, and Linux allows ${MAX_SOCKET_PATH} bytes`,
    next: 'choose a shorter one: --dir /tmp/lab',
  });
}

/** Takes requests until `close` is called. `stop` is called when somebody asks for the lab's end. */
export async function serveControl(
  socketPath: string,
  lab: Lab,
  stop: () => Promise<void>,
): Promise<{ close(): Promise<void> }> {
  await rm(socketPath, { force: true });
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    void readLine(socket)
      .then((line) => obey(lab, requestSchema.parse(JSON.parse(line)), stop))
      .catch((error: unknown) => ({
        error: error instanceof Error ? error.message : String(error),
        ...(error instanceof KubeosError && error.next !== undefined ? { next: error.next } : {}),
      }))
      .then((reply) => socket.end(`${JSON.stringify(reply)}\n`));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, resolve);
  });
  return { close: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** Asks a running lab. Rejects with a KubeosError where it refuses or does not answer. */
export async function askLab(socketPath: string, request: ControlRequest): Promise<readonly ControlledNode[]> {
  const socket = createConnection(socketPath);
  const timer = setTimeout(() => socket.destroy(new Error('no answer')), ANSWER_TIMEOUT_MS);
  try {
    socket.write(`${JSON.stringify(request)}\n`);
    const { nodes, error, next } = replySchema.parse(JSON.parse(await readLine(socket)));
    if (error === undefined) return nodes ?? [];
    throw new PreflightError(error, next === undefined ? {} : { next });
  } catch (error) {
    if (error instanceof KubeosError) throw error;
    throw new KubeosError('the lab does not answer', EXIT.unreachable, {
      reason: error instanceof Error ? error.message : String(error),
      next: 'look at lab.log in its folder; kubeos lab stop ends what is left of it',
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

async function obey(
  lab: Lab,
  request: ControlRequest,
  stop: () => Promise<void>,
): Promise<z.input<typeof replySchema>> {
  switch (request.do) {
    case 'status':
      break;
    case 'fault':
      await lab.setFault(request.node, request.kind);
      break;
    case 'clear':
      await lab.clearFault(request.node, request.kind);
      break;
    case 'stop':
      await stop();
      return {};
  }
  return { nodes: lab.status().nodes.map((node) => ({ ...node, faults: [...node.faults] })) };
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > MAX_REQUEST_BYTES * 1024) reject(new Error('the message has no end'));
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}
