import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ConnectionPool } from '../../src/remote/pool.ts';
import { composeCall } from '../../src/remote/compose.ts';
import type { Running } from '../../src/remote/exec.ts';
import { SCRIPTS } from '../../src/remote/scripts/index.ts';
import type { RemoteSettings } from '../../src/remote/settings.ts';
import { clusterNode } from './remote-kit.ts';
import { LOGIN_USER, makeFolder, makeKey, Sshd, tcpServer, type SshdOptions } from './remote-sshd.ts';

// Connections that take their time. They run at the same time, since they mostly wait.

const folder = makeFolder();
const key = join(folder.dir, 'key');
const publicLine = makeKey(key);
const cleanUps: (() => unknown)[] = [];
const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };
const node = clusterNode('worker-1');
let count = 0;

afterAll(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  folder.remove();
});

type Carry = (from: Socket, to: Socket) => void;
const atOnce: Carry = (from, to) => void from.on('data', (data) => to.write(data));

/** A way to a server of its own, which carries what is sent there and back as told. */
async function connectBy(
  there: Carry,
  back: Carry,
  keepalive?: RemoteSettings['keepalive'],
  options: Partial<SshdOptions> = {},
) {
  const dir = join(folder.dir, String(++count));
  const sshd = await Sshd.start({ dir, authorizedKeys: [publicLine], ...options });
  const proxy = await tcpServer((near) => {
    const far = connect({ port: sshd.port, host: '127.0.0.1' });
    far.on('error', () => near.destroy());
    there(near, far);
    back(far, near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  const known = join(dir, 'known_hosts');
  writeFileSync(known, sshd.knownHost().replace(String(sshd.port), String(proxy.port)));
  const pool = new ConnectionPool(
    {
      sshUser: LOGIN_USER,
      sshPort: proxy.port,
      identities: [key],
      sshConfig: 'none',
      knownHosts: [known],
      acceptNewHostKeys: false,
      environment: { HOME: folder.dir, PATH: process.env['PATH'] },
      ...(keepalive !== undefined && { keepalive }),
    },
    clock,
    () => undefined,
  );
  cleanUps.push(
    () => sshd.close(),
    () => proxy.close(),
    () => pool.close(),
  );
  return pool.get(node);
}

const later =
  (ms: number): Carry =>
  (from, to) =>
    void from.on('data', (data) => setTimeout(() => to.write(data), ms));

/** At most `bytes` in a tenth of a second; what is not taken waits with the sender. */
const slowly =
  (bytes: number): Carry =>
  (from, to) => {
    from.pause();
    const timer = setInterval(() => {
      const piece: unknown = from.read(Math.min(bytes, from.readableLength));
      if (Buffer.isBuffer(piece)) to.write(piece);
    }, 100);
    from.on('readable', () => undefined);
    from.on('close', () => clearInterval(timer));
  };

describe.concurrent('a connection', () => {
  it('with two seconds to and fro signs in and carries a script, by the usual limits', async () => {
    const connection = await connectBy(later(1000), later(1000));
    const script = composeCall(`echo "$0"\n${SCRIPTS.observe.replaceAll(/^/gm, '# ')}\nmain() { echo "$1"; }`, {
      run: 'r',
    });
    expect(await connection.run('exec /bin/sh -s', script, { timeoutMs: 60_000 })).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('run=r') as unknown,
    });
  });

  // What is sent stands before each question, so that no answer comes within 2 s.
  const IMPATIENT = { intervalMs: 500, countMax: 3 };

  it('at 200 KB/s is not taken for dead while 1.6 MB go through it', async () => {
    const connection = await connectBy(slowly(20_000), atOnce, IMPATIENT);
    const { stdout } = await connection.run('wc -c', 'x'.repeat(1_600_000), { timeoutMs: 60_000 });
    expect(stdout.trim()).toBe('1600000');
  });

  it('at 100 KB/s is not taken for dead while a command that is fed much takes nothing of it', async () => {
    const connection = await connectBy(slowly(10_000), atOnce, IMPATIENT);
    const feed = async ({ channel, drained }: Running): Promise<void> => {
      channel.write('x'.repeat(350_000));
      await drained();
      channel.end();
    };
    const { stdout } = await connection.run('sleep 4; wc -c', (running) => void feed(running), { timeoutMs: 60_000 });
    expect(stdout.trim()).toBe('350000');
  });

  it('brings all that a command has said before it ended, however long that takes', async () => {
    const connection = await connectBy(atOnce, slowly(10_000));
    const { stdout, code } = await connection.run('head -c 600000 /dev/zero; exit 7', '', { timeoutMs: 60_000 });
    expect([stdout.length, code]).toEqual([600_000, 7]);
  });

  it('answers a server that asks whether it is there (ClientAliveInterval), idle and at work', async () => {
    const connection = await connectBy(
      atOnce,
      atOnce,
      { intervalMs: 60_000, countMax: 3 },
      {
        config: ['ClientAliveInterval 1', 'ClientAliveCountMax 1'],
      },
    );
    expect(await connection.run('sleep 4', '', { timeoutMs: 60_000 })).toMatchObject({ code: 0 });
    // As long without a command: the sleep is this machine's, not the connection's.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    expect(await connection.run('echo there', '', { timeoutMs: 60_000 })).toMatchObject({ stdout: 'there\n' });
  });

  it('is not ended by a keepalive that may miss no answer', async () => {
    const connection = await connectBy(later(20), later(20), { intervalMs: 200, countMax: 0 });
    expect(await connection.run('sleep 1; echo fine', '', { timeoutMs: 60_000 })).toMatchObject({ stdout: 'fine\n' });
  });

  it('agrees upon new session keys again and again, in both directions', async () => {
    const connection = await connectBy(atOnce, atOnce, undefined, { config: ['RekeyLimit 256K'] });
    const { stdout } = await connection.run('cat', 'y'.repeat(3_000_000), { timeoutMs: 60_000 });
    expect(stdout).toHaveLength(3_000_000);
  });
});
