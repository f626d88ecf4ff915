import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type DownloadFault, type ImageServer, startImageServer } from '../../src/lab/image-server.ts';
import { type Pki, makePki } from '../../src/lab/pki.ts';

const IMAGE = randomBytes(300_000);
let folder: string;
let pki: Pki;
let server: ImageServer;
let faults: DownloadFault[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'kubeos-images-'));
  await mkdir(path.join(folder, 'images'));
  await writeFile(path.join(folder, 'images/update.img'), IMAGE);
  await writeFile(path.join(folder, 'secret'), 'secret');
  pki = await makePki(path.join(folder, 'pki'));
  server = await startImageServer({
    folder: path.join(folder, 'images'),
    pki,
    faultFor: () => Promise.resolve(faults.shift()),
  });
});

beforeEach(() => {
  faults = [];
});

afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  code: number;
  body: Buffer;
}

/** What curl ends with, and what it printed. */
async function curl(...args: string[]): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 } as const;
    execFile('curl', ['-sS', '-f', '--disable', ...args], options, (error, body) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, body });
    });
  });
}

const client = (): string[] => ['--cert', pki.client.certFile, '--key', pki.client.keyFile];

describe('the image server', () => {
  it('serves the image over http, https and mTLS', async () => {
    for (const args of [
      [`${server.urls.http}/update.img`],
      ['--cacert', pki.caFile, `${server.urls.https}/update.img`],
      ['--cacert', pki.caFile, ...client(), `${server.urls.mtls}/update.img`],
    ]) {
      const { code, body } = await curl(...args);
      expect([code, body.equals(IMAGE)]).toEqual([0, true]);
    }
  });

  it('wants a certificate of its own CA for mTLS', async () => {
    const { code } = await curl('--cacert', pki.caFile, `${server.urls.mtls}/update.img`);
    expect([35, 56]).toContain(code);
  });

  it('says the size and the tag to HEAD', async () => {
    const { body } = await curl('--head', `${server.urls.http}/update.img`);
    expect(body.toString().toLowerCase()).toContain(`content-length: ${IMAGE.length}\r\n`);
    expect(body.toString().toLowerCase()).toMatch(/etag: "[0-9a-f]+-[0-9a-f]+"/);
  });

  it.each([
    { range: '0-0', from: 0, to: 1 },
    { range: '1000-', from: 1000, to: IMAGE.length },
    { range: '-10', from: IMAGE.length - 10, to: IMAGE.length },
    { range: '5-99999999', from: 5, to: IMAGE.length },
  ])('serves the range $range', async ({ range, from, to }) => {
    const { body } = await curl('--range', range, `${server.urls.http}/update.img`);
    expect(body.equals(IMAGE.subarray(from, to))).toBe(true);
  });

  it.each([
    { what: 'a range beyond the end', args: ['--range', '99999999-'], url: '/update.img' },
    { what: 'another method', args: ['-X', 'DELETE'], url: '/update.img' },
    { what: 'a file that is not there', args: [], url: '/other.img' },
    { what: 'a file outside', args: ['--path-as-is'], url: '/../secret' },
  ])('refuses $what', async ({ args, url }) => {
    expect((await curl(...args, server.urls.http + url)).code).toBe(22);
  });
});

describe('a fault of the image server', () => {
  it('changes one byte', async () => {
    faults = [{ corrupt: true }];
    const { code, body } = await curl(`${server.urls.http}/update.img`);
    const different = [...body.entries()].filter(([index, byte]) => byte !== IMAGE[index]);
    expect([code, different.length]).toEqual([0, 1]);
  });

  it('cuts half-way, so that the rest can be resumed', async () => {
    faults = [{ cut: true }];
    const out = path.join(folder, 'part');
    expect((await curl('-o', out, `${server.urls.http}/update.img`)).code).toBe(18);
    expect((await curl('-o', out, '-C', '-', `${server.urls.http}/update.img`)).code).toBe(0);
    expect((await curl(`file://${out}`)).body.equals(IMAGE)).toBe(true);
  });

  it('slows the bytes down without changing them', async () => {
    faults = [{ bytesPerSecond: 64 * 1024 * 1024 }];
    expect((await curl(`${server.urls.http}/update.img`)).body.equals(IMAGE)).toBe(true);
  });
});
