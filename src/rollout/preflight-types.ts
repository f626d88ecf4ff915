/**
 * How far one clock is ahead of this machine's, in milliseconds; behind, where it is negative. It was asked for over a
 * network and answered in whole seconds: so it lies between the two.
 */
export interface ClockOffset {
  atLeastMs: number;
  atMostMs: number;
}

/** What a node is asked for beside its standing, before a run begins. */
export interface PreflightRequest {
  /** Names in /etc/KubeOS/certs, where the image comes by https. */
  certificates?: { cacert?: string; clientcert?: string; clientkey?: string };
  /** Where it comes by the node's container engine: that one is asked whether it answers. */
  engine?: 'docker' | 'containerd';
}

/** What a node answers to a `PreflightRequest`. */
export interface PreflightFacts {
  /** Missing where the node has no `date`. */
  clock?: ClockOffset;
  /** By the flags of the mount that /persist lies on. */
  persistReadOnly: boolean;
  /** Missing where the file system does not count them. */
  freeInodes?: number;
  /** Bytes of a download that an earlier run left unfinished. */
  partBytes: number;
  /** Those of the tools that images and certificates need that the node has; `tar` only where it is GNU tar. */
  tools: readonly string[];
  /** Why the certificates asked for cannot be used, one each; without openssl only what a look at the files tells. */
  certificateProblems: readonly string[];
  /** Why the container engine asked for cannot be used; missing where it can, or none was asked for. */
  engineProblem?: string;
}

/** What the first bytes of an image are; `disk` is a whole disk with a partition table. */
export type ImageContent =
  'ext4' | 'xfs' | 'tar' | 'gzip' | 'xz' | 'zstd' | 'bzip2' | 'disk' | 'web-page' | 'empty' | 'unknown';

/** The image on its server, as one node sees it. */
export interface ImageSeen {
  /** Missing where the server does not say. */
  sizeBytes?: number;
  /** The server answers ranges: a download that breaks off goes on where it was. */
  ranges: boolean;
  content: ImageContent;
}

/** Why a node did not get to see it: what the server itself said is the same for all nodes, the rest may lie with one. */
export interface ImageNotSeen {
  blame: 'server' | 'way';
  reason: string;
}
