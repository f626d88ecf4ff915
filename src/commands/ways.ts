import { UsageError } from '../errors.ts';
import type { LocalImages } from '../local/index.ts';
import type { RolloutRequest } from '../rollout/index.ts';
import type { DiskArtifact } from '../rollout/ports.ts';
import type { Deps } from './deps.ts';
import type { ImageFlags } from './option-types.ts';

/** A request whose image has its way to the nodes. */
export interface Brought {
  request: RolloutRequest;
  /** This machine as one that fetches the image, where it may. */
  images?: LocalImages;
}

/**
 * The same request, with what the flags say of the image's way to the nodes.
 * @throws UsageError where this machine is to fetch it, and cannot
 */
export async function withWays(deps: Deps, flags: ImageFlags, request: RolloutRequest): Promise<Brought> {
  const { via, certsDir, stream } = flags;
  const { image } = request;
  if (image?.type !== 'disk') {
    if (image !== undefined) refuseForEngine(flags, image.type);
    return { request };
  }
  const artifact = withFetching(deps, flags, image.artifact);
  const brought = { ...request, image: { ...image, artifact } };
  const forced = { ...(via === undefined ? {} : { via }), ...(stream === undefined ? {} : { stream }) };
  const here = via === 'ssh' || certsDir !== undefined || !/^https:/i.test(artifact.url);
  if (!here) return { request: { ...brought, ways: { ...forced, here } } };
  const { decompressorsHere, LocalImages } = await import('../local/images/index.ts');
  const settings = { env: deps.io.env, clock: deps.clock, ...(certsDir === undefined ? {} : { certsDir }) };
  const images = new LocalImages(settings);
  await images.checkCertificates(artifact);
  const decompressors = await decompressorsHere(deps.io.env);
  return { request: { ...brought, ways: { ...forced, here, decompressors } }, images };
}

/** A container engine fetches by its own rules; what the environment says may be meant for other specs. */
function refuseForEngine({ via, limitRate, stream }: ImageFlags, type: string): void {
  const given = { '--via': via, '--limit-rate': limitRate, '--stream': stream };
  const [flag] = Object.entries(given).find(([, value]) => value !== undefined) ?? [];
  if (flag === undefined) return;
  throw new UsageError(`${flag} is for images of imagetype disk: this one is pulled by each node's own ${type}`, {
    next: `leave it out; what ${type} pulls through, its own configuration says`,
  });
}

function withFetching(deps: Deps, { via, limitRate, proxy }: ImageFlags, artifact: DiskArtifact): DiskArtifact {
  if (proxy !== undefined && hasPassword(proxy) && deps.argv.some((word) => word.includes(proxy))) {
    throw new UsageError('--proxy has a password in it, which anybody on this machine can read there', {
      next: 'put it into the environment: KUBEOS_PROXY',
    });
  }
  return {
    ...artifact,
    ...(via === undefined ? {} : { via }),
    ...(limitRate === undefined ? {} : { limitRate }),
    ...(proxy === undefined ? {} : { proxy }),
  };
}

const hasPassword = (url: string): boolean => new URL(url).password !== '' || new URL(url).username !== '';
