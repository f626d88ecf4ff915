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
