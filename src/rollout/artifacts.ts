/** How the image comes to a node: by a tool of its own, or from this machine, which fetches it once, over SSH. */
export type Via = 'curl' | 'wget' | 'ssh';

/** How an image may be compressed; each is the name of the tool too. */
export const COMPRESSIONS = ['gzip', 'xz', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** Which nodes' slots are written while the image arrives: those without room for it in /persist, or all. */
export type Streaming = 'where-needed' | 'always';

/** What a run may do to bring the image to its nodes. */
export interface Ways {
  /** For every node; missing: for each by what it has. */
  via?: Via;
  /** This machine can fetch the image: it has the certificates that https needs. */
  here: boolean;
  /** Why this machine does not get the image all the same, where it was asked. */
  notHere?: string;
  /** Missing: none. */
  stream?: Streaming;
  /** The decompressors of this machine, for nodes without the one that the image needs. */
  decompressors?: readonly Compression[];
}

/** A disk image, which a node fetches from a server. */
export interface DiskArtifact {
  url: string;
  /** 64 lower-case hex digits. */
  sha256: string;
  /** The spec's flagSafe; http is refused without it, by the node too. */
  flagSafe: boolean;
  /** Plain file names in /etc/KubeOS/certs. */
  cacert?: string;
  clientcert?: string;
  clientkey?: string;
  /** How it comes to the node; missing: by curl, else by wget of the node's own. */
  via?: Via;
  /** With `via` ssh: this machine decompresses it, since the node cannot. */
  decompress?: Compression;
  /** Bytes a second at most: for each node, and for all that this machine feeds. */
  limitRate?: number;
  /** The URL of the proxy to go through; none but this is ever used. May hold a password. */
  proxy?: string;
}

/** A container image, whose /os.tar is the artifact; the node's own engine pulls it. */
export interface ContainerArtifact {
  engine: 'docker' | 'containerd';
  /** repository/name with a tag or a digest. */
  reference: string;
  /** What it is called by, as DiskArtifact's: the digest that the spec gives, else the SHA-256 of the reference. */
  sha256: string;
  /** The digest that the image must have, 64 lower-case hex digits; missing: its tag is trusted. */
  digest?: string;
  /** The digest that a tag had on another node of this run. */
  pinned?: string;
}

export type Artifact = DiskArtifact | ContainerArtifact;
