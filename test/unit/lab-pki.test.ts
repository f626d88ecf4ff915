import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePki, type KeyPair, type Pki } from '../../src/lab/pki.ts';

let dir: string;
let pki: Pki;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kubeos-pki-'));
  pki = await makePki(join(dir, 'pki'), ['10.1.0.1', 'images.lab']);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

/** The status that an https server with this certificate, which demands a client certificate, answers; or the error's code. */
async function ask(server: KeyPair, client?: KeyPair): Promise<string> {
  const listener = createServer({ ...server, ca: pki.ca, requestCert: true, rejectUnauthorized: true }, (_, res) => {
    res.end('ok');
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  try {
    return await new Promise((resolve) => {
      const identity = client === undefined ? {} : { key: client.key, cert: client.cert };
      request({ host: '127.0.0.1', port, ca: pki.ca, agent: false, ...identity }, (res) => {
        res.resume();
        resolve(String(res.statusCode));
      })
        .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
        .end();
    });
  } finally {
    listener.close();
  }
}

describe("the lab's certificates", () => {
  it('serve https to a client that trusts the CA and has a certificate of it', async () => {
    expect(await ask(pki.server, pki.client)).toBe('200');
  });

  it('refuse a client without a certificate', async () => {
    expect(await ask(pki.server)).not.toBe('200');
  });

  it('name the local addresses and the ones given', () => {
    const names = new X509Certificate(pki.server.cert).subjectAltName;
    for (const name of ['IP Address:127.0.0.1', 'DNS:localhost', 'IP Address:10.1.0.1', 'DNS:images.lab']) {
      expect(names).toContain(name);
    }
    expect(names).toContain('0:0:0:0:0:0:0:1');
  });

  it('can be expired on demand, for a server and for a client', async () => {
    const [server, client] = await Promise.all([
      pki.issue({ name: 'old-server', purpose: 'server', addresses: ['127.0.0.1'], expired: true }),
      pki.issue({ name: 'old-client', purpose: 'client', expired: true }),
    ]);
    expect(Date.parse(new X509Certificate(server.cert).validTo)).toBeLessThan(Date.now());
    expect(await ask(server, pki.client)).toBe('CERT_HAS_EXPIRED');
    expect(await ask(pki.server, client)).not.toBe('200');
  });

  it('keep private keys to their owner', async () => {
    for (const file of [pki.server.keyFile, pki.client.keyFile, join(dir, 'pki', 'ca.key')]) {
      expect((await stat(file)).mode & 0o777).toBe(0o600);
    }
  });
});
