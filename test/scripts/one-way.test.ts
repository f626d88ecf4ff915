import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Slot } from '../../src/rollout/facts.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { type ImageServer, file, serve } from './image-server.ts';
import { type Node, SHELLS, type Shell, makeBin, makeImage, makeNode, makeYard } from './node-bed.ts';

let yard: Awaited<ReturnType<typeof makeYard>>;
let images: Record<'old' | 'new' | 'newer', SystemImage>;
const servers: ImageServer[] = [];
const bins = new Map<Shell, string>();

beforeAll(async () => {
  yard = await makeYard();
  images = {
    old: await makeImage(yard.dir, 'KubeOS 1.0.0'),
    new: await makeImage(yard.dir, 'KubeOS 1.1.0'),
    newer: await makeImage(yard.dir, 'KubeOS 1.2.0', { label: 'ROOT-B' }),
  };
  for (const shell of SHELLS) bins.set(shell, await makeBin(path.join(yard.dir, `bin-${shell}`), shell));
});

afterAll(async () => {
  for (const server of servers) await server.close();
  await yard.remove();
});

/** Takes a node the whole way to an image in its inactive slot. */
async function upgrade(node: Node, image: SystemImage, from: Slot, replaced: string): Promise<void> {
  const target = from === 'A' ? 'B' : 'A';
  const { version, sha256 } = image;
  const server = await serve(file(image.path));
  servers.push(server);
  await node.must('claim');
  await node.must('begin', { operation: 'upgrade', version, replaced, sha256, from, target });
  expect((await node.must('stage', { url: `${server.url}/update.img`, sha256, flagsafe: true })).values).toEqual({
    bytes: String(image.bytes),
  });
  expect((await node.must('write', { target })).values).toEqual({ bytes: String(image.bytes) });
  expect((await node.must('verify', { operation: 'upgrade', target, version, sha256 })).values).toEqual({
    version,
    basis: 'bytes',
  });
  await node.must('arm', { target, version });
  expect(await node.observe()).toMatchObject({ 'env.saved': from, 'env.next': target, 'journal.phase': 'armed' });
  expect((await node.must('reboot', { purpose: 'trial' })).values).toEqual({ accepted: 'yes' });
  expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: target, trial: true, version });
  expect((await node.ask('boot-report')).values).toMatchObject({ active: target, version });
  await node.must('prove', { target, version });
  await node.must('commit', { target });
  expect(await node.machine.boot()).toMatchObject({ kind: 'up', slot: target, trial: false, version });
}

describe.each(SHELLS)('a node whose sh is %s', (shell) => {
  it.each(['uefi', 'bios'] as const)('goes from A to B and on to A, by %s', async (firmware) => {
    const node = await makeNode(yard.dir, bins.get(shell)!, images.old, { firmware });
    expect(await node.observe()).toMatchObject({
      os_version: 'KubeOS 1.0.0',
      active: 'A',
      'A.content': 'bootable',
      'B.content': 'unbootable',
      'B.device': '/dev/vda3',
      'env.saved': 'A',
      firmware,
      token: '0',
    });

    await upgrade(node, images.new, 'A', 'KubeOS 1.0.0');
    const after = await node.observe();
    expect(after).toMatchObject({
      active: 'B',
      'A.version': 'KubeOS 1.0.0',
      'A.content': 'bootable',
      'B.label': 'ROOT-B',
      'B.record_version': 'KubeOS 1.1.0',
      'B.record_sha256': images.new.sha256,
      'B.record_holds': 'yes',
      'env.saved': 'B',
      'journal.phase': 'committed',
      'journal.replaced': 'KubeOS 1.0.0',
    });
    expect(after).not.toHaveProperty(['env.next']);
    expect(after).not.toHaveProperty(['artifact.sha256']);

    node.by = { run: 'run-2', token: 2 };
    await upgrade(node, images.newer, 'B', 'KubeOS 1.1.0');
    expect(await node.observe()).toMatchObject({
      active: 'A',
      os_version: 'KubeOS 1.2.0',
      'A.label': 'ROOT-A',
      'B.version': 'KubeOS 1.1.0',
      'B.content': 'bootable',
      'B.record_holds': 'yes',
      token: '2',
    });
  });
});
