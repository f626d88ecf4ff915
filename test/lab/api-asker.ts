import type { Answer, Call, Endpoint } from './api-client.ts';

export interface AnswerBed {
  endpoint: Endpoint;
  /** A login without any right. */
  nobody: Endpoint;
  /** `v1` or `v1beta1`: the version of the group policy. */
  policy: string;
  close(): Promise<void>;
}

/** What the parts of the suite ask with. */
export interface Asker {
  bed: () => AnswerBed;
  call: (method: string, path: string, given?: Call) => Promise<Answer>;
  /** A PATCH; a merge patch unless told otherwise. */
  patched: (path: string, body: unknown, type?: string) => Promise<Answer>;
}

export const MERGE = 'application/merge-patch+json';
export const LEASES = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases';
export const SHOP = '/api/v1/namespaces/shop';
export const POD = { spec: { containers: [{ name: 'c', image: 'i' }] } };
