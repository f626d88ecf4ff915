import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask, type Answer, type Endpoint } from '../lab/api-client.ts';
import { eventually } from './cluster-suite.ts';
import { onRealVersions, startRealApi, type RealApi } from './envtest.ts';
import { Kubelets } from './kubelets.ts';

onRealVersions('the bed with real controllers', (assets) => {
  describe('a cluster with stand-ins for its kubelets', () => {
    let api: RealApi | undefined;
    let kubelets: Kubelets | undefined;
    let endpoint: Endpoint = { url: '' };
    beforeAll(async () => {
      api = await startRealApi(assets, { controllers: true, nodeGraceSeconds: 8 });
      endpoint = { url: api.url, token: api.token('admin') };
      kubelets = new Kubelets(endpoint);
    });
    afterAll(async () => {
      await kubelets?.stop();
      await api?.close();
    });
    const read = async (path: string): Promise<Answer> => ask(endpoint, 'GET', path);
    const readyOf = async (name: string): Promise<string | undefined> => {
      const { json } = await read(`/api/v1/nodes/${name}`);
      const { conditions } = json.status as { conditions: { type: string; status: string }[] };
      return conditions.find(({ type }) => type === 'Ready')?.status;
    };
    const podsOn = async (name: string): Promise<number> => {
      const { json } = await read(`/api/v1/pods?fieldSelector=spec.nodeName%3D${name},status.phase%3DRunning`);
      return json.items?.length ?? 0;
    };

    test('runs what is deployed, and moves it away from a node that is cordoned', async () => {
      await kubelets!.boot({ name: 'w-1', osImage: 'KubeOS 1.0.0', bootId: 'b-1' });
      const template = {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'c', image: 'example.org/c:1' }] },
      };
      const spec = { replicas: 2, selector: { matchLabels: { app: 'web' } }, template };
      const body = { metadata: { name: 'web' }, spec };
      expect(await ask(endpoint, 'POST', '/apis/apps/v1/namespaces/default/deployments', { body })).toMatchObject({
        code: 201,
      });
      await eventually(async () => expect(await podsOn('w-1')).toBe(2), 30_000);
      await kubelets!.boot({ name: 'w-2', osImage: 'KubeOS 1.0.0', bootId: 'b-1' });
      const cordon = { body: { spec: { unschedulable: true } }, type: 'application/merge-patch+json' };
      await ask(endpoint, 'PATCH', '/api/v1/nodes/w-1', cordon);
      await ask(endpoint, 'DELETE', '/api/v1/namespaces/default/pods?labelSelector=app%3Dweb');
      await eventually(async () => expect([await podsOn('w-1'), await podsOn('w-2')]).toEqual([0, 2]), 30_000);
    });

    test('notices a node that is silent, and the same one when it is up again', async () => {
      await kubelets!.boot({ name: 'w-3', osImage: 'KubeOS 1.0.0', bootId: 'b-1' });
      expect(await readyOf('w-3')).toBe('True');
      kubelets!.lose('w-3');
      await eventually(async () => expect(await readyOf('w-3')).toBe('Unknown'), 60_000);
      await kubelets!.boot({ name: 'w-3', osImage: 'KubeOS 2.0.0', bootId: 'b-2' });
      expect(await readyOf('w-3')).toBe('True');
    });
  });
});
