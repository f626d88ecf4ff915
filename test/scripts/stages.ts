import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { handOver } from '../../src/lab/node-tree.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import type { ScriptArguments } from '../../src/remote/compose.ts';
import type { ScriptExit } from '../../src/remote/script-exits.ts';
import { type ImageServer, file, serve } from './image-server.ts';
import { copyNode } from './kill.ts';
import { type Answer, MIB, type Node, makeBin, makeImage, makeNode, makeYard, toolPath } from './node-bed.ts';

export const VERSION = 'KubeOS 1.1.0';
/** Where a node stands on its way to slot B. */
export type Stage =
  'fresh' | 'started' | 'staged' | 'written' | 'verified' | 'armed' | 'trial' | 'proven' | 'committed';

export let yard: Awaited<ReturnType<typeof makeYard>>;
/** The image that the node is upgraded to, and who serves it. */
export let image: SystemImage;
export let server: ImageServer;
let bins = 0;
let copies = 0;
const at = new Map<Stage, Node>();
/** The node that `nodeAt` made last. */
export let node: Node;

export const begin = (more: ScriptArguments = {}): ScriptArguments => ({
  ...{ operation: 'upgrade', version: VERSION, replaced: 'KubeOS 1.0.0', sha256: image.sha256, from: 'A', target: 'B' },
  ...more,
});
export const verify = (more: ScriptArguments = {}): ScriptArguments => ({
  ...{ operation: 'upgrade', target: 'B', version: VERSION, sha256: image.sha256 },
  ...more,
});
export const toB = { target: 'B', version: VERSION };

/** Makes, once for a test file, a node at each stage of its way. */
export function prepareStages(): void {
  beforeAll(async () => {
    yard = await makeYard();
    image = await makeImage(yard.dir, VERSION, { sizeBytes: 2 * MIB });
    server = await serve(file(image.path));
    const bin = await makeBin(path.join(yard.dir, 'bin'), 'dash');
    const old = await makeImage(yard.dir, 'KubeOS 1.0.0', { sizeBytes: 2 * MIB });
    const way = await makeNode(yard.dir, bin, old, { slotBytes: 3 * MIB });
    const keep = async (stage: Stage): Promise<void> => {
      at.set(stage, await copyNode(way, path.join(yard.dir, `at-${stage}`)));
    };
    await keep('fresh');
    await way.must('begin', begin());
    await keep('started');
    await way.must('stage', { url: server.url, sha256: image.sha256, flagsafe: true });
    await keep('staged');
    await way.must('write', { target: 'B' });
    await keep('written');
    await way.must('verify', verify());
    await keep('verified');
    await way.must('arm', toB);
    await keep('armed');
    await way.machine.boot();
    await keep('trial');
    await way.must('prove', toB);
    await keep('proven');
    await way.must('commit', { target: 'B' });
    await keep('committed');
  });

  afterAll(async () => {
    await server.close();
    await yard.remove();
  });
}

export async function nodeAt(stage: Stage): Promise<Node> {
  copies += 1;
  node = await copyNode(at.get(stage)!, path.join(yard.dir, `copy-${copies}`));
  return node;
}

export const rooted = (name: string): string => path.join(node.machine.root, name);
export const put = async (name: string, text: string | Buffer): Promise<void> => {
  await mkdir(path.dirname(rooted(name)), { recursive: true });
  await writeFile(rooted(name), text);
  await handOver(node.machine.dir, node.machine.identity);
};
export const fault = async (kind: string): Promise<void> => put(`../state/faults/${kind}`, '');
export const exec = (name: string): Promise<string> => toolPath(name);

/** A PATH on which some tools are others; an empty text takes a tool away. */
export async function use(tools: Readonly<Record<string, string>>): Promise<void> {
  bins += 1;
  node.bin = await makeBin(path.join(yard.dir, `bin-${bins}`), 'dash', tools);
}

export function expectRefused(answer: Answer, ended: ScriptExit, words: string): void {
  expect(answer.stderr).toContain(words);
  expect(answer.ended).toBe(ended);
  expect(answer.stdout).toBe('');
}
