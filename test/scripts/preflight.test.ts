import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import type { ServerOptions } from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Pki, makePki } from '../../src/lab/pki.ts';
import { runTool } from '../../src/lab/tools.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import { type Answering, type ImageServer, file, serve } from './image-server.ts';
import { type Answer, MIB, type Node, SHELLS, makeBin, makeImage, makeNode, makeYard } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
let pki: Pki;
let node: Node;
let raw: string;
let bins = 0;
const servers: ImageServer[] = [];

beforeAll(async () => {
  yard = await makeYard();
  pki = await makePki(path.join(yard.dir, 'pki'));
  const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash');
  const system = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
  raw = system.path;
  node = await makeNode(yard.dir, bin, system);
  const expired = await pki.issue({ name: 'past', purpose: 'client', expired: true });
  const early = await pki.issue({ name: 'future', purpose: 'client', early: true });
  const other = await pki.issue({ name: 'other', purpose: 'client' });
  const certificates = {
    'ca.crt': pki.ca,
    'client.crt': pki.client.cert,
    'client.key': pki.client.key,
    'other.key': other.key,
    'past.crt': expired.cert,
    'future.crt': early.cert,
    'words.crt': 'not a certificate\n',
  };
  for (const [name, text] of Object.entries(certificates)) {
    await writeFile(path.join(node.machine.root, 'etc/KubeOS/certs', name), text, { mode: 0o644 });
  }
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await yard.remove();
});

async function start(answer: Answering, tls?: ServerOptions): Promise<ImageServer> {
  const server = await serve(answer, tls);
  servers.push(server);
  return server;
}

async function withFault<T>(kind: string, act: () => Promise<T>): Promise<T> {
  const { rm } = await import('node:fs/promises');
  const faults = path.join(node.machine.stateDir, 'faults');
  await mkdir(faults, { recursive: true });
  await writeFile(path.join(faults, kind), '');
  return act().finally(() => rm(path.join(faults, kind)));
}

const ask = async (args: ScriptArguments = { preflight: 'yes' }): Promise<Answer> => {
  const answer = await node.ask('observe', args);
  expect(answer.ended, answer.stderr).toBe('ok');
  return answer;
};

const problems = async (args: ScriptArguments): Promise<string[]> =>
  [...(await ask({ preflight: 'https', ...args })).stdout.matchAll(/^certificate_problem=(.*)$/gm)].map(
    ([, words = '']) => words,
  );

const AT_WORK = '#!/bin/sh\necho 1.6\n';
const AWAY = '#!/bin/sh\necho warning >&2\necho "dial tcp https://ann:secret@h/v2/?sig=1: refused" >&2\nexit 1\n';

describe('observe, asked for what a run would meet', () => {
  it.each(SHELLS)('tells the clock, the mount of /persist, its inodes and the tools, under %s', async (shell) => {
    node.bin = await makeBin(path.join(yard.dir, `bin-${shell}`), shell);
    const before = Math.floor(Date.now() / 1000);
    const { values } = await ask();
    expect(Number(values['time'])).toBeGreaterThanOrEqual(before);
    expect(Number(values['time'])).toBeLessThanOrEqual(Date.now() / 1000);
    expect(values).toMatchObject({ persist_read_only: 'no', free_inodes: '1000000', 'tool.openssl': 'yes' });
    expect(values).not.toHaveProperty('tool.docker');
    expect(values).not.toHaveProperty('certificate_problem');
    expect((await withFault('persist-read-only', ask)).values['persist_read_only']).toBe('yes');
  });

  it.each([
    ['docker', {}, 'it has no docker, which an image of type docker needs'],
    ['containerd', { crictl: AT_WORK }, 'it has no ctr, which an image of type containerd needs'],
    ['docker', { docker: AWAY }, 'docker does not answer: dial tcp https://h/v2/?... refused'],
    ['containerd', { ctr: AWAY }, 'containerd does not answer: dial tcp https://h/v2/?... refused'],
    ['docker', { docker: AT_WORK }, undefined],
    ['containerd', { ctr: AT_WORK, crictl: AWAY }, undefined],
  ])('tells whether %s can be used, by %o: %s', async (preflight, tools, problem) => {
    bins += 1;
    node.bin = await makeBin(path.join(yard.dir, `bin-engine-${bins}`), 'dash', tools);
    expect((await ask({ preflight })).values['engine_problem']).toBe(problem);
  });

  it.each([
    ['0', '/dev/vda4 1000 1000 0 100% /persist'],
    // XFS and BtrFS, and a df without inodes.
    [undefined, '/dev/vda4 0 0 0 - /persist'],
    [undefined, '/dev/vda4 - - - - /persist'],
    [undefined, ''],
  ])('tells %s inodes where df says: %s', async (inodes, line) => {
    const { bin } = node;
    bins += 1;
    const df = `#!/bin/sh\n[ "$2" = -k ] && { echo; echo x x x 99 x x; exit; }\necho Filesystem\necho '${line}'\n`;
    node.bin = await makeBin(path.join(yard.dir, `bin-df-${bins}`), 'dash', { df });
    expect((await ask()).values['free_inodes']).toBe(inodes);
    node.bin = bin;
  });

  it('tells nothing of it where nobody asks', async () => {
    const { stdout } = await ask({});
    expect(stdout).not.toMatch(/^(time|persist|tool|free_inodes)/m);
    expect((await node.ask('observe', { preflight: 'maybe' })).ended).toBe('bad-call');
  });

  it('says of every certificate what is wrong with it, and nothing of good ones', async () => {
    const good = { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'client.key' };
    expect(await problems(good)).toEqual([]);
    expect(await problems({ cacert: 'none.crt', clientcert: 'past.crt', clientkey: 'none.key' })).toEqual([
      'cacert /etc/KubeOS/certs/none.crt is not on the node',
      expect.stringMatching(/^clientcert .*past\.crt has expired: notAfter=.*, by the node's clock$/),
      'clientkey /etc/KubeOS/certs/none.key is not on the node',
    ]);
    expect(await problems({ ...good, clientcert: 'future.crt' })).toEqual([
      expect.stringMatching(/^clientcert .*future\.crt is not valid yet: notBefore=/),
    ]);
    expect(await problems({ ...good, clientkey: 'other.key' })).toEqual([
      expect.stringContaining('does not belong to clientcert'),
    ]);
    expect(await problems({ cacert: 'words.crt' })).toEqual([expect.stringContaining('is not a PEM certificate')]);
    expect(await problems({})).toEqual([expect.stringContaining('https needs cacert')]);
  });

  it('without openssl still finds files that are not there', async () => {
    const { bin } = node;
    node.bin = await makeBin(path.join(yard.dir, 'bin-without-openssl'), 'dash', { openssl: '' });
    expect((await ask()).values).not.toHaveProperty('tool.openssl');
    expect(await problems({ cacert: 'words.crt' })).toEqual([]);
    expect(await problems({ cacert: 'none.crt' })).toEqual([expect.stringContaining('is not on the node')]);
    node.bin = bin;
  });
});

describe('look', () => {
  const look = async (url: string, more: ScriptArguments = {}): Promise<Answer> => {
    const answer = await node.ask('look', { url, flagsafe: true, ...more });
    const left = await readdir(path.join(node.machine.root, 'run/kubeos'));
    expect(left.filter((name) => name.startsWith('look'))).toEqual([]);
    return answer;
  };

  it.each(SHELLS)('tells size, ranges and content by one small request, under %s', async (shell) => {
    node.bin = await makeBin(path.join(yard.dir, `bin-look-${shell}`), shell);
    const server = await start(file(raw));
    expect((await look(`${server.url}/a.img`)).values).toEqual({
      found: 'yes',
      ranges: 'yes',
      bytes: String(2 * MIB),
      content: 'ext4',
    });
    expect(server.requests).toEqual(['GET bytes=0-2047']);
  });

  it.each(SHELLS)('takes no more than it needs of a server without ranges, under %s', async (shell) => {
    node.bin = await makeBin(path.join(yard.dir, `bin-whole-${shell}`), shell);
    const bytes = await readFile(raw);
    let sent = 0;
    const server = await start((_, response) => {
      response.writeHead(200, { 'Content-Length': 10 ** 12 });
      const more = (): void => {
        sent += bytes.length;
        if (!response.destroyed) response.write(bytes, more);
      };
      more();
    });
    const { values } = await look(server.url);
    expect(values).toEqual({ found: 'yes', ranges: 'no', bytes: String(10 ** 12), content: 'ext4' });
    expect(sent).toBeLessThan(64 * MIB);
  });

  it('tells by its first bytes what is no file system', async () => {
    const one = path.join(yard.dir, 'one');
    await writeFile(one, 'words '.repeat(1000));
    const made = async (name: string, tool: string, args: readonly string[]): Promise<string> => {
      const { stdout } = await runTool(tool, args);
      const out = path.join(yard.dir, name);
      await writeFile(out, stdout);
      return out;
    };
    const written = async (name: string, bytes: Buffer): Promise<string> => {
      const out = path.join(yard.dir, name);
      await writeFile(out, bytes);
      return out;
    };
    const gpt = Buffer.alloc(4096);
    gpt.write('EFI PART', 512);
    const contents: [string, string][] = [
      ['tar', await made('tar', 'tar', ['-cf', '-', '-C', yard.dir, 'one'])],
      ['gzip', await made('gz', 'gzip', ['-c', one])],
      ['xz', await written('xz', Buffer.concat([Buffer.from('fd377a585a00', 'hex'), Buffer.alloc(4096)]))],
      ['bzip2', await written('bz2', Buffer.from('BZh91AY&SY'.padEnd(4096, 'x'), 'latin1'))],
      ['zstd', await written('zst', Buffer.concat([Buffer.from('28b52ffd', 'hex'), Buffer.alloc(4096)]))],
      ['xfs', await written('xfs', Buffer.from('XFSB'.padEnd(4096, '\0')))],
      ['disk', await written('gpt', gpt)],
      ['web-page', await written('page', Buffer.from('<!DOCTYPE html><html>sign in</html>'))],
      ['unknown', one],
      ['empty', await written('empty', Buffer.alloc(0))],
    ];
    for (const [content, name] of contents) {
      const server = await start(file(name));
      expect((await look(server.url)).values, content).toMatchObject({ found: 'yes', content });
    }
  });

  it('follows redirects, and judges the last answer', async () => {
    const last = await start(file(raw));
    const first = await start((_, response) => response.writeHead(302, { Location: `${last.url}/b` }).end());
    expect((await look(first.url)).values).toMatchObject({ found: 'yes', bytes: String(2 * MIB) });
  });

  it('blames the server for what it answers itself', async () => {
    for (const [status, words] of [
      [404, 'the server has no such file (HTTP 404)'],
      [403, 'the server refuses the request (HTTP 403)'],
      [503, 'the server has a problem of its own (HTTP 503)'],
    ] as const) {
      const server = await start((_, response) => response.writeHead(status).end('x'.repeat(5000)));
      expect((await look(server.url)).values).toEqual({ found: 'no', blame: 'server', problem: words });
    }
    const insecure = await start(file(raw));
    const down = await start((_, response) => response.writeHead(302, { Location: insecure.url }).end(), {
      key: pki.server.key,
      cert: pki.server.cert,
    });
    expect((await look(down.url, { cacert: 'ca.crt' })).values).toMatchObject({ found: 'no', blame: 'server' });
    expect(insecure.requests).toEqual([]);
  });

  it('blames the way for what may lie with this node', async () => {
    const gone = await start(file(raw));
    await gone.close();
    expect((await look(gone.url)).values).toMatchObject({ found: 'no', blame: 'way' });
    const tls = { key: pki.server.key, cert: pki.server.cert };
    const plain = await start(file(raw), tls);
    expect((await look(plain.url, { cacert: 'past.crt' })).values).toMatchObject({ found: 'no', blame: 'way' });
    const mutual = await start(file(raw), { ...tls, ca: pki.ca, requestCert: true, rejectUnauthorized: true });
    expect((await look(mutual.url, { cacert: 'ca.crt' })).values).toMatchObject({ found: 'no', blame: 'way' });
    const all = { cacert: 'ca.crt', clientcert: 'client.crt', clientkey: 'client.key' };
    expect((await look(mutual.url, all)).values).toMatchObject({ found: 'yes', ranges: 'yes', content: 'ext4' });
  });

  it('refuses http without flagSafe, and shows no secret of the address', async () => {
    const server = await start((_, response) => response.writeHead(403).end());
    const address = server.url.replace('http://', 'http://me:hidden@');
    expect((await look(address, { flagsafe: false })).ended).toBe('insecure-address');
    expect(server.requests).toEqual([]);
    const answer = await look(`${address}/?signature=hidden`);
    expect(answer.stdout + answer.stderr).not.toContain('hidden');
  });
});
