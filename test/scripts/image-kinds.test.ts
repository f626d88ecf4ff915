import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { type Compression, buildSystemTar, compressImage } from '../../src/lab/system-tar.ts';
import { type ImageServer, file, serve } from './image-server.ts';
import { MIB, type Node, type Shell, makeBin, makeImage, makeNode, makeYard } from './node-bed.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
/** The ways in which the same system comes, beside a plain image. */
const KINDS = ['tar', 'tar.gzip', 'tar.xz', 'tar.zstd', 'image.gzip', 'image.xz', 'image.zstd'] as const;
type Kind = (typeof KINDS)[number];

let yard: Awaited<ReturnType<typeof makeYard>>;
let old: SystemImage;
let plain: SystemImage;
const images = new Map<Kind, SystemImage>();
const servers: ImageServer[] = [];

beforeAll(async () => {
  yard = await makeYard();
  old = await makeImage(yard.dir, OLD);
  plain = await makeImage(yard.dir, NEW);
  const forms = { tar: await buildSystemTar({ version: NEW, out: path.join(yard.dir, 'new.tar') }), image: plain };
  for (const kind of KINDS) {
    const [form, how] = kind.split('.') as ['tar' | 'image', Compression | undefined];
    const out = path.join(yard.dir, `new.${kind}`);
    images.set(kind, how === undefined ? forms[form] : await compressImage(forms[form], how, out));
  }
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await yard.remove();
});

/** Takes a node to its trial, and makes that permanent. */
async function upgrade(node: Node, image: SystemImage, basis: string, rate?: number): Promise<void> {
  const { version, sha256 } = image;
  const server = await serve(file(image.path));
  servers.push(server);
  await node.must('begin', { operation: 'upgrade', version, replaced: OLD, sha256, from: 'A', target: 'B' });
  await node.must('stage', { url: `${server.url}/named-as-you-like`, sha256, flagsafe: true });
  const began = performance.now();
  await node.must('write', { target: 'B', rate });
  // Each has at least that much in it.
  if (rate !== undefined) expect(performance.now() - began).toBeGreaterThan((MIB * 1000) / rate);
  expect((await node.must('verify', { operation: 'upgrade', target: 'B', version, sha256 })).values).toEqual({
    version,
    basis,
  });
  await node.must('arm', { target: 'B', version });
  expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: 'B', trial: true, version });
  await node.must('prove', { target: 'B', version });
  await node.must('commit', { target: 'B' });
}

/** All of them in one shell; in the others one of each form, by tools of their own where BusyBox has some. */
const PAIRS: readonly (readonly [Shell, Kind])[] = [
  ...KINDS.map((kind) => ['dash', kind] as const),
  ['bash', 'tar.gzip'],
  ['bash', 'image.xz'],
  ['busybox', 'tar'],
  ['busybox', 'tar.xz'],
  ['busybox', 'image.gzip'],
];

describe('a node', () => {
  it.each<readonly [Shell, Kind | 'image']>([
    ['busybox', 'image'],
    ['bash', 'image.gzip'],
    ['dash', 'tar'],
  ])('whose sh is %s writes a system that comes as %s no faster than it is told', async (shell, kind) => {
    const bin = await makeBin(path.join(yard.dir, `bin-slow-${shell}-${kind}`), shell);
    const node = await makeNode(yard.dir, bin, old, { slotBytes: 8 * MIB });
    const image = kind === 'image' ? plain : images.get(kind)!;
    await upgrade(node, image, kind.startsWith('tar') ? 'files' : 'bytes', MIB);
  });

  it.each(PAIRS)('whose sh is %s takes a system as %s', async (shell, kind) => {
    const bin = await makeBin(path.join(yard.dir, `bin-${shell}-${kind}`), shell);
    const node = await makeNode(yard.dir, bin, old, { slotBytes: 8 * MIB });
    await upgrade(node, images.get(kind)!, kind.startsWith('tar') ? 'files' : 'bytes');
    expect(await node.observe()).toMatchObject({
      active: 'B',
      os_version: NEW,
      'B.label': 'ROOT-B',
      'B.record_holds': 'yes',
      'B.record_sha256': images.get(kind)!.sha256,
      'journal.phase': 'committed',
    });
  });
});
