import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { makePki } from '../../src/lab/pki.ts';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import { type Compression, buildSystemTar, compressImage } from '../../src/lab/system-tar.ts';
import { composeFedCall, type ScriptArguments } from '../../src/remote/compose.ts';
import { SCRIPTS } from '../../src/remote/scripts/index.ts';
import { BAD_SERVERS, type BadServer, certificatesOf } from './bad-servers.ts';
import { type Answering, type ImageServer, file, serve } from './image-server.ts';
import { changesMade, copyNode, killAt, makeKillingBin, misleads, remains, stopKilling } from './kill.ts';
import {
  type Answer,
  MIB,
  type Node,
  type Shell,
  makeBin,
  makeImage,
  makeNode,
  makeYard,
  toolPath,
} from './node-bed.ts';
import { type Member, tarOf } from './tar-writer.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
/** Of the changes that a stream makes, every so many is taken. */
const STEP = 9;
const AT_ONCE = '#!/bin/sh\nexit 0\n';
const KINDS = ['image', 'image.gzip', 'image.xz', 'image.zstd', 'tar', 'tar.gzip', 'tar.xz'] as const;
type Kind = (typeof KINDS)[number];

let yard: Awaited<ReturnType<typeof makeYard>>;
let template: Node;
let node: Node;
let certificates: ReturnType<typeof certificatesOf>;
let copies = 0;
const images = new Map<Kind, SystemImage>();
const servers: ImageServer[] = [];

beforeAll(async () => {
  yard = await makeYard();
  const old = await makeImage(yard.dir, OLD);
  const tar = await buildSystemTar({ version: NEW, out: path.join(yard.dir, 'new.tar') });
  const forms = { image: await makeImage(yard.dir, NEW), tar };
  for (const kind of KINDS) {
    const [form, how] = kind.split('.') as ['image' | 'tar', Compression | undefined];
    const out = path.join(yard.dir, `new.${kind}`);
    images.set(kind, how === undefined ? forms[form] : await compressImage(forms[form], how, out));
  }
  const curl = `#!/bin/sh\necho "$*" >>"$KUBEOS_LAB_NODE/state/arguments"\nexec ${await toolPath('curl')} "$@"\n`;
  const wget = `#!/bin/sh\necho "$*" >>"$KUBEOS_LAB_NODE/state/arguments"\nexec ${await toolPath('wget')} "$@"\n`;
  const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash', { sleep: AT_ONCE, curl, wget });
  template = await makeNode(yard.dir, bin, old, { slotBytes: 8 * MIB });
  const pki = await makePki(path.join(yard.dir, 'pki'));
  certificates = certificatesOf(pki, await makePki(path.join(yard.dir, 'strangers')));
  await writeFile(path.join(template.machine.root, 'etc/KubeOS/certs/ca.crt'), pki.ca);
});

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

afterAll(() => yard.remove());

/** A node that has begun an upgrade to this image. */
async function begun({ sha256 }: Pick<SystemImage, 'sha256'>, shell?: Shell): Promise<void> {
  copies += 1;
  node = await copyNode(template, path.join(yard.dir, `copy-${copies}`));
  if (shell !== undefined) node.bin = await makeBin(path.join(yard.dir, `bin-${copies}`), shell);
  await node.must('begin', { operation: 'upgrade', version: NEW, replaced: OLD, sha256, from: 'A', target: 'B' });
}

async function start(answer: Answering, tls?: Parameters<typeof serve>[1]): Promise<ImageServer> {
  const server = await serve(answer, tls);
  servers.push(server);
  return server;
}

const streamed = ({ sha256 }: Pick<SystemImage, 'sha256'>, url: string, more: ScriptArguments = {}): Promise<Answer> =>
  node.run('stream', { target: 'B', sha256, url, flagsafe: true, ...more });
const verified = ({ sha256 }: SystemImage): Promise<Answer> =>
  node.run('verify', { operation: 'upgrade', target: 'B', version: NEW, sha256 });
const rooted = (name: string): string => path.join(node.machine.root, name);
const syslog = (): Promise<string> => readFile(rooted('var/log/messages'), 'utf8');

async function expectTrial(image: SystemImage): Promise<void> {
  const basis = image === images.get('tar') || image.path.includes('.tar') ? 'files' : 'bytes';
  expect((await verified(image)).values).toEqual({ version: NEW, basis });
  await node.must('arm', { target: 'B', version: NEW });
  expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'B', trial: true, version: NEW });
}

/** Nothing can be armed, and nobody takes the slot for a system. */
async function expectLost(image: Pick<SystemImage, 'sha256'>): Promise<void> {
  expect(await node.observe()).toMatchObject({ 'B.content': 'dirty', 'env.saved': 'A' });
  expect(await node.observe()).not.toHaveProperty('B.streamed');
  expect((await node.run('arm', { target: 'B', version: NEW })).ended).toBe('out-of-order');
  const verify = { operation: 'upgrade', target: 'B', version: NEW, sha256: image.sha256 };
  expect(['out-of-order', 'read-back-mismatch']).toContain((await node.run('verify', verify)).ended);
  expect(await misleads(node)).toBeUndefined();
}

describe('an image that is streamed', () => {
  it.each<readonly [Shell, Kind, number | undefined]>([
    ['dash', 'image', undefined],
    ['dash', 'image.zstd', undefined],
    ['dash', 'tar', undefined],
    ['bash', 'image.gzip', 3 * MIB],
    ['bash', 'tar.gzip', undefined],
    ['busybox', 'image', undefined],
    ['busybox', 'image.xz', undefined],
    ['busybox', 'tar.xz', 3 * MIB],
  ])('under %s, as %s, becomes the slot’s system, none of it in /persist', async (shell, kind, rate) => {
    const image = images.get(kind)!;
    await begun(image, shell);
    const { url } = await start(file(image.path));
    expect(await streamed(image, `${url}/a`, { rate })).toMatchObject({ ended: 'ok', stderr: '' });
    expect((await readdir(rooted('persist/KubeOS-Update'))).filter((name) => !name.includes('.list'))).toEqual([]);
    expect(await syslog()).toContain('is written while it arrives');
    // Whole in the slot, it is asked for no more.
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty', 'B.streamed': image.sha256 });
    expect((await streamed(image, 'http://127.0.0.1:1/none')).ended).toBe('ok');
    await expectTrial(image);
  });

  it('which the slot did not keep is streamed anew', async () => {
    const image = images.get('tar')!;
    await begun(image);
    const server = await start(file(image.path));
    await streamed(image, server.url);
    const device = node.machine.device('B');
    const bytes = await readFile(device);
    bytes.write('Q', bytes.indexOf('PRETTY_NAME'));
    await writeFile(device, bytes);
    expect((await verified(image)).ended).toBe('read-back-mismatch');
    await expectLost(image);
    expect((await streamed(image, server.url)).ended).toBe('ok');
    await expectTrial(image);
  });
});

/** Whether an image may be there at all is asked as it is for stage: by one of both ways is enough. */
const BY_WGET = /breaks off|broken off|200 with the rest|stall|certificate|redirect|too early|without end/;
const PAIRS = BAD_SERVERS.flatMap((bad) => [
  { ...bad, via: 'curl' as const },
  ...(BY_WGET.test(bad.name) ? [{ ...bad, via: 'wget' as const }] : []),
]);

describe('streamed', () => {
  it.each(PAIRS)(
    'by $via from $name: it is whole in the slot, or no system is there and the failure says why',
    async ({ via, ...bad }) => {
      const image = images.get('image')!;
      const bytes = await readFile(image.path);
      await begun(image);
      const { url } = await start(bad.answer(bytes, 'http://127.0.0.1:1/'), await tlsOf(bad));
      if (bad.stalls === true) node.edit = (script) => script.replace('STALL_SECONDS=60', 'STALL_SECONDS=1');
      const secure = bad.certificate === undefined ? {} : { cacert: 'ca.crt', flagsafe: false };
      const answer = await streamed(image, `${url}/a?signature=hidden`, { via, ...secure });
      if (bad.words === undefined) {
        expect(answer).toMatchObject({ ended: 'ok' });
        await expectTrial(image);
      } else {
        expect(answer.ended).toBe(bad.ended);
        expect(answer.stderr).toContain(typeof bad.words === 'string' ? bad.words : bad.words[via]);
        const { 'B.content': content } = await node.observe();
        expect(answer.stderr.includes('holds no system now')).toBe(content === 'dirty');
        if (content === 'dirty') await expectLost(image);
      }
      const told = [
        answer.stderr,
        await syslog(),
        await readFile(path.join(node.machine.stateDir, 'arguments'), 'utf8'),
      ];
      for (const text of told) expect(text).not.toContain('hidden');
    },
  );

  it.each(['curl', 'wget'] as const)('by %s, a body without end ends soon, and another image is none', async (via) => {
    const image = images.get('image')!;
    const bytes = await readFile(image.path);
    const wrong = Buffer.from(bytes);
    wrong[2 * MIB] = (wrong[2 * MIB] ?? 0) ^ 1;
    for (const [sent, more, words] of [
      [bytes, MIB * 64, 'the server sends more than it announced'],
      [wrong, 0, 'the SHA-256 is '],
    ] as const) {
      await begun(image);
      const { url } = await start((request, response) => {
        if (request.method === 'HEAD') response.writeHead(200, { 'Content-Length': bytes.length }).end();
        else response.end(Buffer.concat([sent, Buffer.alloc(more)]));
      });
      expect((await streamed(image, url, { via })).stderr).toContain(words);
      await expectLost(image);
    }
  });
});

async function tlsOf({ certificate }: BadServer): Promise<Parameters<typeof serve>[1]> {
  return certificate === undefined ? undefined : certificates(certificate);
}

describe('a stream', () => {
  it.each<readonly [string, readonly Member[]]>([
    ['leads out of the slot', [{ name: './../../outside', content: 'x' }]],
    ['is absolute', [{ name: '/outside', content: 'x' }]],
    ['goes through a link that leads out', [{ name: './out', type: '2', link: '../..' }, { name: './out/outside' }]],
    ['has no kernel', [{ name: './etc/os-release', content: `PRETTY_NAME="${NEW}"\n` }]],
  ])('of a tar that %s is refused, and nothing lies outside', async (_, members) => {
    const tar = path.join(yard.dir, `bad-${copies}.tar`);
    await writeFile(tar, tarOf(members, node.machine.identity ?? { uid: 0, gid: 0 }));
    const image = { sha256: await sha256OfFile(tar) };
    await begun(image);
    const answer = await streamed(image, (await start(file(tar))).url);
    expect(['bad-content', 'write-failed']).toContain(answer.ended);
    expect(answer.stderr).toContain('holds no system now');
    await expectLost(image);
    const all = await readdir(node.machine.root, { recursive: true });
    expect(all.filter((name) => name.endsWith('outside') && !name.includes('/mount/'))).toEqual([]);
    expect(existsSync('/outside')).toBe(false);
  });

  it('that is too big for the slot, no image, or without the notes’ room, is refused before the slot changes', async () => {
    const image = images.get('image')!;
    const big = await makeImage(yard.dir, NEW, { sizeBytes: 12 * MIB });
    await begun(big);
    expect((await streamed(big, (await start(file(big.path))).url)).ended).toBe('unsafe-target');
    await begun(image);
    const page = await start((_, response) => response.end('<html>sign in</html>'));
    expect(await streamed(image, page.url)).toMatchObject({ ended: 'checksum-mismatch' });
    await mkdir(path.join(node.machine.stateDir, 'faults'));
    await writeFile(path.join(node.machine.stateDir, 'faults/disk-full'), '');
    expect((await streamed(image, (await start(file(image.path))).url)).ended).toBe('no-space');
    expect((await streamed(images.get('tar')!, page.url)).ended).toBe('out-of-order');
    expect(await node.observe()).toMatchObject({ 'B.content': 'unbootable' });
  });

  it(
    'is killed in the midst of it: no boot is misled, and the same again ends in the image',
    { timeout: 600_000 },
    async () => {
      const seen = new Set<string>();
      for (const kind of ['image.zstd', 'tar'] as const) {
        const image = images.get(kind)!;
        const { url } = await start(file(image.path));
        await begun(image);
        const base = node;
        base.bin = await makeKillingBin(path.join(yard.dir, `killing-${kind}`), 'dash');
        for (let at = 1; ; at += STEP) {
          node = await copyNode(base, path.join(yard.dir, 'killed'));
          await killAt(node, at, true);
          const answer = await streamed(image, url);
          if (answer.ended === 'ok') {
            expect(await changesMade(node)).toBeLessThan(at);
            break;
          }
          expect(answer.ended).toBe('SIGKILL');
          stopKilling(node);
          const left = await remains(node);
          if (seen.has(left)) continue;
          seen.add(left);
          expect(await misleads(node), `${kind}, change ${at}`).toBeUndefined();
          expect(await node.machine.boot(), `${kind}, change ${at}`).toMatchObject({ kind: 'up', slot: 'A' });
          expect(await streamed(image, url), `${kind}, change ${at}`).toMatchObject({ ended: 'ok' });
          expect((await verified(image)).ended).toBe('ok');
        }
      }
    },
  );
});

describe('what kubeos sends into the slot', () => {
  /** Sends so many bytes of the image; resolves to the exit code and what was said. */
  function send(image: SystemImage, bytes: Buffer): Promise<{ code: number | null; said: string }> {
    const call = { ...node.by, target: 'B', via: 'ssh', sha256: image.sha256, bytes: image.bytes };
    const child = spawn(path.join(node.bin, 'sh'), ['-s'], {
      env: node.machine.env(node.bin),
      cwd: node.machine.root,
      ...(node.machine.identity ?? {}),
    });
    let said = '';
    child.stdin.on('error', () => undefined);
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('ready=yes')) child.stdin.end(bytes);
    });
    child.stdin.write(composeFedCall(node.edit(SCRIPTS.stream), call));
    return new Promise((resolve) => child.once('close', (code) => resolve({ code, said })));
  }

  it('waits for the script whose connection broke, until that has unmounted the slot, and keeps nobody else waiting', async () => {
    const image = images.get('image')!;
    await begun(image);
    await mkdir(rooted('run/kubeos'), { recursive: true });
    await handOver(node.machine.root, node.machine.identity);
    // All other waiting ends at once.
    node.edit = (script) => script.replace('hold_mounts 20', 'hold_mounts 0').replace('flock -w 10 8', 'flock -w 0 8');
    const locks = [rooted('run/kubeos/work.lock'), rooted('run/kubeos/mount.lock')];
    const flock = await toolPath('flock');
    const older = spawn(flock, [locks[0]!, flock, locks[1]!, 'sh', '-c', 'echo held; read -r end'], {
      env: { PATH: process.env['PATH'] },
      stdio: ['pipe', 'pipe', 'ignore'],
      ...(node.machine.identity ?? {}),
    });
    await new Promise((resolve) => older.stdout.once('data', resolve));
    const sent = send(image, await readFile(image.path));
    const seen = { ended: false };
    void sent.then(() => (seen.ended = true));
    while (!seen.ended && !(await isWaiting())) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await node.run('claim')).ended).toBe('ok');
    older.stdin.end();
    expect((await sent).said).toMatch(/ready=yes\nbytes=\d+\n$/);
  });

  async function isWaiting(): Promise<boolean> {
    for (const pid of await node.machine.processes()) {
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
      if (words[0]?.endsWith('flock') === true && words.includes('120')) return true;
    }
    return false;
  }

  it.each(['image', 'tar.gzip'] as const)('is a system once all of it came, and right: as %s', async (kind) => {
    const image = images.get(kind)!;
    const bytes = await readFile(image.path);
    await begun(image);
    expect(await send(image, bytes.subarray(0, 500_000))).toEqual({
      code: 0,
      said: 'kubeos-answer:\nready=yes\narrived=no\n',
    });
    await expectLost(image);
    const damaged = Buffer.from(bytes);
    damaged[600_000] = (damaged[600_000] ?? 0) ^ 1;
    expect((await send(image, damaged)).said).toContain('arrived=no');
    await expectLost(image);
    expect((await send(image, bytes)).said).toMatch(/ready=yes\nbytes=\d+\n$/);
    await handOver(node.machine.root, node.machine.identity);
    await expectTrial(image);
  });
});
