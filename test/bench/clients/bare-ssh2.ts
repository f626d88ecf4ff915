// The least that ssh2 can do for the same: connect, check the host key, run `true`, all connections held open.
import { readFileSync } from 'node:fs';
import pLimit from 'p-limit';
import ssh2, { type Client } from 'ssh2';
import type { Host } from '../hosts.ts';
import { tellUse } from './use.ts';

export interface BareJob {
  hosts: readonly Host[];
  user: string;
  key: string;
  /** `[address]:port` -> the public host key, base64. */
  hostKeys: Readonly<Record<string, string>>;
}

const job = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as BareJob;
const key = ssh2.utils.parseKey(readFileSync(job.key));
if (key instanceof Error) throw key;
const first: unknown = Array.isArray(key) ? key[0] : key;
if (first === undefined) throw new Error('no key');

const limit = pLimit(32);
const clients = await Promise.all(
  job.hosts.map(async (host) => {
    const client = await limit(() => connect(host));
    await runTrue(client);
    return client;
  }),
);
tellUse();
for (const client of clients) client.destroy();

function connect({ address, port }: Host): Promise<Client> {
  const expected = Buffer.from(job.hostKeys[`[${address}]:${port}`] ?? '', 'base64');
  const client = new ssh2.Client();
  return new Promise((resolve, reject) => {
    client.once('ready', () => resolve(client));
    client.on('error', reject);
    client.on('connect', () => client.setNoDelay(true));
    client.connect({
      host: address,
      port,
      username: job.user,
      readyTimeout: 0,
      keepaliveInterval: 5000,
      keepaliveCountMax: 3,
      algorithms: { kex: ['curve25519-sha256'], cipher: ['aes128-gcm@openssh.com'] },
      hostVerifier: (shown: Buffer) => shown.equals(expected),
      // The types know no parsed key here, which is how ssh2 is spared parsing it for each connection.
      authHandler: [{ type: 'publickey', username: job.user, key: first } as unknown as 'none'],
    });
  });
}

function runTrue(client: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    client.exec('true', (error, channel) => {
      if (error) {
        reject(error);
        return;
      }
      channel.on('close', (code: number) => (code === 0 ? resolve() : reject(new Error(`exit code ${code}`))));
      channel.resume();
      channel.stderr.resume();
      channel.end();
    });
  });
}
