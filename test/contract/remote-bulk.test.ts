import { createHash, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import type { Connection } from '../../src/remote/connection.ts';
import type { Running } from '../../src/remote/exec.ts';
import { ConnectionPool } from '../../src/remote/pool.ts';
import { clusterNode } from './remote-kit.ts';
import { LOGIN_USER, makeFolder, makeKey, Sshd } from './remote-sshd.ts';

// Much data to an OpenSSH server, whose packets are written where earlier ones were.

const folder = makeFolder();
const key = join(folder.dir, 'key');
const publicLine = makeKey(key);
const cleanUps: (() => Promise<unknown>)[] = [];
const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };
const data = randomBytes(8 * 1024 * 1024);
const digest = createHash('sha256').update(data).digest('hex');
/** ssh2's packets of 32 KiB that the data fills. */
const PACKETS = data.length / (32 * 1024);
const PART_BYTES = 512 * 1024;
let count = 0;

afterEach(async () => {
  vi.restoreAllMocks();
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(() => folder.remove());

async function connectTo(serverConfig: readonly string[], clientConfig = '', jumpHost?: Sshd): Promise<Connection> {
  const dir = join(folder.dir, String(++count));
  const sshd = await Sshd.start({ dir, authorizedKeys: [publicLine], config: serverConfig });
  const known = join(dir, 'known_hosts');
  writeFileSync(known, `${sshd.knownHost()}${jumpHost?.knownHost() ?? ''}`);
  const sshConfig = join(dir, 'ssh_config');
  writeFileSync(sshConfig, `Host *\n  IdentityFile ${key}\n${clientConfig}`);
  const settings = {
    ...{ sshUser: LOGIN_USER, sshPort: sshd.port, identities: [key], sshConfig, knownHosts: [known] },
    acceptNewHostKeys: false,
    ...(jumpHost !== undefined && { jump: [{ name: '127.0.0.1', port: jumpHost.port, user: LOGIN_USER }] }),
    environment: { HOME: folder.dir, PATH: process.env['PATH'] },
  };
  const pool = new ConnectionPool(settings, clock, () => undefined);
  cleanUps.push(
    () => sshd.close(),
    () => pool.close(),
  );
  return pool.get(clusterNode('worker-1'));
}

/** As an image is sent: not more at once than what leaves. */
async function feed({ channel, drained }: Running): Promise<void> {
  for (let at = 0; at < data.length; at += PART_BYTES) {
    await new Promise((resolve) => channel.write(data.subarray(at, at + PART_BYTES), resolve));
    await drained();
  }
  channel.end();
}

/** The digest of what arrives. */
async function send(connection: Connection): Promise<string | undefined> {
  const result = await connection.run('sha256sum', (running) => void feed(running), { timeoutMs: 60_000 });
  return result.stdout.split(' ')[0];
}

describe('much data', () => {
  it.each([
    ['aes128-gcm@openssh.com'],
    ['chacha20-poly1305@openssh.com'],
    ['aes128-ctr', 'hmac-sha2-256-etm@openssh.com'],
    ['aes256-ctr', 'hmac-sha2-512'],
  ])('arrives as it was sent by %s, new keys after each MiB', async (cipher, mac = 'hmac-sha2-256') => {
    const connection = await connectTo([`Ciphers ${cipher}`, `MACs ${mac}`, 'RekeyLimit 1M']);
    expect(await send(connection)).toBe(digest);
  });

  it('arrives as it was sent through a pipe that holds less than a window', async () => {
    const connection = await connectTo([], '  ProxyCommand nc %h %p\n');
    expect([await send(connection), await send(connection)]).toEqual([digest, digest]);
  });

  it('arrives as it was sent through a jump host', async () => {
    const jumpHost = await Sshd.start({ dir: join(folder.dir, 'jump'), authorizedKeys: [publicLine] });
    cleanUps.push(() => jumpHost.close());
    const connection = await connectTo([], '', jumpHost);
    expect([await send(connection), await send(connection)]).toEqual([digest, digest]);
  });

  it('takes no fresh memory for each packet', async () => {
    const connection = await connectTo([]);
    const allocated = vi.spyOn(Buffer, 'allocUnsafe');
    expect(await send(connection)).toBe(digest);
    expect(allocated.mock.calls.filter(([bytes]) => bytes >= 32 * 1024).length).toBeLessThan(PACKETS / 2);
  });
});
