import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import { assemble, type AssembledBed } from '../vm/assemble.ts';
import type { BedNode } from '../vm/node.ts';
import { imageOf, NamespaceNode } from './namespace-node.ts';
import { Yard } from './yard.ts';

/** A bed whose nodes are namespaces. */
export interface NamespaceBed extends AssembledBed<NamespaceNode> {
  readonly yard: Yard;
  image(version: string): Promise<SystemImage>;
}
export type NsNode = BedNode<NamespaceNode>;

export async function startNamespaceBed(): Promise<NamespaceBed> {
  const yard = await Yard.make();
  const folder = await mkdtemp(path.join(tmpdir(), 'kubeos-images-'));
  const bed = await assemble<NamespaceNode>({}, (undo) => {
    undo.push(
      () => yard.close(),
      () => rm(folder, { recursive: true, force: true }),
    );
    return Promise.resolve({
      ...{ host: Yard.ADDRESS, lead: (port) => yard.lead(port), through: yard.through },
      machine: (node, place) => NamespaceNode.start(yard, node, place),
    });
  });
  return {
    ...bed,
    yard,
    image: async (version) => {
      const file = await imageOf(folder, version);
      return { path: file, version, sha256: await sha256OfFile(file), bytes: (await stat(file)).size };
    },
  };
}
