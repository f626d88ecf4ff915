/** A spec that passed every check: what the other layers work with. */
export type OSSpec = UpgradeSpec | RollbackSpec;

export interface UpgradeSpec {
  opstype: 'upgrade';
  /** Must equal the node's osImage after the upgrade, byte for byte, prefix included. */
  osversion: string;
  /** At least 1. */
  maxunavailable: number;
  image: DiskImage | ContainerImage;
  /** Upstream's evictpodforce: drain with --force --delete-emptydir-data. */
  evictpodforce: boolean;
  nodeselector: NodeSelector;
}

export interface RollbackSpec {
  opstype: 'rollback';
  osversion: string;
  maxunavailable: number;
  evictpodforce: boolean;
  nodeselector: NodeSelector;
}

export interface DiskImage {
  type: 'disk';
  /** http or https, credentials and signatures included: never print it, print `redactUrl(url)`. */
  url: string;
  /** SHA-256 of the artifact, 64 lower-case hex digits. */
  sha256: string;
  flagSafe: boolean;
  /** Plain file names in /etc/KubeOS/certs on the node. Present for https only. */
  cacert?: string;
  /** Present with mtls over https only. */
  clientcert?: string;
  clientkey?: string;
}

export interface ContainerImage {
  type: 'docker' | 'containerd';
  /** repository/name with a tag or a digest. */
  reference: string;
  /** The image's digest, of the checksum or of the reference: 64 lower-case hex digits. Missing: its tag is trusted. */
  digest?: string;
  /** What a run calls the image by: its digest, else the SHA-256 of the reference. 64 lower-case hex digits. */
  sha256: string;
}

/**
 * Upstream's nodeselector is the value of the label upgrade.openeuler.org/node-selector: `no-label` means nodes
 * without that label, `all-label` all nodes, any other value the nodes whose label has it ('' included).
 */
export type NodeSelector = { kind: 'no-label' } | { kind: 'all' } | { kind: 'value'; value: string };

export interface Diagnostic {
  severity: 'error' | 'warning' | 'note';
  /** Stable name of the rule, kebab-case: `missing-key`, `insecure-address`. */
  rule: string;
  /** From 1; missing where the finding is about the whole file. */
  line?: number;
  column?: number;
  /** How many columns the caret line marks; at least 1. */
  length?: number;
  /** The line of the file as it stands there, for the caret; credentials redacted. */
  source?: string;
  /** What is wrong, in one sentence without a full stop. */
  message: string;
  /** How to mend it. */
  mend?: string;
}

export interface ValidationResult {
  /** The name that diagnostics show: the file's path, or `<stdin>`. */
  file: string;
  /** Set where there is no error. */
  spec?: OSSpec;
  /**
   * Set where the one error is http without flagSafe: what the spec would be. `kubeos upgrade` uses it to tell the
   * nodes' logs, as the system's usage instructions demand, and downloads nothing.
   */
  insecureSpec?: UpgradeSpec;
  diagnostics: readonly Diagnostic[];
}
