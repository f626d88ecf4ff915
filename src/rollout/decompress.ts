import { COMPRESSIONS, type Compression, type Ways } from './artifacts.ts';
import type { NodeObservation } from './facts.ts';
import type { RolloutRequest } from './goal.ts';
import type { Look } from './look.ts';
import type { Finding } from './plan-types.ts';
import { MARGIN_BYTES, roomOf } from './room.ts';

interface Subject {
  seen: NodeObservation;
  request: Pick<RolloutRequest, 'image' | 'ways'>;
  look?: Look | undefined;
}

/** What the image is compressed with and the node has no tool for; undefined where all is well, or nothing is known. */
function lackedBy({ seen, look, request }: Subject): Compression | undefined {
  const { artifact } = seen;
  if (artifact?.lacks !== undefined && artifact.sha256 === request.image?.artifact.sha256) return artifact.lacks;
  const tools = seen.preflight?.tools;
  const needed = COMPRESSIONS.find((one) => one === look?.seen?.content);
  return needed === undefined || tools === undefined || tools.includes(needed) ? undefined : needed;
}

const mayFetch = ({ via, here }: Ways): boolean => here && (via === undefined || via === 'ssh');

/** With what this machine decompresses the image for the node; undefined where it need not, or cannot. */
export function decompressedHere(subject: Subject): Compression | undefined {
  const { ways, image } = subject.request;
  const lacked = lackedBy(subject);
  if (lacked === undefined || image?.type !== 'disk' || ways === undefined || !mayFetch(ways)) return undefined;
  return ways.decompressors?.includes(lacked) === true ? lacked : undefined;
}

/** Neither the node nor this machine can decompress the image. */
export function refuseCompression(subject: Subject): readonly Finding[] {
  const lacked = lackedBy(subject);
  if (lacked === undefined || decompressedHere(subject) !== undefined) return [];
  const what = `it has no ${lacked}, and the image is compressed with it`;
  const { ways, image } = subject.request;
  if (image?.type !== 'disk') return [{ what, next: 'install it on the node' }];
  if (ways?.notHere !== undefined) {
    const reason = `this machine, which may fetch it, does not get it: ${ways.notHere}`;
    return [{ what, reason, next: 'install it on the node, or see what is in the way from here' }];
  }
  if (ways === undefined || !mayFetch(ways)) {
    const by = ways?.via === undefined || ways.via === 'ssh' ? '--certs-dir' : '--via ssh';
    return [{ what, next: `install it on the node, or let this machine fetch the image and decompress it: ${by}` }];
  }
  const next = `install ${lacked} on this machine or on the node, or use the image as it is without compression`;
  return [{ what, reason: `nor has this machine ${lacked}`, next }];
}

/** How much the image becomes shows only here, once it is decompressed; it can be no more than a slot. */
export function warnOfDecompressed(subject: Subject): readonly Finding[] {
  const { seen } = subject;
  const slotBytes = Math.max(0, ...Object.values(seen.slots ?? {}).map(({ sizeBytes }) => sizeBytes));
  if (decompressedHere(subject) === undefined || roomOf(seen) >= slotBytes + MARGIN_BYTES) return [];
  return [
    {
      what: 'whether the image fits into /persist shows only once this machine has decompressed it',
      next: 'where it does not: --stream always',
    },
  ];
}
