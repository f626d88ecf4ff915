import type { DiskArtifact } from './artifacts.ts';
import type { ImageNotSeen, ImageSeen } from './preflight-types.ts';

/** How far a long step is. `totalBytes` is missing where it is not known yet. */
export interface StepProgress {
  doneBytes: number;
  totalBytes?: number;
  /** What it waits for, and how far that is, where nothing goes on at the node itself. */
  waitsFor?: string;
}

/** This machine as one that fetches the image itself, for nodes that cannot. */
export interface ImageSource {
  /** As `lookAtImage` of a node, from here. */
  look(artifact: DiskArtifact, signal?: AbortSignal): Promise<ImageSeen | ImageNotSeen>;
  /**
   * Fetches the image where it is not here yet, and checks it in full; whoever asks meanwhile shares the one download.
   * Where the artifact says so it is decompressed. Resolves to the file, and its own size and SHA-256.
   * Rejects with a KubeosError.
   */
  fetch(
    artifact: DiskArtifact,
    onProgress: (progress: StepProgress) => void,
    signal: AbortSignal,
  ): Promise<{ file: string; bytes: number; sha256: string }>;
}
