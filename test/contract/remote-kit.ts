import { expect } from 'vitest';
import { ConnectError } from '../../src/errors.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';

/** A node as the cluster shows it, at this address of loopback. */
export const clusterNode = (name: string, address = '127.0.0.1'): ClusterNode => ({
  name,
  uid: name,
  addresses: [{ type: 'InternalIP', address }],
  labels: {},
  controlPlane: false,
  ready: true,
  cordoned: false,
  osImage: 'KubeOS 1.0.0',
  kernelVersion: '',
  architecture: 'amd64',
  bootId: '',
  operatorUpgrading: false,
});

/** What a piece of work ends with that must fail for the connection's sake. */
export async function failure(work: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConnectError);
  return error as ConnectError;
}
