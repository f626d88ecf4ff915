import { parseMaxUnavailable, type MaxUnavailable } from '../rollout/budget.ts';
import type { ImageRequest, RolloutRequest } from '../rollout/goal.ts';
import type { DiskArtifact, DrainOptions } from '../rollout/ports.ts';
import type { SelectionOptions } from '../rollout/selection.ts';
import {
  redactUrl,
  type DiskImage,
  type NodeSelector,
  type RollbackSpec,
  type UpgradeSpec,
} from '../validate/index.ts';
import type { ImageFlags, RollbackFlags, RolloutFlags } from './option-types.ts';

type Rights = RolloutRequest['rights'];

/** What `plan` and `upgrade` ask for: the spec's goal, narrowed and paced by the flags. */
export function upgradeRequest(spec: UpgradeSpec, flags: RolloutFlags & ImageFlags, rights: Rights): RolloutRequest {
  return {
    ...common(flags, rights, spec),
    goal: { operation: 'upgrade', version: spec.osversion, toOtherSlot: false },
    image: imageRequest(spec),
    writeAfterDrain: flags.write === 'after-drain',
    allowMajor: flags.allowMajor,
    reinstall: flags.reinstall,
  };
}

/** What `rollback` asks for; without a spec the version is worked out from the nodes. */
export function rollbackRequest(flags: RollbackFlags, spec: RollbackSpec | undefined): RolloutRequest {
  return {
    ...common(flags, 'rollout', spec),
    goal: {
      operation: 'rollback',
      toOtherSlot: flags.toOtherSlot,
      ...(spec === undefined ? {} : { version: spec.osversion }),
    },
    writeAfterDrain: false,
    allowMajor: flags.allowMajor,
    reinstall: false,
  };
}

/** The artifact as the nodes need it, with whatever secrets its address holds; missing for container images. */
export function artifactOf(spec: UpgradeSpec): DiskArtifact | undefined {
  return spec.image.type === 'disk' ? diskArtifact(spec.image) : undefined;
}

/** Which nodes a command means: the spec's nodeselector, narrowed by the flags. */
export function selectionOptions(flags: RolloutFlags, nodeselector?: NodeSelector): SelectionOptions {
  const { selector, nodes, exclude, includeControlPlane } = flags;
  return {
    includeControlPlane,
    ...(nodeselector === undefined ? {} : { nodeselector }),
    ...(selector === undefined ? {} : { selector }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(exclude === undefined ? {} : { exclude }),
  };
}

function common(
  flags: RolloutFlags,
  rights: Rights,
  spec: UpgradeSpec | RollbackSpec | undefined,
): Omit<RolloutRequest, 'goal' | 'image' | 'writeAfterDrain' | 'allowMajor' | 'reinstall'> {
  return {
    selection: selectionOptions(flags, spec?.nodeselector),
    maxUnavailable: maxUnavailable(flags, spec),
    canary: flags.canary,
    maxFailures: flags.maxFailures,
    drain: drainOptions(flags, spec?.evictpodforce === true),
    retryFailedImage: false,
    rights,
  };
}

/** The flag beats the spec; a rollback without a spec goes one node at a time. */
function maxUnavailable(flags: RolloutFlags, spec: UpgradeSpec | RollbackSpec | undefined): MaxUnavailable {
  if (flags.maxunavailable !== undefined) return parseMaxUnavailable(flags.maxunavailable);
  return { kind: 'count', count: spec?.maxunavailable ?? 1 };
}

/** KubeOS's evictpodforce means what kubectl drain calls --force --delete-emptydir-data. */
function drainOptions(flags: RolloutFlags, evictPodForce: boolean): DrainOptions {
  return {
    timeoutMs: flags.drainTimeout,
    gracePeriodSeconds: flags.gracePeriod,
    force: flags.force || evictPodForce,
    deleteEmptyDirData: flags.deleteEmptydirData || evictPodForce,
    disableEviction: flags.disableEviction,
    ...(flags.podSelector === undefined ? {} : { podSelector: flags.podSelector }),
  };
}

function imageRequest(spec: UpgradeSpec): ImageRequest {
  const { image } = spec;
  if (image.type !== 'disk') return { type: image.type };
  return { type: 'disk', artifact: diskArtifact(image), shownUrl: redactUrl(image.url) };
}

function diskArtifact(image: DiskImage): DiskArtifact {
  const { type: _type, ...artifact } = image;
  return artifact;
}
