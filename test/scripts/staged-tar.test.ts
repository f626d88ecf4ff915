import { readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import { buildSystemTar } from '../../src/lab/system-tar.ts';
import { runTool } from '../../src/lab/tools.ts';
import { type ImageServer, file, serve } from './image-server.ts';
import {
  type Answer,
  MIB,
  type Node,
  SHELLS,
  type Shell,
  makeBin,
  makeImage,
  makeNode,
  makeYard,
  toolPath,
} from './node-bed.ts';

const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const IMAGE = 'persist/KubeOS-Update/update.img';

let yard: Awaited<ReturnType<typeof makeYard>>;
let tar: SystemImage;
let server: ImageServer;
let node: Node;
let nodes = 0;
const rooted = (name: string): string => path.join(node.machine.root, name);

beforeAll(async () => {
  yard = await makeYard();
  tar = await buildSystemTar({ version: NEW, out: path.join(yard.dir, 'new.tar') });
  server = await serve(file(tar.path));
});

afterAll(async () => {
  await server.close();
  await yard.remove();
});

async function begin(shell: Shell): Promise<void> {
  nodes += 1;
  const counting = `#!/bin/sh
case "$*" in *--list*) echo list >>"$KUBEOS_LAB_NODE/state/lists" ;; esac
exec ${await toolPath('tar')} "$@"
`;
  const bin = await makeBin(path.join(yard.dir, `bin-${nodes}`), shell, { tar: counting });
  const old = await makeImage(yard.dir, OLD);
  node = await makeNode(yard.dir, bin, old, { slotBytes: 8 * MIB });
  const { version, sha256 } = tar;
  await node.must('begin', { operation: 'upgrade', version, replaced: OLD, sha256, from: 'A', target: 'B' });
}

const stage = (): Promise<Answer> => node.must('stage', { url: `${server.url}/x`, sha256: tar.sha256, flagsafe: true });
const verify = (): Promise<Answer> =>
  node.run('verify', { operation: 'upgrade', target: 'B', version: NEW, sha256: tar.sha256 });
const lists = async (): Promise<number> =>
  (await readFile(path.join(node.machine.stateDir, 'lists'), 'utf8')).split('\n').length - 1;

/** Another byte in the tar, so far behind a text in it, at the same length and time of change. */
async function change(text = './boot/vmlinuz\0', at = 512 + 1000): Promise<void> {
  const bytes = await readFile(rooted(IMAGE));
  const { atime, mtime } = await stat(rooted(IMAGE));
  const found = bytes.indexOf(text);
  expect(found).toBeGreaterThan(0);
  bytes.writeUInt8(bytes.readUInt8(found + at) ^ 1, found + at);
  await writeFile(rooted(IMAGE), bytes);
  await utimes(rooted(IMAGE), atime, mtime);
  await handOver(node.machine.root, node.machine.identity);
}

/** As if nobody had written to it: what a disk gives back wrong, nobody wrote. */
async function passForUnchanged(): Promise<void> {
  const { stdout } = await runTool('stat', ['-c', '%i %s %z', rooted(IMAGE)]);
  await writeFile(rooted('run/kubeos/hashed'), stdout);
}

const CHANGED = 'the image changed on the node since it was staged';

describe.each(SHELLS)('a tar that was staged, by %s,', (shell) => {
  beforeEach(() => begin(shell));

  it('is listed once, by stage', async () => {
    await stage();
    expect(await lists()).toBe(1);
    await node.must('write', { target: 'B' });
    expect((await verify()).values).toEqual({ version: NEW, basis: 'files' });
    expect(await lists()).toBe(1);
  });

  it('is listed and hashed again, before its slot changes, by another boot', async () => {
    await stage();
    await node.machine.boot();
    await node.must('write', { target: 'B' });
    expect(await lists()).toBe(2);
    expect((await verify()).ended).toBe('ok');
  });

  it('and that somebody changed, at its old length and time, is written to no slot', async () => {
    await stage();
    await change();
    const before = await sha256OfFile(node.machine.device('B'));
    const refused = await node.run('write', { target: 'B' });
    expect(refused).toMatchObject({ ended: 'checksum-mismatch', stderr: expect.stringContaining(CHANGED) as string });
    expect(refused.stderr).not.toContain('slot B');
    expect(await sha256OfFile(node.machine.device('B'))).toBe(before);
    expect(await readdir(rooted('persist/kubeos'))).not.toContain('slot-B');
  });

  it('and that the disk gives back wrong, leaves a slot that holds no system, until it is staged and written anew', async () => {
    await stage();
    await change();
    await passForUnchanged();
    const lost = await node.run('write', { target: 'B' });
    expect(lost).toMatchObject({ ended: 'checksum-mismatch', stderr: expect.stringContaining(CHANGED) as string });
    expect(lost.stderr).toContain('slot B, which it was unpacked to, holds no system now');
    expect(await node.observe()).toMatchObject({ 'B.content': 'dirty' });
    expect((await verify()).ended).toBe('out-of-order');
    expect((await node.run('write', { target: 'B' })).ended).toBe('out-of-order');
    await stage();
    await node.must('write', { target: 'B' });
    expect((await verify()).ended).toBe('ok');
  });

  it.each<[string, string, number, boolean]>([
    ['in what it is checked by', `PRETTY_NAME="${NEW}"`, 14, false],
    ['in a header', './boot/initramfs.img\0', 124 + 3, true],
  ])('and that the disk gives back wrong %s, is told as that, and fetched anew', async (_, text, at, isUnpacked) => {
    await stage();
    await change(text, at);
    await passForUnchanged();
    const lost = await node.run('write', { target: 'B' });
    expect(lost).toMatchObject({ ended: 'checksum-mismatch', stderr: expect.stringContaining(CHANGED) as string });
    expect(lost.stderr.includes('slot B, which it was unpacked to')).toBe(isUnpacked);
    expect(await readdir(rooted('persist/KubeOS-Update'))).not.toContain('update.img');
    await stage();
    await node.must('write', { target: 'B' });
    expect((await verify()).ended).toBe('ok');
  });

  it('stays where the slot does not take it', async () => {
    await stage();
    const bin = node.bin;
    const refusing = '#!/bin/sh\necho no >&2\nexit 1\n';
    node.bin = await makeBin(`${bin}-refusing`, shell, { 'mkfs.ext4': refusing });
    expect((await node.run('write', { target: 'B' })).ended).toBe('write-failed');
    expect((await verify()).ended).toBe('out-of-order');
    node.bin = bin;
    await node.must('write', { target: 'B' });
    expect((await verify()).ended).toBe('ok');
  });

  it('is not taken for written where write was killed before it was hashed again', async () => {
    await stage();
    await change();
    await passForUnchanged();
    node.edit = (script) => script.replace(/^\s*need_right_image "\$lost"$/m, () => 'kill -s KILL "$$"');
    expect((await node.run('write', { target: 'B' })).ended).toBe('SIGKILL');
    node.edit = (script) => script;
    expect((await verify()).ended).toBe('out-of-order');
  });
});
