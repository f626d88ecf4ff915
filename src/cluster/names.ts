import { UsageError } from '../errors.ts';

/** A DNS subdomain, which is what Kubernetes allows as a node's name; so it can be no flag and no path. */
const NODE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** The name, checked before it goes into a path or an argument. Throws UsageError. */
export function nodeName(name: string): string {
  if (name.length <= 253 && NODE_NAME.test(name)) return name;
  throw new UsageError(`not a node's name: ${JSON.stringify(name.slice(0, 260))}`, {
    reason: 'names of nodes hold lower-case letters, digits, - and . only',
    next: 'see the names: kubectl get nodes',
  });
}

export const nodePath = (name: string): string => `/api/v1/nodes/${nodeName(name)}`;

export const leasePath = (namespace: string, name: string): string =>
  `/apis/coordination.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/leases/${encodeURIComponent(name)}`;
