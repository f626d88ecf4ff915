import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { FaultKind } from '../../src/lab/faults.ts';
import { type ImageServer, serve } from '../scripts/image-server.ts';
import { type CliBed, type Doc, nodeOf, startCliBed } from './cli-bed.ts';

let bed: CliBed;
const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const ALL = ['worker-1', 'worker-2', 'worker-3'] as const;
const touched = new Set<string>();
const servers: ImageServer[] = [];

beforeAll(async () => {
  bed = await startCliBed({ workers: 3 });
});

afterEach(async () => {
  await bed.fresh(...touched);
  touched.clear();
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await bed.stop();
});

/** Sets faults, `worker-1 boot-fails`, and upgrades these nodes, all at once unless told. */
async function upgrade(faults: Readonly<Record<string, FaultKind>>, ...flags: readonly string[]): Promise<Doc> {
  for (const [node, kind] of Object.entries(faults)) {
    touched.add(node);
    await bed.lab.setFault(node, kind);
  }
  for (const node of ALL) touched.add(node);
  const pace = ['--canary', '0', '--maxunavailable', '3', '--max-failures', '0'];
  return bed.json(['upgrade', '-f', bed.lab.paths.spec, '-y', ...pace, ...flags]);
}

const brief = ({ nodes, exitCode }: Doc): unknown[] => [
  exitCode,
  ...nodes.map(({ node, outcome, step }) => [node, outcome, ...(step === undefined ? [] : [step])].join(' ')).sort(),
];

/** The node serves in its old slot, boots it again, and no run's traces are left in the cluster. */
async function expectSafe(node: string): Promise<void> {
  expect(await bed.look(node)).toMatchObject({
    osVersion: OLD,
    active: 'A',
    nextBoot: 'A',
    cordoned: false,
    ready: true,
  });
  expect(bed.stepOf(node)).toBeUndefined();
}

describe('a fault before anything was armed leaves the node as it was (exit 3)', () => {
  it('corrupt-download, disk-full, drain-blocked: each says what and why, and is carried on once it is mended', async () => {
    const faults = { 'worker-1': 'corrupt-download', 'worker-2': 'disk-full', 'worker-3': 'drain-blocked' } as const;
    const done = await upgrade(faults, '--drain-timeout', '3s');
    expect(brief(done)).toEqual([3, 'worker-1 failed stage', 'worker-2 not started', 'worker-3 failed drain']);
    const [corrupt, full, blocked] = ALL.map((name) => nodeOf(done, name));
    expect(`${corrupt?.what ?? ''} ${corrupt?.reason ?? ''}`).toMatch(/checksum|SHA-256/i);
    expect(`${full?.what ?? ''} ${full?.reason ?? ''}`).toMatch(/0 bytes free|0 inodes/);
    expect(`${blocked?.what ?? ''} ${blocked?.reason ?? ''}`).toMatch(/wait-worker-3/);
    for (const { next } of [corrupt, full].flatMap((one) => (one === undefined ? [] : [one]))) {
      expect(next).not.toBe('');
    }
    expect(corrupt?.logTail.length).toBeGreaterThan(0);
    for (const name of ALL) {
      expect(nodeOf(done, name).now).toBe(OLD);
      await expectSafe(name);
    }
    // Nothing was written where the download was not what it should be.
    expect((await bed.look('worker-1')).otherSlot).toMatchObject({ content: 'unbootable' });

    await bed.lab.clearFault('worker-2');
    await bed.lab.clearFault('worker-3');
    const again = await upgrade({});
    expect(brief(again)).toEqual([0, 'worker-1 upgraded', 'worker-2 upgraded', 'worker-3 upgraded']);
    expect((await bed.look('worker-3')).otherSlot).toMatchObject({ version: OLD });
  });

  it('drain-impossible and ssh-refused: not started, and the others go on', async () => {
    const done = await upgrade({ 'worker-1': 'drain-impossible', 'worker-2': 'ssh-refused' });
    expect(brief(done)).toEqual([3, 'worker-1 not started', 'worker-2 not started', 'worker-3 upgraded']);
    expect(nodeOf(done, 'worker-1').what).toMatch(/never-worker-1/);
    expect(nodeOf(done, 'worker-1').next).not.toBe('');
    expect(nodeOf(done, 'worker-2')).toMatchObject({
      what: expect.stringMatching(/no SSH connection to root@127\.77\./) as string,
      reason: expect.stringMatching(/refused/i) as string,
    });
    await expectSafe('worker-1');

    // None left to start: what can never be drained is refused, what cannot be reached at all is that.
    const one = await upgrade({}, '--nodes', 'worker-1');
    expect(brief(one)).toEqual([4, 'worker-1 not started']);
    expect((await bed.json(['plan', '-f', bed.lab.paths.spec, '--nodes', 'worker-1'])).exitCode).toBe(4);
    const other = await upgrade({}, '--nodes', 'worker-2');
    expect(brief(other)).toEqual([10, 'worker-2 not started']);
    expect((await bed.json(['plan', '-f', bed.lab.paths.spec, '--nodes', 'worker-2'])).exitCode).toBe(10);
    const status = await bed.kubeos(['status']);
    expect([status.code, status.stdout]).toEqual([0, expect.stringMatching(/^worker-2 .*no SSH/m)]);
  });
});

describe('a fault that kubeos rides out (exit 0)', () => {
  it('ssh-cut, download-cut: the step is taken up again; slow-write and slow-download only take longer', async () => {
    const faults = { 'worker-1': 'ssh-cut', 'worker-2': 'download-cut', 'worker-3': 'slow-write' } as const;
    const done = await upgrade(faults);
    expect(brief(done)).toEqual([0, 'worker-1 upgraded', 'worker-2 upgraded', 'worker-3 upgraded']);
    for (const name of ALL) {
      expect(await bed.look(name)).toMatchObject({ osVersion: NEW, active: 'B', nextBoot: 'B', state: 'committed' });
    }
    expect(bed.lab.node('worker-1').faults.list()).toEqual([]);
    expect(bed.lab.node('worker-2').faults.list()).toEqual([]);
  });
});

describe('a trial that fails', () => {
  it('boot-fails, unready: the node falls back, serves again (exit 5), and refuses this image until told', async () => {
    const faults = { 'worker-1': 'boot-fails', 'worker-2': 'unready' } as const;
    const done = await upgrade(faults, '--health-timeout', '4s', '--nodes', 'worker-1,worker-2');
    expect(brief(done)).toEqual([5, 'worker-1 fell back reboot', 'worker-2 fell back prove']);
    const [panicked, sick] = [nodeOf(done, 'worker-1'), nodeOf(done, 'worker-2')];
    expect(`${panicked.what ?? ''} ${panicked.reason ?? ''}`).toMatch(/slot B was to boot, slot A came up/);
    expect(`${sick.what ?? ''} ${sick.reason ?? ''}`).toMatch(/not Ready: .*cni plugin not initialized/);
    for (const name of ['worker-1', 'worker-2']) {
      await expectSafe(name);
      expect((await bed.look(name)).otherSlot).toMatchObject({ version: NEW, failedTrial: true });
    }
    const status = await bed.kubeos(['status']);
    expect(status.stdout).toMatch(/^worker-1 .* KubeOS 1\.1\.0! /m);

    await bed.lab.clearFault('worker-2');
    const again = await upgrade({}, '--nodes', 'worker-1,worker-2');
    expect(brief(again)).toEqual([4, 'worker-1 not started', 'worker-2 not started']);
    expect(nodeOf(again, 'worker-1')).toMatchObject({
      what: 'this image failed its trial here',
      next: expect.stringContaining('--retry-failed-image') as string,
    });
    const retried = await upgrade({}, '--nodes', 'worker-2', '--retry-failed-image');
    expect(brief(retried)).toEqual([0, 'worker-2 upgraded']);
  });

  it('never-comes-back: the node needs hands (exit 6); once it is up again the same command ends it as fell back', async () => {
    const only = ['--nodes', 'worker-3'];
    const done = await upgrade({ 'worker-3': 'never-comes-back' }, '--reboot-timeout', '4s', ...only);
    expect(brief(done)).toEqual([6, 'worker-3 needs hands reboot']);
    expect(nodeOf(done, 'worker-3').what).toMatch(/no answer over SSH for 4s/);
    expect(nodeOf(done, 'worker-3').next).toMatch(/console.*cordoned/);
    expect(bed.isCordoned('worker-3')).toBe(true);
    const status = await bed.kubeos(['status']);
    expect(status.code).toBe(0);
    expect(status.stdout).toMatch(/^worker-3 +no /m);

    await bed.lab.clearFault('worker-3');
    const again = await upgrade({}, ...only);
    expect(brief(again)).toEqual([5, 'worker-3 fell back prove']);
    await expectSafe('worker-3');
  });
});

describe('an image that is not what its spec says', () => {
  it('another version inside: failed, safe, with the reason', async () => {
    touched.add('worker-1');
    const spec = await bed.spec('KubeOS 1.1.1', await wrongVersion());
    const done = await bed.json(['upgrade', '-f', spec, '-y', '--nodes', 'worker-1']);
    expect(brief(done)).toEqual([3, 'worker-1 failed verify']);
    const { what, reason } = nodeOf(done, 'worker-1');
    expect(`${what ?? ''}\n${reason ?? ''}`).toMatch(/KubeOS 1\.1\.0/);
    await expectSafe('worker-1');
  });

  it('another one than the plan looked at: a tar is refused before a slot changes, and no second node fetches it', async () => {
    for (const name of ALL) touched.add(name);
    // Its beginning is that of an ext4, and only the whole has the magic of a tar: no server is that odd, but a node
    // must not depend on what was looked at.
    const spec = await bed.spec(NEW, await turningIntoTar());
    const done = await bed.json(['upgrade', '-f', spec, '-y', '--canary', '0', '--maxunavailable', '1']);
    expect(brief(done)).toEqual([4, 'worker-1 not started write', 'worker-2 not started', 'worker-3 not started']);
    expect(`${nodeOf(done, 'worker-1').what ?? ''} ${nodeOf(done, 'worker-1').reason ?? ''}`).toMatch(/tar/);
    expect(nodeOf(done, 'worker-2').what).toMatch(/no node can take this image/);
    await expectSafe('worker-1');
  });
});

const wrongVersion = async (): Promise<Record<string, string>> => {
  const { path: file, sha256 } = await bed.image(NEW, 'wrongly named');
  return { imageurl: `${bed.lab.images.urls.https}/${path.basename(file)}`, checksum: sha256 };
};

/** An image server that shows one thing to a look, and delivers another. */
async function turningIntoTar(): Promise<Record<string, string | boolean | undefined>> {
  const archive = Buffer.alloc(64 * 1024);
  archive.write('ustar', 257, 'latin1');
  const ext4 = (await readFile(bed.lab.update.path)).subarray(0, 4096);
  const server = await serve((request, response) => {
    const isLook = /^bytes=0-\d/.test(request.headers.range ?? '');
    const bytes = isLook ? ext4.subarray(0, 2048) : archive;
    const range = isLook ? { 'content-range': `bytes 0-2047/${archive.length}` } : {};
    response.writeHead(isLook ? 206 : 200, { 'content-length': bytes.length, ...range });
    response.end(request.method === 'HEAD' ? undefined : bytes);
  });
  servers.push(server);
  return {
    imageurl: `${server.url}/turning.img`,
    flagSafe: true,
    cacert: undefined,
    checksum: createHash('sha256').update(archive).digest('hex'),
  };
}
