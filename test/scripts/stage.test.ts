import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { type Pki, makePki } from '../../src/lab/pki.ts';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import { type Answering, type ImageServer, file, serve } from './image-server.ts';
import { copyNode } from './kill.ts';
import { type Answer, MIB, type Node, SHELLS, makeBin, makeImage, makeNode, makeYard, toolPath } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
let image: string;
let sha256: string;
let pki: Pki;
let template: Node;
let node: Node;
let nodes = 0;
const servers: ImageServer[] = [];
const AT_ONCE = '#!/bin/sh\nexit 0\n';

beforeAll(async () => {
  yard = await makeYard();
  image = path.join(yard.dir, 'update.img');
  await writeFile(image, randomBytes(MIB));
  sha256 = await sha256OfFile(image);
  pki = await makePki(path.join(yard.dir, 'pki'));
  // The arguments of curl are kept: no secret may be among them.
  const curl = `#!/bin/sh\necho "$*" >>"$KUBEOS_LAB_NODE/state/curl-arguments"\nexec ${await toolPath('curl')} "$@"\n`;
  const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash', { sleep: AT_ONCE, curl });
  const system: SystemImage = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
  template = await makeNode(yard.dir, bin, system, { slotBytes: 2 * MIB });
  const { key } = await pki.issue({ name: 'other', purpose: 'client' });
  const expired = await pki.issue({ name: 'past', purpose: 'client', expired: true });
  const certificates = {
    'ca.crt': pki.ca,
    'client.crt': pki.client.cert,
    'client.key': pki.client.key,
    'other.key': key,
    'past.crt': expired.cert,
    'past.key': expired.key,
    'words.crt': 'not a certificate\n',
    'empty.crt': '',
  };
  for (const [name, text] of Object.entries(certificates)) {
    await writeFile(path.join(template.machine.root, 'etc/KubeOS/certs', name), text);
  }
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await yard.remove();
});

beforeEach(async () => {
  nodes += 1;
  node = await copyNode(template, path.join(yard.dir, `copy-${nodes}`));
});

async function start(answer: Answering, tls?: ServerOptions): Promise<ImageServer> {
  const server = await serve(answer, tls);
  servers.push(server);
  return server;
}

async function stage(url: string, more: ScriptArguments = {}): Promise<Answer> {
  return node.run('stage', { url, sha256, flagsafe: true, ...more });
}

const tls = (pair: { key: string; cert: string }): ServerOptions => ({ key: pair.key, cert: pair.cert });
const update = (name: string): string => path.join(node.machine.root, 'persist/KubeOS-Update', name);
const syslog = (): Promise<string> => readFile(path.join(node.machine.root, 'var/log/messages'), 'utf8');
const put = async (name: string, text: string | Buffer): Promise<void> => {
  await writeFile(name, text);
  await handOver(node.machine.root, node.machine.identity);
};

describe('the address', () => {
  it('is refused where it is http without flagSafe, with a line in the syslog and no request', async () => {
    const server = await start(file(image));
    const answer = await stage(`${server.url}/update.img`, { flagsafe: false });
    expect(answer.ended).toBe('insecure-address');
    expect(server.requests).toEqual([]);
    expect(await syslog()).toContain('the address is insecure');
  });

  it.each(['ftp://127.0.0.1/x', 'file:///etc/passwd', 'https://', 'x'])('%s is refused', async (url) => {
    expect((await stage(url)).ended).toBe('bad-call');
  });

  it('may hold secrets, which stand in no argument, no log and no message', async () => {
    const { port } = new URL((await start((_, response) => response.writeHead(403).end())).url);
    const answer = await stage(`http://me:hidden@127.0.0.1:${port}/a.img?signature=hidden"x\\y`);
    expect(answer).toMatchObject({ ended: 'download-failed' });
    expect(answer.stderr).toContain(`http://127.0.0.1:${port}/a.img: the server refuses the request (HTTP 403)`);
    const seen = [answer.stderr, answer.stdout, await syslog()];
    seen.push(await readFile(path.join(node.machine.stateDir, 'curl-arguments'), 'utf8'));
    for (const text of seen) expect(text).not.toMatch(/hidden|client\.key/);
  });
});

describe('the disk', () => {
  it('that did not take what was forced to it on the way is told of, though a later flush hears nothing of it', async () => {
    const big = path.join(yard.dir, 'big.img');
    await writeFile(big, Buffer.alloc(40 * MIB));
    const told = path.join(node.machine.stateDir, 'sync-told');
    const sync = await toolPath('sync');
    const failing = `#!/bin/sh
case "$*" in *.part) if [ ! -e '${told}' ]; then : >'${told}'; exit 1; fi ;; esac
exec ${sync} "$@"
`;
    node.bin = await makeBin(path.join(yard.dir, 'bin-failing-sync'), 'dash', { sync: failing });
    const server = await start((request, response) => {
      if (request.method === 'HEAD') {
        file(big)(request, response);
        return;
      }
      response.writeHead(200, { 'content-length': 40 * MIB });
      response.write(Buffer.alloc(36 * MIB));
      const waiting = setInterval(() => {
        if (!existsSync(told)) return;
        clearInterval(waiting);
        response.end(Buffer.alloc(4 * MIB));
      }, 20);
    });
    const answer = await stage(`${server.url}/update.img`, { sha256: await sha256OfFile(big) });
    expect(answer.ended).toBe('state');
    expect(answer.stderr).toContain('update.img.part to the disk');
    expect(existsSync(update('update.img'))).toBe(false);
    expect((await stage(`${server.url}/update.img`, { sha256: await sha256OfFile(big) })).ended).toBe('ok');
  });
});

describe('the address in messages', () => {
  it.each([
    ['http://me:hid@den@host:8080/a.img?x=1', 'http://host:8080/a.img is http'],
    ['http://host/at@home/a.img', 'http://host/at@home/a.img is http'],
    ['http://me@host', 'http://host is http'],
  ])('%s', async (url, shown) => {
    const answer = await stage(url, { flagsafe: false });
    expect(answer.ended).toBe('insecure-address');
    expect(answer.stderr).toContain(`insecure: ${shown}`);
  });
});

describe('certificates', () => {
  it.each([
    ['no cacert', {}, 'https needs cacert'],
    ['a cacert that is not there', { cacert: 'none.crt' }, '/etc/KubeOS/certs/none.crt is not on the node'],
    ['a cacert that is none', { cacert: 'words.crt' }, 'is not a PEM certificate'],
    ['an empty cacert', { cacert: 'empty.crt' }, 'cannot be read, or is empty'],
    ['a folder', { cacert: '.' }, 'malformed argument: cacert'],
    ['a client certificate alone', { cacert: 'ca.crt', clientcert: 'client.crt' }, 'mTLS needs both'],
    ['an expired one', { cacert: 'ca.crt', clientcert: 'past.crt', clientkey: 'past.key' }, 'has expired: notAfter='],
    ['a key of another', { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'other.key' }, 'does not belong to'],
    ['a key that is none', { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'ca.crt' }, 'is not a private key'],
    ['a way out of the folder', { cacert: '../../passwd' }, 'malformed argument: cacert'],
  ])('%s: refused before any request', async (_, certificates, words) => {
    const server = await start(file(image), tls(pki.server));
    const answer = await stage(`${server.url}/update.img`, certificates);
    expect(answer.stderr).toContain(words);
    expect(answer.ended).toBe(words.startsWith('malformed') ? 'bad-call' : 'certificate');
    expect(server.requests).toEqual([]);
  });

  it('let a good server in, and the node into a server that asks for its certificate', async () => {
    const plain = await start(file(image), tls(pki.server));
    expect((await stage(`${plain.url}/update.img`, { cacert: 'ca.crt', flagsafe: false })).ended).toBe('ok');
    await rm(update('update.img'));
    const mutual = await start(file(image), { ...tls(pki.server), ca: pki.ca, requestCert: true });
    expect((await stage(mutual.url, { cacert: 'ca.crt' })).ended).toBe('download-failed');
    const all = { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'client.key' };
    expect((await stage(mutual.url, all)).ended).toBe('ok');
  });
});

describe('the download', () => {
  it.each(SHELLS)('is resumed after a cut, under %s', async (shell) => {
    node.bin = await makeBin(path.join(yard.dir, `bin-${shell}`), shell, { sleep: AT_ONCE });
    let cuts = 2;
    const server = await start((request, response) => {
      if (request.method === 'GET' && cuts > 0) {
        cuts -= 1;
        const from = Number(/\d+/.exec(request.headers.range ?? '0')?.[0]);
        void readFile(image).then((bytes) => {
          response.writeHead(from === 0 ? 200 : 206, {
            'Content-Length': bytes.length - from,
            ...(from > 0 && { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
          });
          response.write(bytes.subarray(from, from + 200_000), () => response.socket?.end());
        });
      } else file(image)(request, response);
    });
    const answer = await stage(server.url);
    expect(answer).toMatchObject({ ended: 'ok', values: { bytes: String(MIB) } });
    expect(server.requests).toEqual([
      'HEAD',
      'GET',
      expect.stringMatching(/^GET bytes=[1-9]/),
      expect.stringMatching(/^GET bytes=[1-9]/),
    ]);
    expect(await sha256OfFile(update('update.img'))).toBe(sha256);
  });

  it('is done once: the same again asks for nothing', async () => {
    const server = await start(file(image));
    await stage(server.url);
    const before = server.requests.length;
    expect(await stage(server.url)).toMatchObject({ ended: 'ok', values: { bytes: String(MIB) } });
    expect(server.requests).toHaveLength(before);
    // In doubt the file is hashed again: the same bytes are kept, others are fetched anew.
    await utimes(update('update.img'), 1, 1);
    expect((await stage(server.url)).ended).toBe('ok');
    expect(server.requests).toHaveLength(before);
    await put(update('update.img'), randomBytes(MIB));
    await utimes(update('update.img'), 2, 2);
    expect((await stage(server.url)).ended).toBe('ok');
    expect(server.requests.length).toBeGreaterThan(before);
    expect(await sha256OfFile(update('update.img'))).toBe(sha256);
  });

  it('goes on where an earlier run stopped, and throws the part of another image away', async () => {
    const server = await start(file(image));
    const half = (await readFile(image)).subarray(0, MIB / 2);
    await node.must('claim');
    await put(path.join(node.machine.root, 'persist/kubeos/part'), sha256);
    await stage('http://127.0.0.1:1/none');
    await put(update('update.img.part'), half);
    await stage(server.url);
    expect(server.requests).toEqual(['HEAD', `GET bytes=${MIB / 2}-`]);

    await rm(update('update.img'));
    await put(path.join(node.machine.root, 'persist/kubeos/part'), 'f'.repeat(64));
    await put(update('update.img.part'), half);
    expect((await stage(server.url)).ended).toBe('ok');
    expect(server.requests.slice(2)).toEqual(['HEAD', 'GET']);
  });

  it('begins anew where the server has no ranges, or where the pieces do not fit together', async () => {
    const server = await start((request, response) => {
      delete request.headers.range;
      file(image)(request, response);
    });
    for (const part of [(await readFile(image)).subarray(0, 1000), randomBytes(1000)]) {
      await node.must('claim');
      await stage('http://127.0.0.1:1/none');
      await put(path.join(node.machine.root, 'persist/kubeos/part'), sha256);
      await put(update('update.img.part'), part);
      expect((await stage(server.url)).ended).toBe('ok');
      await rm(update('update.img'));
    }
    await put(path.join(node.machine.root, 'persist/kubeos/part'), sha256);
    await put(update('update.img.part'), randomBytes(1000));
    expect((await stage((await start(file(image))).url)).ended).toBe('ok');
  });

  it('learns the size from a range where HEAD is refused', async () => {
    const server = await start((request, response) => {
      if (request.method === 'HEAD') response.writeHead(405).end();
      else file(image)(request, response);
    });
    expect((await stage(server.url)).ended).toBe('ok');
    expect(server.requests).toEqual(['HEAD', 'GET bytes=0-0', 'GET']);
  });

  it('of another image is a checksum mismatch that names both, and leaves nothing behind', async () => {
    const answer = await stage((await start(file(image))).url, { sha256: 'a'.repeat(64) });
    expect(answer.ended).toBe('checksum-mismatch');
    expect(answer.stderr).toContain(`the SHA-256 is ${sha256}, the spec says ${'a'.repeat(64)}`);
    await expect(readFile(update('update.img.part'))).rejects.toThrow('ENOENT');
  });

  it('is refused where /persist has no room', async () => {
    await mkdir(path.join(node.machine.stateDir, 'faults'));
    await writeFile(path.join(node.machine.stateDir, 'faults/disk-full'), '');
    const answer = await stage((await start(file(image))).url);
    expect(answer.ended).toBe('no-space');
  });

  it('from a server that is not there is given up after a few tries', async () => {
    const answer = await stage('http://127.0.0.1:1/update.img');
    expect(answer.ended).toBe('download-failed');
    expect(answer.stderr).toContain('the server refuses the connection, or cannot be reached');
  });
});
