import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubectlCluster } from '../../src/cluster/index.ts';
import { ApiUnreachableError } from '../../src/errors.ts';
import { RECORD, eventually } from './cluster-suite.ts';
import { onRealVersions, startRealApi, type RealApi } from './envtest.ts';
import { KubectlBed } from './kubectl-bed.ts';

const ROLES = '/apis/rbac.authorization.k8s.io/v1';
const DRAIN = {
  timeoutMs: 30_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

onRealVersions('rights', (assets) => {
  describe('rights', () => {
    let api: RealApi | undefined;
    let bed: KubectlBed | undefined;
    let least = '';
    const connected: KubectlCluster[] = [];
    const connect = async (kubeconfig: string): Promise<KubectlCluster> => {
      const cluster = await bed!.connect({ kubeconfig });
      connected.push(cluster);
      return cluster;
    };

    beforeAll(async () => {
      api = await startRealApi(assets);
      const admin = await api.kubeconfig('admin');
      bed = await KubectlBed.open({ kubeconfig: admin, close: () => api!.close() });
      await promisify(execFile)('kubectl', [`--kubeconfig=${admin}`, 'apply', '-f', 'examples/rbac.yaml']);
      least = `${admin}-as-least`;
      const asLeast = 'user: {as: "system:serviceaccount:kube-system:kubeos", ';
      await writeFile(least, (await readFile(admin, 'utf8')).replace('user: {', asLeast));
    });
    afterAll(async () => {
      await Promise.all(connected.map((cluster) => cluster.disconnect()));
      await bed?.close();
    });

    test('a login without any is told each one', async () => {
      const cluster = await connect(await api!.kubeconfig('nobody'));
      const missing = await cluster.missingRights('rollout');
      expect(missing).toContainEqual(expect.objectContaining({ verb: 'patch', resource: 'nodes' }));
      expect(missing).toContainEqual(expect.objectContaining({ verb: 'create', resource: 'pods/eviction' }));
      expect(missing).toContainEqual(
        expect.objectContaining({ verb: 'update', resource: 'leases.coordination.k8s.io', namespace: 'kube-system' }),
      );
      expect((await cluster.missingRights('read')).length).toBeLessThan(missing.length);
      await expect(cluster.nodes()).rejects.toMatchObject({ exitCode: 4, message: 'not allowed to read the nodes' });
    });

    test('an expired login is refused before anything else', async () => {
      await expect(connect(await api!.kubeconfig('expired'))).rejects.toThrow(ApiUnreachableError);
    });

    test('the least role suffices for all that a rollout does', async () => {
      await bed!.addNode({ name: 'w-1' });
      await bed!.addDaemonSet('shop', 'agent');
      await bed!.addPod({ name: 'agent-1', node: 'w-1', owner: { kind: 'DaemonSet', name: 'agent' } });
      await bed!.addPod({ name: 'web-1', node: 'w-1' });
      await bed!.beat('w-1', 1_700_000_000);
      const cluster = await connect(least);
      await eventually(async () => expect(await cluster.missingRights('rollout')).toEqual([]));
      const never = new AbortController().signal;
      const lock = await cluster.acquireLock({ run: 'r', holder: 'h', what: 'w' }, never);
      await lock.raiseAbove(6);
      let watched = 0;
      const stop = cluster.watchNodes((nodes) => (watched = nodes.size));
      await eventually(() => expect(watched).toBe(1));
      expect(await cluster.osResources()).toEqual([]);
      expect(await cluster.heartbeat('w-1')).toBeDefined();
      expect((await cluster.forecastDrains(['w-1'], DRAIN)).get('w-1')).toEqual({ pods: 1, obstacles: [] });
      const record = await cluster.cordon('w-1', RECORD);
      expect(await cluster.drain('w-1', DRAIN, () => undefined, never)).toEqual({ evicted: 1 });
      await cluster.record('w-1', { ...record, step: 'commit' });
      await cluster.release('w-1', RECORD.token);
      await lock.release();
      stop();
      expect(await cluster.lockState()).toMatchObject({ held: false, token: 7 });
      const deleting = await cluster.missingRights('rollout', { disableEviction: true });
      expect(deleting).toEqual([expect.objectContaining({ verb: 'delete', resource: 'pods' })]);
    });

    test('each verb that is taken away is named', async () => {
      const cluster = await connect(least);
      for (const path of [
        `${ROLES}/clusterroles/kubeos`,
        `${ROLES}/namespaces/kube-system/roles/kubeos-lock`,
        `${ROLES}/namespaces/kube-node-lease/roles/kubeos-heartbeats`,
      ]) {
        const role = (await bed!.call('GET', path)) as { metadata: { resourceVersion?: string }; rules: Rule[] };
        delete role.metadata.resourceVersion;
        for (const [at, rule] of role.rules.entries()) {
          for (const verb of rule.verbs) {
            const verbs = rule.verbs.filter((other) => other !== verb);
            const rules = role.rules.map((other, index) => (index === at ? { ...rule, verbs } : other));
            await bed!.call('PUT', path, { ...role, rules: rules.filter((left) => left.verbs.length > 0) });
            const [group, resource] = [rule.apiGroups[0] ?? '', rule.resources[0] ?? ''];
            const named = { verb, resource: group === '' ? resource : `${resource}.${group}` };
            await eventually(async () =>
              expect(await cluster.missingRights('rollout')).toEqual([expect.objectContaining(named)]),
            );
          }
        }
        await bed!.call('PUT', path, role);
      }
    });
  });
});
