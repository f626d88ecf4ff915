import { ConnectError, KubeosError } from '../errors.ts';
import type { ClusterNode } from './facts.ts';
import type { Finding } from './plan-types.ts';
import type { DiskArtifact, ImageSource, Remote } from './ports.ts';
import type { ImageContent, ImageSeen } from './preflight-types.ts';

/** The image on its server, as the first node that got to see it did. */
export interface Look {
  seen?: ImageSeen & { from: string };
  /** What the server itself answered instead, and to which node. */
  refused?: { from: string; reason: string };
  /** Why nodes got no answer that is the server's own, by node. */
  noWay: ReadonlyMap<string, string>;
}

/** So many nodes are asked, one after the other, until one gets an answer of the server. */
const MOST_ASKED = 2;

/**
 * Looks at the image from one node; where that one has no way to the server, from another.
 * @param candidates nodes that would fetch it
 * @returns undefined where there is nobody to look
 */
export async function lookFromOne(
  remote: Remote,
  candidates: readonly ClusterNode[],
  artifact: DiskArtifact,
  signal?: AbortSignal,
): Promise<Look | undefined> {
  const noWay = new Map<string, string>();
  for (const node of candidates.slice(0, MOST_ASKED)) {
    try {
      const answer = await remote.lookAtImage(node, artifact, signal);
      if (!('reason' in answer)) return { seen: { ...answer, from: node.name }, noWay };
      if (answer.blame === 'server') return { refused: { from: node.name, reason: answer.reason }, noWay };
      noWay.set(node.name, answer.reason);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof KubeosError)) throw error;
      // A node that is gone meanwhile tells nothing of the server.
      if (!(error instanceof ConnectError)) noWay.set(node.name, [error.message, error.reason].join(': '));
    }
  }
  return noWay.size === 0 ? undefined : { noWay };
}

/** Looks at the image from this machine, which will send it to nodes. */
export async function lookFromHere(images: ImageSource, artifact: DiskArtifact, signal?: AbortSignal): Promise<Look> {
  const from = 'this machine';
  const answer = await images.look(artifact, signal);
  if (!('reason' in answer)) return { seen: { ...answer, from }, noWay: new Map() };
  if (answer.blame === 'server') return { refused: { from, reason: answer.reason }, noWay: new Map() };
  return { noWay: new Map([[from, answer.reason]]) };
}

/** What no node takes; what a compressed image is inside shows only on a node that has fetched it. */
const NOT_WRITTEN: Readonly<Partial<Record<ImageContent, string>>> = {
  bzip2: 'compressed with bzip2',
  disk: 'a whole disk with partitions',
  'web-page': 'a web page',
  empty: 'empty',
  unknown: 'neither a file system nor a tar',
};

/** What refuses the whole run: no node could get this image, or write it. */
export function refuseImage(look: Look | undefined): readonly Finding[] {
  if (look === undefined) return [];
  const { seen, refused, noWay } = look;
  if (refused !== undefined) {
    return [
      {
        what: `the image server does not deliver the image: ${refused.reason}`,
        reason: `asked from ${refused.from}`,
        next: 'mend imageurl in the spec, or the server, then give the same command again',
      },
    ];
  }
  if (seen === undefined) {
    return [
      {
        what: 'the nodes do not get the image from its server',
        reason: [...noWay].map(([node, reason]) => `${node}: ${reason}`).join('\n'),
        next: 'check the image server, the way to it from the nodes, and the certificates in /etc/KubeOS/certs',
      },
    ];
  }
  const unfit = NOT_WRITTEN[seen.content];
  if (unfit === undefined) return [];
  return [
    {
      what: `the image is ${unfit}, which kubeos does not write`,
      reason: `its first bytes say so, seen from ${seen.from}`,
      next: 'use an image of the root file system, or a tar of it; plain, gzip, xz or zstd',
    },
  ];
}

/** What the reader should know of the server. */
export function noteOnServer(look: Look | undefined): readonly Finding[] {
  if (look?.seen?.ranges !== false) return [];
  return [
    {
      what: 'the image server does not answer ranges: a download that breaks off begins anew',
      reason: `seen from ${look.seen.from}`,
    },
  ];
}
