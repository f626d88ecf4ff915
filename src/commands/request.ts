import type { KubectlCluster } from '../cluster/index.ts';
import { UsageError } from '../errors.ts';
import { ownPod } from '../local/index.ts';
import { parseMaxUnavailable, type RequestOptions, type RolloutRequest } from '../rollout/index.ts';
import type { Deps } from './deps.ts';
import type { GoalFlags, ImageFlags, RolloutFlags } from './option-types.ts';

/**
 * A command that can lead to several goals is given one of them.
 * @param words.none what is asked where none is given
 * @throws UsageError for none, and for several
 */
export function needOneGoal(flags: GoalFlags, words: { none: string; next: string }): void {
  const given = [
    ...(flags.file === undefined ? [] : ['-f']),
    ...(flags.toPrevious ? ['--to-previous'] : []),
    ...(flags.toOtherSlot ? ['--to-other-slot'] : []),
  ];
  if (given.length === 1) return;
  throw new UsageError(given.length === 0 ? words.none : `one way at a time: not ${given.join(' and ')} together`, {
    next: words.next,
  });
}

/** What the flags add to a spec, or to a rollback without one. */
export function requestOptions(
  flags: RolloutFlags & Partial<ImageFlags> & { allowMajor: boolean },
  rights: RequestOptions['rights'],
): RequestOptions {
  return {
    selection: selectionOptions(flags),
    ...(flags.maxunavailable === undefined ? {} : { maxUnavailable: parseMaxUnavailable(flags.maxunavailable) }),
    canary: flags.canary,
    maxFailures: flags.maxFailures,
    writeAfterDrain: flags.write === 'after-drain',
    ...(flags.writeRate === undefined ? {} : { writeRate: flags.writeRate }),
    drain: {
      timeoutMs: flags.drainTimeout,
      gracePeriodSeconds: flags.gracePeriod,
      force: flags.force,
      deleteEmptyDirData: flags.deleteEmptydirData,
      disableEviction: flags.disableEviction,
      ...(flags.podSelector === undefined ? {} : { podSelector: flags.podSelector }),
    },
    allowMajor: flags.allowMajor,
    strict: flags.strict,
    allowNoFallback: flags.allowNoFallback,
    managedBoot: flags.managedBoot === true,
    reinstall: flags.reinstall === true,
    retryFailedImage: flags.retryFailedImage === true,
    rights,
  };
}

/** Which nodes the flags leave. */
export function selectionOptions(flags: RolloutFlags): RequestOptions['selection'] {
  const { selector, nodes, exclude, includeControlPlane } = flags;
  return {
    includeControlPlane,
    ...(selector === undefined ? {} : { selector }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(exclude === undefined ? {} : { exclude }),
  };
}

/** The same request, aware of the node that kubeos itself runs on, where it runs as a pod of this very cluster. */
export async function withOwnNode(
  deps: Deps,
  cluster: KubectlCluster,
  request: RolloutRequest,
): Promise<RolloutRequest> {
  const pod = await ownPod(deps.io.env);
  const ownNode = pod === undefined ? undefined : await cluster.nodeOfPod(pod.namespace, pod.name);
  return ownNode === undefined ? request : { ...request, ownNode };
}
