import { readFile, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildSystemTar, compressImage } from '../../src/lab/system-tar.ts';
import { type CliBed, must, readLogs, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';

let bed: CliBed;
let spec: string;
let certs: string[];
const NEW = 'KubeOS 1.1.0';
const WHOLE = ['-y', '--canary', '0', '--maxunavailable', '2'];

beforeAll(async () => {
  bed = await startCliBed();
  spec = await bed.spec(NEW);
  certs = ['--certs-dir', bed.lab.paths.pki];
});

afterAll(() => bed.stop());

const folder = (): string => path.join(bed.folder, 'home/cache/kubeos/artifacts');
const viaOf = (entries: readonly { node: string; via?: string }[]): string[] =>
  entries.map(({ node, via }) => `${node} ${String(via)}`);

describe('the image’s way', () => {
  it('is chosen for each node, and shown: over SSH where it has no curl and this machine may fetch it', async () => {
    await bed.lab.setFault('worker-2', 'missing-tool');
    const plan = await bed.json(['plan', '-f', spec, ...certs]);
    expect(viaOf(plan.entries)).toEqual(['worker-1 curl', 'worker-2 ssh']);
    const { stdout } = await bed.kubeos(['plan', '-f', spec, ...certs]);
    expect(stdout).toContain('  via    curl on the node: worker-1\n');
    expect(stdout).toContain('         SSH from this machine, which fetches it once: worker-2\n');
    const without = await bed.json(['plan', '-f', spec]);
    expect(without.notStarted.map(({ node, findings }) => `${node} ${findings[0]?.what ?? ''}`)).toEqual([
      'worker-2 it has no curl and no GNU wget to fetch the image with',
    ]);
    const forced = await bed.json(['plan', '-f', spec, '--via', 'wget']);
    expect(forced.notStarted).toHaveLength(2);
  });

  it('over SSH needs the certificates that https needs: what is missing is said before anything is done', async () => {
    const none = await bed.kubeos(['upgrade', '-f', spec, '-y', '--via', 'ssh']);
    expect(none).toMatchObject({ code: 2 });
    expect(none.stderr).toContain('--certs-dir');
    const empty = await bed.kubeos(['upgrade', '-f', spec, '-y', '--via', 'ssh', '--certs-dir', bed.folder]);
    expect(empty).toMatchObject({ code: 2 });
    expect(empty.stderr).toContain('ca.crt');
  });

  it('over SSH carries on where a killed run had stopped, and the nodes ask no server', async () => {
    await bed.lab.setFault('worker-1', 'missing-tool');
    const slow = bed.start(['upgrade', '-f', spec, ...WHOLE, ...certs, '--limit-rate', '1500K']);
    const part = path.join(bed.lab.node('worker-1').machine.root, 'persist/KubeOS-Update/update.img.part');
    await until(async () => (await stat(part).catch(() => ({ size: 0 }))).size > 300_000);
    slow.kill('SIGKILL');
    await slow.done;
    const { size } = await stat(part);
    await bed.lab.setFault('worker-2', 'ssh-cut');
    // With a rate it is sent, and told of, in pieces that are smaller than what is there.
    const done = await bed.json(['upgrade', '-f', spec, ...WHOLE, ...certs, '--limit-rate', '100M']);
    expect(done.nodes.map(({ node, outcome }) => `${node} ${outcome}`)).toEqual([
      'worker-1 upgraded',
      'worker-2 upgraded',
    ]);
    const { bytes } = await bed.image(NEW);
    expect(size).toBeLessThan(bytes);
    const log = (await readLogs(must(done.logDir)))['worker-1.log'];
    // One that began anew would tell of its first piece, a quarter of a MiB.
    expect(Number(/ stage: (\d+) of /.exec(must(log))?.[1])).toBeGreaterThan(size);
    expect(await readdir(folder())).toEqual([(await bed.image(NEW)).sha256]);
  });

  it('leads straight into the slot with --stream, by curl and over SSH, and the plan says what that gives up', async () => {
    await bed.lab.clearFault('worker-2', 'missing-tool');
    const streaming = ['-f', bed.lab.paths.tarSpec, ...certs, '--stream', 'always'];
    const { stdout } = await bed.kubeos(['plan', ...streaming]);
    expect(stdout).toMatch(/stream +worker-1, worker-2: the slots are written while the image arrives/);
    const done = await bed.json(['upgrade', ...streaming, ...WHOLE, '--limit-rate', '50M']);
    expect(done.nodes).toMatchObject([
      { node: 'worker-1', outcome: 'upgraded', proof: 'files' },
      { node: 'worker-2', outcome: 'upgraded', proof: 'files' },
    ]);
    expect(done.stderr).toMatch(/worker-1 +write +slot A, .*streamed/);
    const root = bed.lab.node('worker-1').machine.root;
    expect(await readdir(path.join(root, 'persist/KubeOS-Update'))).toEqual([]);
  });

  it.each([
    ['staged', 'KubeOS 1.3.0', 'gzip', []],
    ['straight into the slot', 'KubeOS 1.3.1', 'xz', ['--stream', 'always']],
  ] as const)(
    'is through this machine, which decompresses a tar as one piece, for a node that cannot: %s',
    async (_what, version, by, flags) => {
      await rm(path.join(bed.lab.paths.bin, by), { force: true });
      const plain = await buildSystemTar({ version, out: path.join(bed.folder, `${version.slice(7)}.tar`) });
      const packed = await compressImage(plain, by, path.join(bed.lab.paths.images, `${version.slice(7)}.packed`));
      const imageurl = `${bed.lab.images.urls.https}/${path.basename(packed.path)}`;
      const spec = await bed.spec(version, { imageurl, checksum: packed.sha256 });
      const args = ['-f', spec, ...certs, ...flags, '--nodes', 'worker-1'];
      const planned = await bed.json(['plan', ...args]);
      const stream = flags.length > 0 ? { stream: true } : {};
      expect(planned.entries).toMatchObject([{ node: 'worker-1', via: 'ssh', decompress: by, ...stream }]);
      const done = await bed.json(['upgrade', ...args, ...WHOLE]);
      expect(done.nodes).toMatchObject([{ node: 'worker-1', outcome: 'upgraded', proof: 'files' }]);
      const { active } = await bed.look('worker-1');
      const { root } = bed.lab.node('worker-1').machine;
      const record = await readFile(path.join(root, `persist/kubeos/slot-${active ?? '?'}`), 'utf8');
      expect(record).toContain(`sha256=${packed.sha256}\n`);
      expect(record.includes('streamed=yes\n')).toBe(flags.length > 0);
      expect(await readdir(path.join(root, 'persist/KubeOS-Update'))).toEqual([]);
    },
  );
});
