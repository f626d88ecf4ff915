import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { KubeosError, UsageError } from '../../../src/errors.ts';
import { makePki, type Pki } from '../../../src/lab/pki.ts';
import { sha256OfFile } from '../../../src/lab/system-image.ts';
import { LocalImages } from '../../../src/local/images/index.ts';
import type { Clock, DiskArtifact } from '../../../src/rollout/ports.ts';
import { BAD_SERVERS, certificatesOf } from '../../scripts/bad-servers.ts';
import { file, serve, type Answering, type ImageServer } from '../../scripts/image-server.ts';

const BYTES = 1024 * 1024;
const never = new AbortController().signal;
/** Real time, but no long waits. */
const clock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => setTimeout(Math.min(ms, 10), undefined, signal === undefined ? {} : { signal }),
};

let dir: string;
let image: string;
let bytes: Buffer;
let sha256: string;
let pki: Pki;
let certificates: ReturnType<typeof certificatesOf>;
let cache: string;
let runs = 0;
const servers: ImageServer[] = [];

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'kubeos-images-'));
  image = path.join(dir, 'update.img');
  bytes = randomBytes(BYTES);
  await writeFile(image, bytes);
  sha256 = await sha256OfFile(image);
  pki = await makePki(path.join(dir, 'pki'));
  certificates = certificatesOf(pki, await makePki(path.join(dir, 'strangers')));
});

beforeEach(() => {
  runs += 1;
  cache = path.join(dir, `cache-${runs}`);
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

afterAll(() => rm(dir, { recursive: true, force: true }));

async function compressed(): Promise<Buffer> {
  return promisify(gzip)(bytes);
}

async function start(answer: Answering, tls?: Parameters<typeof serve>[1]): Promise<ImageServer> {
  const server = await serve(answer, tls);
  servers.push(server);
  return server;
}

/** A proxy that makes tunnels, or refuses with another status; what it was asked for is kept. */
async function startTunnel(status: number): Promise<{ host: string; seen: string[] }> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  const proxy = createServer((_, response) => response.writeHead(500).end());
  proxy.on('connect', ({ method, url = '', headers }, client: Socket) => {
    seen.push([method, url, 'for', headers.host, 'by', headers['proxy-authorization']].join(' '));
    const { hostname, port } = new URL(`tunnel://${url}`);
    const server = connect(Number(port), hostname);
    for (const socket of [client, server]) sockets.add(socket.on('error', () => undefined));
    client.write(`HTTP/1.1 ${status} so\r\n\r\n`);
    if (status === 200) client.pipe(server).pipe(client);
    else client.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      proxy.close(() => resolve());
      for (const socket of sockets) socket.destroy();
    });
  const host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  servers.push({ url: `http://${host}`, requests: seen, close });
  return { host, seen };
}

const images = (stallMs = 60_000): LocalImages =>
  new LocalImages({ certsDir: path.join(dir, 'pki'), env: { XDG_CACHE_HOME: cache }, clock, stallMs });
const artifact = (url: string, more: Partial<DiskArtifact> = {}): DiskArtifact => ({
  ...{ url, sha256, flagSafe: true, ...more },
});
const fetched = (url: string, more: Partial<DiskArtifact> = {}, stallMs?: number) =>
  images(stallMs).fetch(artifact(url, more), () => undefined, never);
const folder = (): string => path.join(cache, 'kubeos/artifacts');
const failure = async (work: Promise<unknown>): Promise<KubeosError> => {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(KubeosError);
  return error as KubeosError;
};

describe('by this machine, an image', () => {
  it.each(BAD_SERVERS)('from $name: arrives whole, or the failure says what it was', async (bad) => {
    const insecure = await start(file(image));
    const tls = bad.certificate === undefined ? undefined : await certificates(bad.certificate);
    const { url } = await start(bad.answer(bytes, `${insecure.url}/update.img`), tls);
    const secure = bad.certificate === undefined ? {} : { cacert: 'ca.crt', flagSafe: false };
    const work = fetched(`${url}/update.img`, secure, bad.stalls === true ? 500 : undefined);
    if (bad.words === undefined) {
      expect(await sha256OfFile((await work).file)).toBe(sha256);
    } else {
      const { reason } = await failure(work);
      expect(reason).toContain(typeof bad.words === 'string' ? bad.words : bad.words.kubeos);
      expect((await readdir(folder())).includes(sha256)).toBe(false);
    }
    expect(insecure.requests).toEqual([]);
  });

  it('goes on where a run that was killed had stopped, and asks for no byte twice', async () => {
    const asked: (string | undefined)[] = [];
    const answer: Answering = (request, response) => {
      if (request.method === 'GET') asked.push(request.headers.range);
      file(image)(request, response);
    };
    const { url } = await start(answer);
    await fetched(url);
    await rm(path.join(folder(), sha256));
    await writeFile(path.join(folder(), `${sha256}.part`), bytes.subarray(0, 400_000));
    // Of a process that has died; another has its number by now.
    await writeFile(path.join(folder(), `${sha256}.lock`), String(process.pid));
    await fetched(url);
    expect(asked).toEqual([undefined, 'bytes=400000-']);
    expect(await readdir(folder())).toEqual([sha256]);
  });

  it('is waited for where another process that lives fetches it', async () => {
    const server = await start(file(image));
    await mkdir(folder(), { recursive: true });
    const lock = path.join(folder(), `${sha256}.lock`);
    await writeFile(lock, '');
    let looks = 0;
    const patient: Clock = {
      now: () => Date.now(),
      sleep: async () => {
        looks += 1;
        if (looks % 10 === 0) await utimes(lock, looks, looks);
        if (looks < 200) return;
        expect(server.requests).toEqual([]);
        await rm(lock);
      },
    };
    const one = new LocalImages({ env: { XDG_CACHE_HOME: cache }, clock: patient });
    await one.fetch(artifact(server.url), () => undefined, never);
    expect(looks).toBe(200);
  });

  it('is fetched once for all who ask, and then not at all; nobody else may read it', async () => {
    const server = await start(file(image));
    const one = images();
    const progress: number[] = [];
    const all = await Promise.all(
      [1, 2, 3].map(() => one.fetch(artifact(server.url), ({ doneBytes }) => progress.push(doneBytes), never)),
    );
    expect(new Set(all.map(({ file: name }) => name)).size).toBe(1);
    expect(progress.at(-1)).toBe(BYTES);
    const { length } = server.requests;
    await fetched(server.url);
    expect(server.requests).toHaveLength(length);
    expect((await stat(path.join(folder(), sha256))).mode & 0o777).toBe(0o600);
    expect((await stat(folder())).mode & 0o777).toBe(0o700);
  });

  it('that was damaged where it is kept is fetched anew', async () => {
    const { url } = await start(file(image));
    const { file: kept } = await fetched(url);
    await truncate(kept, 1000);
    await fetched(url);
    expect(await sha256OfFile(kept)).toBe(sha256);
  });

  it('takes the place of those that were not used for longest, and of what is old', async () => {
    const { url } = await start(file(image));
    await fetched(url);
    const names = ['a', 'b', 'c'].map((digit) => digit.repeat(64));
    for (const [index, name] of names.entries()) {
      await writeFile(path.join(folder(), name), 'x');
      await utimes(path.join(folder(), name), new Date(), new Date(Date.now() - index * 60_000));
    }
    await writeFile(path.join(folder(), `${'d'.repeat(64)}.part`), 'x');
    await utimes(path.join(folder(), `${'d'.repeat(64)}.part`), 1, 1);
    await writeFile(path.join(folder(), 'of-somebody-else'), 'x');
    await rm(path.join(folder(), sha256));
    await fetched(url);
    expect((await readdir(folder())).sort()).toEqual([names[0], names[1], sha256, 'of-somebody-else'].sort());
  });

  it('comes with the client’s certificate, where the server wants one', async () => {
    const { url } = await start(file(image), await certificates('mutual'));
    const mutual = { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'client.key', flagSafe: false };
    expect((await fetched(url, mutual)).bytes).toBe(BYTES);
  });

  it('comes by no proxy but the one that was given', async () => {
    const seen: string[] = [];
    const proxy = await start((request, response) => {
      seen.push(request.url ?? '');
      file(image)(request, response);
    });
    process.env['http_proxy'] = 'http://127.0.0.1:1';
    try {
      await fetched((await start(file(image))).url);
    } finally {
      delete process.env['http_proxy'];
    }
    expect(seen).toEqual([]);
    await rm(folder(), { recursive: true });
    await fetched('http://images.invalid/a.img', { proxy: proxy.url });
    expect(new Set(seen)).toEqual(new Set(['http://images.invalid/a.img']));
  });

  describe('by https through a proxy', () => {
    const ofServer = { cacert: 'ca.crt', flagSafe: false };

    it('comes through a tunnel, of whose end the certificate is checked', async () => {
      const proxy = await startTunnel(200);
      const server = await start(file(image), await certificates('good'));
      const at = `http://${encodeURIComponent('me@home')}:hidden@${proxy.host}`;
      expect((await fetched(`${server.url}/a.img`, { ...ofServer, proxy: at })).bytes).toBe(BYTES);
      const login = `Basic ${Buffer.from('me@home:hidden').toString('base64')}`;
      const target = new URL(server.url).host;
      expect(new Set(proxy.seen)).toEqual(new Set([`CONNECT ${target} for ${target} by ${login}`]));

      const stranger = await start(file(image), await certificates('strange'));
      const other = fetched(`${stranger.url}/a.img`, { ...ofServer, proxy: at, sha256: 'f'.repeat(64) });
      const { reason } = await failure(other);
      expect(reason).toContain('the certificate of the server is not signed by cacert');
      expect(stranger.requests).toEqual([]);
      expect(reason).not.toContain('hidden');
    });

    it('does not come where the proxy lets nobody through, which is said', async () => {
      const proxy = await startTunnel(407);
      const server = await start(file(image), await certificates('good'));
      const { reason } = await failure(fetched(server.url, { ...ofServer, proxy: `http://${proxy.host}` }));
      expect(reason).toContain('the proxy cannot be reached, or lets nobody through (HTTP 407)');
      expect(server.requests).toEqual([]);
    });
  });

  it('is not fetched without the certificates, and the one that is missing is named', async () => {
    const one = new LocalImages({ env: { XDG_CACHE_HOME: cache }, clock });
    const asked = artifact('https://127.0.0.1/a.img', { cacert: 'ca.crt' });
    await expect(one.checkCertificates(asked)).rejects.toThrow(UsageError);
    const other = images().checkCertificates({ ...asked, clientkey: 'none.key' });
    await expect(other).rejects.toThrow('none.key, which the spec names, cannot be read');
  });

  it('ends where the run is stopped, and keeps what it has', async () => {
    const stop = new AbortController();
    const { url } = await start((request, response) => {
      if (request.method === 'HEAD') file(image)(request, response);
      else response.writeHead(200, { 'Content-Length': BYTES }).write(bytes.subarray(0, 500_000));
    });
    const reason = new Error('stop');
    const work = images().fetch(
      artifact(url),
      ({ doneBytes }) => doneBytes > 100_000 && stop.abort(reason),
      stop.signal,
    );
    await expect(work).rejects.toBe(reason);
    const part = await readFile(path.join(folder(), `${sha256}.part`));
    expect(part.equals(bytes.subarray(0, part.length))).toBe(true);
    expect(part.length).toBeGreaterThan(0);
  });

  it('is looked at by its first bytes', async () => {
    const { url } = await start(file(image));
    expect(await images().look(artifact(url))).toEqual({ sizeBytes: BYTES, ranges: true, content: 'unknown' });
    const gone = await start((_, response) => response.writeHead(404).end());
    expect(await images().look(artifact(gone.url))).toMatchObject({ blame: 'server' });
    expect(await images().look(artifact('http://127.0.0.1:1/a'))).toMatchObject({ blame: 'way' });
  });
});

describe('an image that nodes cannot decompress', () => {
  it('is decompressed here once, kept beside, made anew where that is damaged, and goes with the image', async () => {
    const packed = path.join(dir, 'update.img.gz');
    await writeFile(packed, await compressed());
    const of = { sha256: await sha256OfFile(packed), decompress: 'gzip' as const };
    const { url } = await start(file(packed));
    const data = path.join(folder(), `${of.sha256}.data`);
    for (const spoil of [false, true]) {
      if (spoil) await writeFile(data, 'x');
      expect(await fetched(url, of)).toEqual({ file: data, bytes: BYTES, sha256 });
      expect(await sha256OfFile(data)).toBe(sha256);
    }
    expect((await fetched(url, { sha256: of.sha256 })).sha256).toBe(of.sha256);
  });

  it('which the tool does not take is told in its words, and nothing is kept of it', async () => {
    const { url } = await start(file(image));
    const error = await failure(fetched(url, { decompress: 'gzip' }));
    expect([error.message, error.reason]).toEqual([
      'this machine cannot decompress the image with gzip',
      expect.stringContaining('not in gzip format'),
    ]);
    expect(await readdir(folder())).toEqual([sha256]);
  });
});
