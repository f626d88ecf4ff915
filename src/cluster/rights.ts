import * as z from 'zod';
import type { MissingRight } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { LOCK_NAME } from './lease.ts';

export type RightsPurpose = 'read' | 'rollout';

/** One thing that kubeos or the kubectl drain it starts asks of the API server. */
export interface Right {
  verb: string;
  /** '' is the core group. */
  group: string;
  /** With its subresource, as RBAC writes it: `pods/eviction`. */
  resource: string;
  /** Missing: in all namespaces. */
  namespace?: 'lock' | 'kube-node-lease';
  /** The one object it is about, where RBAC can say so. */
  name?: string;
  /** `delete`: only with --disable-eviction, where pods are deleted instead of evicted. */
  purpose: RightsPurpose | 'delete';
}

const COORDINATION = 'coordination.k8s.io';

/**
 * Everything that is asked of the API server, and nothing else; examples/rbac.yaml is tested against it. What kubectl
 * drain needs was seen with kubectl 1.32: it reads the node, lists its pods, gets the DaemonSets that own some of them,
 * evicts, and gets each pod until it is gone. (It would also patch the node, which is cordoned already.)
 */
export const RIGHTS: readonly Right[] = [
  { verb: 'list', group: '', resource: 'nodes', purpose: 'read' },
  { verb: 'list', group: '', resource: 'pods', purpose: 'read' },
  { verb: 'list', group: 'policy', resource: 'poddisruptionbudgets', purpose: 'read' },
  { verb: 'get', group: 'apps', resource: 'daemonsets', purpose: 'read' },
  { verb: 'list', group: 'upgrade.openeuler.org', resource: 'os', purpose: 'read' },
  { verb: 'get', group: COORDINATION, resource: 'leases', namespace: 'lock', name: LOCK_NAME, purpose: 'read' },
  { verb: 'get', group: '', resource: 'nodes', purpose: 'rollout' },
  { verb: 'watch', group: '', resource: 'nodes', purpose: 'rollout' },
  { verb: 'patch', group: '', resource: 'nodes', purpose: 'rollout' },
  { verb: 'get', group: '', resource: 'pods', purpose: 'rollout' },
  { verb: 'create', group: '', resource: 'pods/eviction', purpose: 'rollout' },
  { verb: 'create', group: COORDINATION, resource: 'leases', namespace: 'lock', purpose: 'rollout' },
  { verb: 'update', group: COORDINATION, resource: 'leases', namespace: 'lock', name: LOCK_NAME, purpose: 'rollout' },
  { verb: 'get', group: COORDINATION, resource: 'leases', namespace: 'kube-node-lease', purpose: 'rollout' },
  { verb: 'delete', group: '', resource: 'pods', purpose: 'delete' },
];

const reviewSchema = z.object({
  status: z.object({ allowed: z.boolean(), reason: z.string().optional() }),
});

/** Asks the API server about each right that the purpose needs, all at once; a rollout needs those of `read` too. */
export async function findMissingRights(
  api: Api,
  lockNamespace: string,
  purpose: RightsPurpose,
  deletesPods: boolean,
): Promise<readonly MissingRight[]> {
  const needed = RIGHTS.filter(
    (right) => right.purpose === 'read' || (purpose === 'rollout' && (right.purpose === 'rollout' || deletesPods)),
  );
  const reviews = await Promise.all(needed.map((right) => review(api, right, lockNamespace)));
  return reviews.filter((missing) => missing !== undefined);
}

async function review(api: Api, right: Right, lockNamespace: string): Promise<MissingRight | undefined> {
  const namespace = right.namespace === 'lock' ? lockNamespace : right.namespace;
  const [resource, subresource] = right.resource.split('/');
  const { status } = await api.send({
    doing: 'ask for the rights that this login has',
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: {
        resourceAttributes: {
          verb: right.verb,
          group: right.group,
          resource,
          ...(subresource === undefined ? {} : { subresource }),
          ...(namespace === undefined ? {} : { namespace }),
          ...(right.name === undefined ? {} : { name: right.name }),
        },
      },
    },
    answer: reviewSchema,
  });
  if (status.allowed) return undefined;
  return {
    verb: right.verb,
    resource: right.group === '' ? right.resource : `${right.resource}.${right.group}`,
    ...(namespace === undefined ? {} : { namespace }),
    toRead: right.purpose === 'read',
    ...(status.reason === undefined || status.reason === '' ? {} : { reason: status.reason }),
  };
}
