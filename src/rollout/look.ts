import pLimit from 'p-limit';
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
  /** Why this machine, which was to send it to nodes, got no such answer either. */
  notHere?: string;
}

/** More never ask the server at once. */
const ASKED_AT_ONCE = 64;
/** Where so many have no way to the server, the others are taken to have none either: each would wait for an answer. */
const ENOUGH = 8;

/**
 * Looks at the image from one node, and has all others see whether they get to its server, too. What the server refuses to
 * one it is not asked by others for.
 * @param nodes those that would fetch it
 */
export async function lookFromNodes(
  remote: Remote,
  nodes: readonly ClusterNode[],
  artifact: DiskArtifact,
  signal?: AbortSignal,
): Promise<Look> {
  const ask = (node: ClusterNode): Promise<Look> => lookFromOne(remote, node, artifact, signal);
  const [first, ...others] = nodes;
  const look: Look = first === undefined ? NOTHING_SEEN : await ask(first);
  if (look.refused !== undefined) return look;
  const few = await all(others.slice(0, ENOUGH - 1), ask);
  const met = few.reduce(together, look);
  const rest = others.slice(ENOUGH - 1);
  const isAlike = met.seen === undefined && met.refused === undefined && met.noWay.size >= ENOUGH;
  if (isAlike) return { noWay: new Map([...met.noWay, ...rest.map(({ name }) => [name, ALIKE] as const)]) };
  return (await all(rest, ask)).reduce(together, met);
}

const ALIKE = 'not asked, since no other node that was asked gets an answer';

function all(nodes: readonly ClusterNode[], ask: (node: ClusterNode) => Promise<Look>): Promise<Look[]> {
  const limit = pLimit(ASKED_AT_ONCE);
  return Promise.all(nodes.map((node) => limit(() => ask(node))));
}

const NOTHING_SEEN: Look = { noWay: new Map() };

/** An answer of the server, be it a refusal, shows that there is a way to it. */
function together(one: Look, other: Look): Look {
  const seen = one.seen ?? other.seen;
  const refused = one.refused ?? other.refused;
  const noWay = new Map([...one.noWay, ...other.noWay]);
  if (seen !== undefined) return { seen, noWay };
  return { ...(refused === undefined ? {} : { refused }), noWay };
}

async function lookFromOne(
  remote: Remote,
  node: ClusterNode,
  artifact: DiskArtifact,
  signal: AbortSignal | undefined,
): Promise<Look> {
  const noWay = (reason: string): Look => ({ noWay: new Map([[node.name, reason]]) });
  try {
    const answer = await remote.lookAtImage(node, artifact, signal);
    if (!('reason' in answer)) return { ...NOTHING_SEEN, seen: { ...answer, from: node.name } };
    const { blame, reason } = answer;
    return blame === 'server' ? { ...NOTHING_SEEN, refused: { from: node.name, reason } } : noWay(reason);
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof KubeosError)) throw error;
    // A node that is gone meanwhile tells nothing of the server.
    return error instanceof ConnectError ? NOTHING_SEEN : noWay([error.message, error.reason].join(': '));
  }
}

/** Looks at the image from this machine, which will send it to nodes. */
export async function lookFromHere(images: ImageSource, artifact: DiskArtifact, signal?: AbortSignal): Promise<Look> {
  const from = 'this machine';
  const answer = await images.look(artifact, signal);
  if (!('reason' in answer)) return { seen: { ...answer, from }, noWay: new Map() };
  const { blame, reason } = answer;
  if (blame === 'server') return { refused: { from, reason }, noWay: new Map(), notHere: reason };
  return { noWay: new Map([[from, reason]]), notHere: reason };
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
        reason: byReason(noWay),
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

function byReason(noWay: Look['noWay']): string {
  const nodes = new Map<string, string[]>();
  for (const [node, reason] of noWay) nodes.set(reason, [...(nodes.get(reason) ?? []), node]);
  return [...nodes].map(([reason, names]) => `${names.join(', ')}: ${reason}`).join('\n');
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
