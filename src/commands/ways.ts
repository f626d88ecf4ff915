import { UsageError } from '../errors.ts';
import type { RolloutRequest } from '../rollout/index.ts';
import type { Deps } from './deps.ts';
import type { ImageFlags } from './option-types.ts';

/** The same request, with what the flags say of the image's way to the nodes. */
export function withWays(deps: Deps, flags: ImageFlags, request: RolloutRequest): RolloutRequest {
  const { via, limitRate, proxy } = flags;
  const { image } = request;
  if (image?.type !== 'disk') return request;
  if (proxy !== undefined && hasPassword(proxy) && deps.argv.some((word) => word.includes(proxy))) {
    throw new UsageError('--proxy has a password in it, which anybody on this machine can read there', {
      next: 'put it into the environment: KUBEOS_PROXY',
    });
  }
  const artifact = {
    ...image.artifact,
    ...(via === undefined ? {} : { via }),
    ...(limitRate === undefined ? {} : { limitRate }),
    ...(proxy === undefined ? {} : { proxy }),
  };
  return { ...request, image: { ...image, artifact }, ...(via === undefined ? {} : { ways: { via, here: false } }) };
}

const hasPassword = (url: string): boolean => new URL(url).password !== '' || new URL(url).username !== '';
