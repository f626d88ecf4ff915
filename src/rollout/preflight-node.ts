import { otherSlot, type ClusterNode, type NodeObservation, type Slot, type SlotFacts } from './facts.ts';
import { decompressedHere, refuseCompression, warnOfDecompressed } from './decompress.ts';
import type { NodeGoal, RolloutRequest } from './goal.ts';
import type { Look } from './look.ts';
import { managedBootErrors } from './managed-boot.ts';
import { isSinceOpenEuler2209 } from './openeuler.ts';
import type { Finding } from './plan-types.ts';
import type { DiskArtifact } from './ports.ts';
import type { ImageContent, PreflightFacts } from './preflight-types.ts';
import { isStreamed, isTooSmall, MARGIN_BYTES, roomOf } from './room.ts';
import { rebootAhead, type Way } from './standing.ts';
import { formatBytes } from './units.ts';
import { viaOf } from './via.ts';

/** What stands in a node's way before its first step, and what its reader should know. */
export interface NodePreflight {
  /** Any of these keeps the node from being started. */
  errors: readonly Finding[];
  warnings: readonly Finding[];
}

interface Subject {
  node: Pick<ClusterNode, 'name'>;
  way: Way;
  seen: NodeObservation;
  goal: NodeGoal;
  request: Pick<RolloutRequest, 'image' | 'managedBoot' | 'ways'>;
  look?: Look | undefined;
}

/** A run's own notes, and a margin: the journal and the records are a few hundred bytes each. */
const NEEDED_BYTES = 1024 * 1024;
const NEEDED_INODES = 16;

/**
 * Judges one node. A node that is armed or on trial is judged no more: it must be brought to its end.
 * @param subject.way what the node still needs
 */
export function preflightNode(subject: Subject): NodePreflight {
  const { way, seen } = subject;
  if (!rebootAhead(way.firstStep) || way.firstStep === 'reboot') return { errors: [], warnings: [] };
  const facts = seen.preflight;
  const fetches = way.firstStep === 'stage';
  const errors = [
    ...(facts === undefined ? [] : persistErrors(facts, seen, fetches)),
    ...(fetches ? [...releaseFindings(subject, false), ...engineErrors(subject), ...fetchErrors(subject)] : []),
    ...managedBootErrors(way, seen, subject.request),
    ...sizeErrors(subject),
    ...contentErrors(subject),
  ];
  const warnings = fetches
    ? [...releaseFindings(subject, true), ...fetchWarnings(subject), ...engineWarnings(subject)]
    : [];
  return { errors, warnings };
}

function persistErrors(facts: PreflightFacts, seen: NodeObservation, fetches: boolean): readonly Finding[] {
  if (facts.persistReadOnly) {
    return [
      {
        what: '/persist is mounted read-only',
        reason: 'the image and the notes of a run go there',
        next: 'see why on the node (dmesg: an ext4 with errors becomes read-only), mend it, then:\n  mount -o remount,rw /persist',
      },
    ];
  }
  const inodes = facts.freeInodes;
  if (inodes !== undefined && inodes < NEEDED_INODES) {
    return [{ what: `/persist has ${inodes} inodes left`, next: 'remove files from /persist on the node' }];
  }
  if (fetches || seen.freeBytes >= NEEDED_BYTES) return [];
  return [{ what: `/persist is full: ${formatBytes(seen.freeBytes)} free`, next: 'make room in /persist on the node' }];
}

/** This machine fetches the image for it: the node's own tools, certificates and system have no part in that. */
const isFed = (subject: Subject): boolean => {
  const { node, seen, request, look } = subject;
  return decompressedHere(subject) !== undefined || viaOf(seen, request.ways, look?.noWay.has(node.name)) === 'ssh';
};

/** What KubeOS's usage instructions allow only in openEuler 22.09 or later. */
function releaseFindings(subject: Subject, asWarning: boolean): readonly Finding[] {
  const { seen, request } = subject;
  const { image } = request;
  const artifact = image?.type === 'disk' && !isFed(subject) ? image.artifact : undefined;
  const what =
    image?.type === 'docker' ? 'a docker image' : artifact?.clientcert === undefined ? undefined : 'mTLS (mtls: true)';
  const since = isSinceOpenEuler2209(seen.kernelVersion);
  if (what === undefined || since === true || (since === undefined) !== asWarning) return [];
  const kernel = `its kernel is ${seen.kernelVersion}`;
  if (asWarning) {
    return [
      {
        what: `whether it runs openEuler 22.09 or later cannot be told, which KubeOS demands for ${what}`,
        reason: kernel,
      },
    ];
  }
  return [
    {
      what: `KubeOS supports ${what} only in openEuler 22.09 or later`,
      reason: kernel,
      next: 'bring it to a newer system by a disk image over https without mTLS, or leave it out: --exclude',
    },
  ];
}

/** The container engine; what a node's standing knows already is curl. */
function engineErrors({ seen, request }: Subject): readonly Finding[] {
  const { image } = request;
  const { tools, engineProblem } = seen.preflight ?? {};
  if (tools === undefined || engineProblem === undefined || image === undefined || image.type === 'disk') return [];
  const isThere = tools.includes(image.type === 'docker' ? 'docker' : 'ctr');
  const next = isThere
    ? `see why on the node, and start it:\n  systemctl status ${image.type}`
    : 'install it on the node, or use a disk image: imagetype: disk';
  return [{ what: engineProblem, next }];
}

/** What KubeOS's own agent asks for before it pulls an image (its Rust agent, for docker and containerd alike). */
const ENGINE_BYTES = 3 * 1024 ** 3;

function engineWarnings({ seen, request }: Subject): readonly Finding[] {
  if (request.image === undefined || request.image.type === 'disk' || seen.freeBytes >= ENGINE_BYTES) return [];
  return [
    {
      what: 'whether the image fits shows only once it is pulled',
      reason: `/persist has ${formatBytes(seen.freeBytes)} free, KubeOS's own agent asks for ${formatBytes(ENGINE_BYTES)}`,
    },
  ];
}

function fetchErrors(subject: Subject): readonly Finding[] {
  const { node, seen, request, look } = subject;
  if (isFed(subject)) return spaceErrors(subject);
  const problems = seen.preflight?.certificateProblems ?? [];
  const certificates = problems.map((what) => ({
    what,
    next: 'put the right files into /etc/KubeOS/certs on the node (and see its clock: date)',
  }));
  const noWay = look?.seen === undefined ? undefined : look.noWay.get(node.name);
  const notHere = request.ways?.notHere;
  const away = {
    what: 'it does not get the image from its server, though another node does',
    reason: [noWay, ...(notHere === undefined ? [] : [`this machine: ${notHere}`])].join('\n'),
    next: 'see from the node what is in the way: name service, routes, firewall, certificates, clock',
  };
  // Certificates that are of no use say why already.
  const isAway = noWay !== undefined && request.image !== undefined && certificates.length === 0;
  return [...certificates, ...(isAway ? [away] : []), ...spaceErrors(subject)];
}

function spaceErrors({ seen, request, look }: Subject): readonly Finding[] {
  const makeRoom = 'make room in /persist on the node';
  const free = `${formatBytes(seen.freeBytes)} free`;
  if (isStreamed(seen, request, look)) {
    if (roomOf(seen) >= MARGIN_BYTES) return [];
    const reason = `${free}, ${formatBytes(MARGIN_BYTES)} needed`;
    return [{ what: 'too little room in /persist for the notes of a run', reason, next: makeRoom }];
  }
  if (!isTooSmall(seen, look)) return [];
  return [
    {
      what: 'too little room in /persist for the image',
      reason: `${free}, ${formatBytes((look?.seen?.sizeBytes ?? 0) + MARGIN_BYTES)} needed`,
      next: roomOf(seen) < MARGIN_BYTES ? makeRoom : `${makeRoom}, ${OR_STREAM}`,
    },
  ];
}

function sizeErrors({ way, seen, goal, look }: Subject): readonly Finding[] {
  const { active, slots, artifact } = seen;
  if (!writes(way, goal) || active === undefined || slots === undefined) return [];
  const content = look?.seen?.content;
  // How much a tar or a compressed image becomes shows only on the node, before the slot changes.
  if (content !== undefined && !isRaw(content)) return [];
  const size = way.firstStep === 'write' ? artifact?.bytes : look?.seen?.sizeBytes;
  return tooBig(size, otherSlot(active), slots);
}

const OR_STREAM = 'or let the image go straight into the slot: --stream; the system in it is given up first then';

const isRaw = (content: ImageContent): boolean => content === 'ext4' || content === 'xfs';

/** As write.sh: what the node must be and have for this very image. */
function contentErrors(subject: Subject): readonly Finding[] {
  const { way, seen, goal, look } = subject;
  const { active, slots, preflight } = seen;
  const content = look?.seen?.content;
  if (!writes(way, goal) || active === undefined || slots === undefined) return [];
  const { fsType } = slots[active];
  return [
    ...(content !== undefined && isRaw(content) ? otherFileSystem(content, fsType) : []),
    ...(content === undefined || preflight === undefined ? [] : missingTools(content, fsType, preflight.tools)),
    ...refuseCompression(subject),
  ];
}

function missingTools(content: ImageContent, fsType: string, tools: readonly string[]): readonly Finding[] {
  const missing = toolsFor(content, fsType).filter((tool) => !tools.includes(tool));
  if (missing.length === 0) return [];
  const named = missing.map((tool) => (tool === 'tar' ? 'GNU tar' : tool)).join(', no ');
  const next = `install ${missing.length === 1 ? 'it' : 'them'} on the node`;
  return [{ what: `it has no ${named}, which this image needs`, next }];
}

function toolsFor(content: ImageContent, fsType: string): readonly string[] {
  return content === 'tar' ? ['tar', 'find', 'sort', 'xargs', 'comm', `mkfs.${fsType}`] : [];
}

const writes = ({ firstStep }: Way, { operation }: NodeGoal): boolean =>
  operation === 'upgrade' && (firstStep === 'stage' || firstStep === 'write');

function tooBig(size: number | undefined, target: Slot, slots: Readonly<Record<Slot, SlotFacts>>): readonly Finding[] {
  const { sizeBytes, device } = slots[target];
  if (size === undefined || size <= sizeBytes) return [];
  return [
    {
      what: `the image is bigger than slot ${target}`,
      reason: `the image has ${formatBytes(size)}, ${device} ${formatBytes(sizeBytes)}`,
      next: 'use an image that fits the partitions, or leave the node out: --exclude',
    },
  ];
}

/** As write.sh: GRUB and the kernel's command line know the file system that the node runs. */
function otherFileSystem(content: ImageContent, fsType: string): readonly Finding[] {
  if (fsType === content) return [];
  const named = fsType === '' ? 'of another type' : fsType;
  return [{ what: `the image is ${content}, but the root of this node is ${named}`, next: 'leave it out: --exclude' }];
}

function fetchWarnings(subject: Subject): readonly Finding[] {
  const { seen, request, look } = subject;
  const warnings: Finding[] = [...warnOfDecompressed(subject)];
  const artifact = request.image?.type === 'disk' ? request.image.artifact : undefined;
  if (
    artifact !== undefined &&
    !isFed(subject) &&
    isHttps(artifact) &&
    seen.preflight?.tools.includes('openssl') === false
  ) {
    warnings.push({
      what: 'it has no openssl: whether its certificates are valid and the key fits shows only at the download',
    });
  }
  if (look?.seen !== undefined && look.seen.sizeBytes === undefined) {
    warnings.push({
      what: 'whether the image fits cannot be told: its server does not say how big it is',
      reason: `/persist has ${formatBytes(seen.freeBytes)} free`,
    });
  }
  return warnings;
}

/** The image comes by https, so that certificates of the node take part. */
export const isHttps = ({ url }: DiskArtifact): boolean => /^https:/i.test(url);
