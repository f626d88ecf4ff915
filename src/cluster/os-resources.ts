import * as z from 'zod';
import type { OsResource } from '../rollout/ports.ts';
import type { Api } from './api.ts';
import { isNotFound } from './api-error.ts';

/** The CRD of KubeOS's own operator; `os` is its plural too (upstream's upgrade.openeuler.org_os.yaml). */
const PATH = '/apis/upgrade.openeuler.org/v1alpha1/os';

const osSchema = z.object({
  metadata: z.object({ name: z.string(), namespace: z.string() }),
  spec: z.object({ osversion: z.string().default(''), opstype: z.string().default('') }).default({
    osversion: '',
    opstype: '',
  }),
});

/** As `Cluster.osResources`. */
export async function listOsResources(api: Api): Promise<readonly OsResource[]> {
  try {
    const { items } = await api.list({ doing: 'read the OS resources', path: PATH, item: osSchema });
    return items.map(({ metadata, spec }) => ({ name: `${metadata.namespace}/${metadata.name}`, ...spec }));
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}
