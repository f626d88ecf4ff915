import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubectlCluster } from '../../src/cluster/index.ts';
import { onLabVersionsAtOnce, onRealVersions } from './envtest.ts';
import { openLabWorkloads, openRealWorkloads, type WorkloadBed } from './workload-bed.ts';
import { WORKLOADS } from './workload-table.ts';
import { defineCustomKind, tryOut, type Happened } from './workloads.ts';

describe('a lab', () => {
  onLabVersionsAtOnce('with controllers', (version) => describeTable(() => openLabWorkloads(version)));
});
// One after the other: a real scheduler that is behind may bind a new pod to a node that has just been cordoned.
onRealVersions('with controllers', (assets) => describeTable(() => openRealWorkloads(assets)));

/** What is forecast must be what happens, workload by workload, with controllers that bring pods back. */
function describeTable(open: () => Promise<WorkloadBed>): void {
  describe('the forecast of a drain, and the drain, of', () => {
    let bed: WorkloadBed | undefined;
    let cluster: KubectlCluster | undefined;
    let minor = 0;
    let served: readonly string[] = [];
    const results = new Map<string, Promise<Happened>>();

    beforeAll(async () => {
      bed = await open();
      cluster = await bed.kubectl.connect();
      minor = Number(cluster.server.version.split('.')[1]);
      await defineCustomKind(bed.kubectl);
      served = await bed.kubectl.resources('batch/v1');
      // All at once, each in a namespace and on nodes of its own, since the waiting ones take their time.
      for (const [at, workload] of WORKLOADS.entries()) {
        if (missing(workload) !== undefined) continue;
        const result = tryOut(bed, cluster, workload, `c-${at}`, bed.kubectl.policy);
        result.catch(() => undefined);
        results.set(workload.what, result);
      }
    });
    afterAll(async () => {
      await Promise.allSettled(results.values());
      await cluster?.disconnect();
      await bed?.close();
    });

    const missing = ({ needs, since = 0 }: (typeof WORKLOADS)[number]): string | undefined => {
      if (minor < since) return `Kubernetes 1.${since} brought it`;
      return needs === undefined || served.includes(needs) ? undefined : `this server has no ${needs}`;
    };

    for (const workload of WORKLOADS) {
      test(workload.what, async ({ skip }) => {
        const without = missing(workload);
        if (without !== undefined) skip(without);
        const { forecast, drain, left = 0 } = workload;
        expect(await results.get(workload.what)).toEqual({ forecast, drain, left });
      });
    }
  });
}
