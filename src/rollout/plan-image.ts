import type { NodeGoal, RolloutRequest } from './goal.ts';
import type { Look } from './look.ts';
import type { Finding, Plan } from './plan-types.ts';

/** What the plan says of the image. @param look as a node saw it on its server */
export function imageOf({ goal, image }: RolloutRequest, look: Look | undefined): Pick<Plan, 'image'> {
  if (goal.operation !== 'upgrade' || image === undefined) return {};
  if (image.type !== 'disk') {
    const { reference, sha256, digest } = image.artifact;
    return {
      image: { type: image.type, shownUrl: reference, sha256, trusted: digest === undefined ? 'tag' : 'digest' },
    };
  }
  const { shownUrl, artifact } = image;
  const seen = look?.seen;
  return { image: { type: 'disk', shownUrl, sha256: artifact.sha256, ...(seen === undefined ? {} : { seen }) } };
}

/** The part of a goal that says whether a container engine brings the image. */
export const byEngine = (type: 'disk' | 'docker' | 'containerd' | undefined): Pick<NodeGoal, 'byEngine'> =>
  type === undefined || type === 'disk' ? {} : { byEngine: true };

/** A tag is a promise of whoever may push to the registry. */
export function noteTrustedTag(image: RolloutRequest['image']): readonly Finding[] {
  if (image === undefined || image.type === 'disk' || image.artifact.digest !== undefined) return [];
  return [
    {
      what: 'the image is trusted by its tag alone: the spec gives no digest',
      reason: 'the first node that pulls it tells its digest; another one on a later node stops that node',
      next: "to be certain, write the image's digest: checksum: sha256:...",
    },
  ];
}
