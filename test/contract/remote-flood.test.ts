import { join } from 'node:path';
import ssh2, { type Connection as ServerConnection, type ServerChannel } from 'ssh2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeKeyPair } from '../../src/lab/ssh-server.ts';
import { bundle, runForJson } from './child-program.ts';
import { makeFolder, makeKey } from './remote-sshd.ts';

// What a node answers is kept within bounds: the client is a process with a heap of 64 MiB, which would end it.

interface Outcome {
  message: string;
  reason?: string;
  step?: string;
  node?: string;
  next?: string;
  logTail?: string[];
  grownBy: number;
}

const MIB = 1024 * 1024;
const folder = makeFolder();
const cleanUps: (() => unknown)[] = [];
let program: string;

beforeAll(async () => {
  makeKey(join(folder.dir, 'key'));
  program = await bundle('flood-program', join(folder.dir, 'program'));
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

afterAll(() => folder.remove());

type Answer = (channel: ServerChannel, client: ServerConnection) => void | Promise<void>;

/** A server of a node which answers the second command, `observe`, as it likes. */
async function serve(answer: Answer): Promise<number> {
  const pair = makeKeyPair('host');
  const clients = new Set<ServerConnection>();
  const server = new ssh2.Server({ hostKeys: [pair.privateKey] }, (client) => {
    clients.add(client);
    let commands = 0;
    client.on('error', () => undefined);
    client.on('authentication', (context) => context.accept());
    client.on('session', (accept) => {
      accept().on('exec', (acceptExec) => {
        const channel = acceptExec();
        channel.on('error', () => undefined);
        channel.resume();
        if (++commands > 1) void answer(channel, client);
        else {
          channel.write('kubeos-answer:\n');
          channel.exit(0);
          channel.end();
        }
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanUps.push(() => {
    for (const client of clients) client.end();
    server.close();
  });
  return (server.address() as { port: number }).port;
}

async function observeWith(answer: Answer): Promise<Outcome> {
  const port = await serve(answer);
  const command = [process.execPath, '--max-old-space-size=64', program, folder.dir, String(port)];
  return (await runForJson(command)) as Outcome;
}

/** Writes `total` bytes, no faster than they are taken; ends early where nobody is there any more. */
async function pour(channel: ServerChannel, to: NodeJS.WritableStream, piece: Buffer, total: number): Promise<void> {
  to.on('error', () => undefined);
  const state = { gone: false };
  const gone = new Promise<void>((resolve) => channel.once('close', resolve)).then(() => (state.gone = true));
  for (let sent = 0; sent < total && !state.gone; sent += piece.length) {
    await Promise.race([gone, new Promise<void>((resolve) => void to.write(piece, () => resolve()))]);
  }
}

function end(channel: ServerChannel, code: number): void {
  channel.exit(code);
  channel.end();
}

const line = (text: string, bytes: number): Buffer => Buffer.from(`${text}${'x'.repeat(bytes - text.length - 1)}\n`);

describe('a node that answers too much, or nonsense, is a failure with its name, and memory stays bounded:', () => {
  it.each<[string, Answer, RegExp]>([
    [
      '100 MB on standard output',
      async (channel) => {
        await pour(channel, channel, Buffer.alloc(32_768, 'x'), 100 * MIB);
        end(channel, 0);
      },
      /more than 4 MiB/,
    ],
    [
      '100 MB on standard error',
      async (channel) => {
        await pour(channel, channel.stderr, Buffer.alloc(32_768, 'x'), 100 * MIB);
        end(channel, 3);
      },
      /more than 4 MiB/,
    ],
    [
      'output without end that goes on though the channel was closed',
      (channel, client) => {
        const { outgoing } = channel as unknown as { outgoing: { id: number } };
        const { _protocol: protocol, _sock: socket } = client as unknown as {
          _protocol: { channelData: (id: number, data: Buffer) => void };
          _sock: NodeJS.WritableStream & { writableNeedDrain: boolean };
        };
        const more = (): void => {
          while (socket.writable && !socket.writableNeedDrain) protocol.channelData(outgoing.id, Buffer.alloc(32_000));
        };
        socket.on('drain', more);
        more();
      },
      /more than 4 MiB/,
    ],
    [
      'lines of 64 KiB',
      async (channel) => {
        channel.write('kubeos-answer:\n');
        await pour(channel, channel, line('boot_id=', 65_536), 3 * MIB);
        end(channel, 0);
      },
      /its answer to observe is not understood/,
    ],
    [
      'one key a million times',
      async (channel) => {
        channel.write('kubeos-answer:\n');
        await pour(channel, channel, Buffer.from('a=\n'.repeat(10_000)), 3 * MIB);
        end(channel, 0);
      },
      /its answer to observe is not understood/,
    ],
    [
      'bytes that are no UTF-8, and NULs',
      async (channel) => {
        channel.write('kubeos-answer:\n');
        await pour(channel, channel, Buffer.from('boot_id=\0\u001b[2J\xff\xfe\xc0\x80\n', 'latin1'), 100_000);
        end(channel, 0);
      },
      /its answer to observe is not understood/,
    ],
    [
      'nonsense before a failure',
      async (channel) => {
        await pour(
          channel,
          channel.stderr,
          Buffer.from('\0\xff\xfe\u0007 http://user:secret@host/\n', 'latin1'),
          100_000,
        );
        channel.write('kubeos-answer:\n');
        end(channel, 17);
      },
      /could not be downloaded/,
    ],
    [
      'nothing, and reads nothing any more',
      (_channel, client) => void (client as unknown as { _sock: NodeJS.ReadableStream })._sock.pause(),
      /lost/,
    ],
  ])('%s', async (_what, answer, message) => {
    const outcome = await observeWith(answer);
    expect(outcome).toMatchObject({ node: 'worker-1', step: 'observe' });
    expect(outcome.message).toMatch(message);
    expect(outcome.next).toBeTruthy();
    const shown = JSON.stringify(outcome);
    expect(shown).not.toMatch(/\\u00|secret/);
    expect(shown.length).toBeLessThan(200_000);
    expect(outcome.grownBy).toBeLessThan(96 * MIB);
  });
});
