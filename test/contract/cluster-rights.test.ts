import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { KubectlCluster } from '../../src/cluster/index.ts';
import { ApiUnreachableError } from '../../src/errors.ts';
import { runMain } from '../lab/cli-bed.ts';
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

interface Role {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules: Rule[];
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

    /** What kubeos says with the least role: exit code, and all its words on one line. */
    const kubeos = async (...args: string[]): Promise<{ code: number | null; words: string }> => {
      const env = { PATH: process.env['PATH'] ?? '', HOME: dirname(least), KUBECONFIG: least };
      const { code, stdout, stderr } = await runMain(args, env);
      return { code, words: `${stdout} ${stderr}`.replaceAll(/\s+/g, ' ') };
    };

    test('each verb that is taken away is named, by upgrade and by what only reads', { timeout: 300_000 }, async () => {
      const cluster = await connect(least);
      const spec = ['-f', 'examples/upgrade-disk.yaml'];
      for (const { path, role } of await rolesOf('examples/rbac.yaml')) {
        for (const { verb, resource, rules } of withoutOneEach(role.rules)) {
          await bed!.call('PUT', path, { ...role, rules });
          const named = [expect.objectContaining({ verb, resource })];
          await eventually(async () => expect(await cluster.missingRights('rollout')).toEqual(named));
          const refused = `the cluster does not allow what this command needs cause ${verb} ${resource}`;
          expect(await kubeos('upgrade', '-y', ...spec)).toEqual({
            code: 4,
            words: expect.stringContaining(refused) as string,
          });
          const toRead = (await cluster.missingRights('read')).length > 0;
          expect((await kubeos('plan', ...spec)).words.includes(refused)).toBe(toRead);
          const status = await kubeos('status');
          if (status.code !== 0) {
            expect([toRead, status]).toEqual([
              true,
              { code: 4, words: expect.stringContaining(`cannot ${verb} `) as string },
            ]);
          }
        }
        await bed!.call('PUT', path, role);
      }
      await eventually(async () => expect(await cluster.missingRights('rollout')).toEqual([]));
      expect((await kubeos('upgrade', '-y', ...spec)).words).not.toContain('does not allow');
    });
  });
});

/** The roles that the file holds, and where each is in the API. */
async function rolesOf(file: string): Promise<{ path: string; role: Role }[]> {
  const documents = parseAllDocuments(await readFile(file, 'utf8')).map((document) => document.toJS() as Role);
  return documents
    .filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
    .map((role) => {
      const { namespace, name } = role.metadata;
      const folder = role.kind === 'Role' ? `namespaces/${namespace ?? ''}/roles` : 'clusterroles';
      return { path: `${ROLES}/${folder}/${name}`, role };
    });
}

/** For each verb on each resource the rules that lack it alone. */
function withoutOneEach(rules: readonly Rule[]): { verb: string; resource: string; rules: Rule[] }[] {
  return rules.flatMap((rule, at) =>
    rule.resources.flatMap((resource) =>
      rule.verbs.map((verb) => {
        const { apiGroups, resources, verbs } = rule;
        const less = [
          { ...rule, resources: resources.filter((other) => other !== resource) },
          { ...rule, resources: [resource], verbs: verbs.filter((other) => other !== verb) },
        ].filter((left) => left.resources.length > 0 && left.verbs.length > 0);
        const [group = ''] = apiGroups;
        return {
          verb,
          resource: group === '' ? resource : `${resource}.${group}`,
          rules: rules.flatMap((other, index) => (index === at ? less : [other])),
        };
      }),
    ),
  );
}
