import { redactUrl, type OSSpec, type UpgradeSpec } from '../validate/index.ts';
import type { MaxUnavailable } from './budget.ts';
import type { ImageRequest, RolloutRequest } from './goal.ts';
import type { Artifact, DiskArtifact } from './ports.ts';
import type { SelectionOptions } from './selection.ts';

/** What a command line adds to a spec, or to a rollback without one. */
export type RequestOptions = Omit<RolloutRequest, 'goal' | 'image' | 'selection' | 'maxUnavailable'> & {
  selection: Omit<SelectionOptions, 'nodeselector'>;
  /** `--maxunavailable`; else what the spec says, or 1. */
  maxUnavailable?: MaxUnavailable;
};

/** What a spec asks for. */
export function requestForSpec(spec: OSSpec, options: RequestOptions): RolloutRequest {
  const drain = spec.evictpodforce ? { ...options.drain, force: true, deleteEmptyDirData: true } : options.drain;
  return {
    ...options,
    drain,
    goal: { operation: spec.opstype, version: spec.osversion, toOtherSlot: false },
    ...(spec.opstype === 'upgrade' ? { image: imageOf(spec) } : {}),
    selection: { ...options.selection, nodeselector: spec.nodeselector },
    maxUnavailable: options.maxUnavailable ?? { kind: 'count', count: spec.maxunavailable },
  };
}

/** `rollback --to-previous`, or `--to-other-slot`: without a spec. */
export function requestForRollback(options: RequestOptions, toOtherSlot: boolean): RolloutRequest {
  return {
    ...options,
    goal: { operation: 'rollback', toOtherSlot },
    maxUnavailable: options.maxUnavailable ?? { kind: 'count', count: 1 },
  };
}

/** Where a spec's image is; undefined for a rollback. */
export const artifactOf = (request: RolloutRequest): Artifact | undefined => request.image?.artifact;

/** Where a spec's disk image is; undefined for a container image or a rollback. */
export const diskOf = ({ image }: RolloutRequest): DiskArtifact | undefined =>
  image?.type === 'disk' ? image.artifact : undefined;

function imageOf({ image }: UpgradeSpec): ImageRequest {
  if (image.type !== 'disk') {
    const { type, reference, sha256, digest } = image;
    return { type, artifact: { engine: type, reference, sha256, ...(digest === undefined ? {} : { digest }) } };
  }
  const artifact: DiskArtifact & { type?: 'disk' } = { ...image };
  delete artifact.type;
  return { type: 'disk', artifact, shownUrl: redactUrl(image.url) };
}
