import { POD_ANNOTATIONS } from '../../src/lab/api/index.ts';
import { ask, type Endpoint } from '../lab/api-client.ts';
import { until } from '../lab/lab-bed.ts';

/** A pod that serves. */
export interface RunningPod {
  name: string;
  app: string;
  node: string;
  ready: boolean;
}

const NAMESPACE = 'shop';
/** Longer than a pod's end: the budget is used up for a while after each eviction. */
const START_MS = '1500';

/**
 * Deploys what a drain has to wait for, and waits until all of it serves: `web` with two pods for each node and a budget
 * of one, so that the second eviction on a node is refused until the first pod serves elsewhere; `db`, whose two pods
 * never share a node; and a DaemonSet, which no drain ends.
 */
export async function deploy(api: Endpoint, policy: 'v1' | 'v1beta1', nodes: number): Promise<void> {
  const post = async (path: string, body: object): Promise<void> => {
    const { code, text } = await ask(api, 'POST', path, { body });
    if (code !== 201) throw new Error(`POST ${path}: HTTP ${code}: ${text.slice(0, 300)}`);
  };
  const apps = `/apis/apps/v1/namespaces/${NAMESPACE}`;
  const budgets = `/apis/policy/${policy}/namespaces/${NAMESPACE}/poddisruptionbudgets`;
  await post('/api/v1/namespaces', { metadata: { name: NAMESPACE } });
  await post(`${apps}/deployments`, deployment('web', nodes * 2, {}));
  await post(`${apps}/deployments`, deployment('db', 2, { affinity: apart('db') }));
  await post(`${apps}/daemonsets`, daemonSet('agent'));
  for (const name of ['web', 'db']) {
    const spec = { maxUnavailable: 1, selector: { matchLabels: { app: name } } };
    await post(budgets, { metadata: { name }, spec });
  }
  const serving = async (): Promise<boolean> =>
    (await running(api)).filter(({ ready }) => ready).length === nodes * 2 + 2;
  await until(serving, () => 'the workloads do not come up');
}

/** The pods of the Deployments that are not on their way out, sorted by name. */
export async function running(api: Endpoint): Promise<readonly RunningPod[]> {
  const { json } = await ask(api, 'GET', `/api/v1/namespaces/${NAMESPACE}/pods?labelSelector=tier%3Dserving`);
  const pods = (json.items ?? []).filter(({ metadata }) => metadata?.deletionTimestamp === undefined);
  return pods
    .map(({ metadata, spec, status }) => ({
      name: metadata?.name ?? '',
      app: metadata?.labels?.['app'] ?? '',
      node: (spec?.['nodeName'] ?? '') as string,
      ready: ((status as { conditions?: { type: string; status: string }[] }).conditions ?? []).some(
        ({ type, status: is }) => type === 'Ready' && is === 'True',
      ),
    }))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
}

function deployment(name: string, replicas: number, more: object): object {
  const spec = { ...podSpec(), ...more };
  return { metadata: { name }, spec: { replicas, ...selecting(name), template: template(name, 'serving', spec) } };
}

function daemonSet(name: string): object {
  const spec = { ...podSpec(), tolerations: [{ operator: 'Exists' }] };
  return { metadata: { name }, spec: { ...selecting(name), template: template(name, 'agent', spec) } };
}

const selecting = (app: string): object => ({ selector: { matchLabels: { app } } });
const podSpec = (): object => ({ containers: [{ name: 'c', image: 'example.org/c:1' }] });

const template = (app: string, tier: string, spec: object): object => ({
  metadata: { labels: { app, tier }, annotations: { [POD_ANNOTATIONS.startMs]: START_MS } },
  spec,
});

const apart = (app: string): object => ({
  podAntiAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { labelSelector: { matchLabels: { app } }, topologyKey: 'kubernetes.io/hostname' },
    ],
  },
});
