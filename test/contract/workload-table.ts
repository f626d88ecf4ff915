import { POD_ANNOTATIONS } from '../../src/lab/api/index.ts';
import type { Manifest, Place, Workload } from './workloads.ts';

/** What pods of the table may be given; all stay on the drained node until it is drained, unless told. */
interface PodShape {
  on?: Record<string, string>;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  volumes?: object[];
  tolerations?: object[];
  graceSeconds?: number;
  restartPolicy?: string;
  nodeName?: string;
}

const IMAGE = [{ name: 'c', image: 'example.org/c:1' }];
const template = (app: string, place: Place, shape: PodShape): object => ({
  metadata: {
    labels: { app, ...shape.labels },
    annotations: shape.annotations ?? {},
    ...(shape.finalizers === undefined ? {} : { finalizers: shape.finalizers }),
  },
  spec: {
    containers: IMAGE,
    nodeSelector: shape.on ?? place.here,
    terminationGracePeriodSeconds: shape.graceSeconds ?? 30,
    ...(shape.volumes === undefined ? {} : { volumes: shape.volumes }),
    ...(shape.tolerations === undefined ? {} : { tolerations: shape.tolerations }),
    ...(shape.nodeName === undefined ? {} : { nodeName: shape.nodeName }),
    ...(shape.restartPolicy === undefined ? {} : { restartPolicy: shape.restartPolicy }),
  },
});

const owner = (kind: string, name: string, replicas: number, place: Place, shape: PodShape = {}): Manifest => ({
  ...{ apiVersion: 'apps/v1', kind, metadata: { name } },
  spec: {
    ...(kind === 'DaemonSet' ? {} : { replicas }),
    ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
    selector: { matchLabels: { app: name } },
    template: template(name, place, shape),
  },
});

const deploy = (place: Place, replicas: number, shape: PodShape = {}, name = 'web'): Promise<unknown> =>
  place.make(owner('Deployment', name, replicas, place, shape));

/** A pod by itself, bound as a static or hand-made one is; `owners` of its own where told. */
const pod = (place: Place, shape: PodShape = {}, owners: object[] = [], name = 'lone'): Promise<unknown> => {
  const { metadata, spec } = template(name, place, shape) as { metadata: object; spec: object };
  const more = owners.length === 0 ? {} : { ownerReferences: owners };
  return place.make({ apiVersion: 'v1', kind: 'Pod', metadata: { name, ...metadata, ...more }, spec });
};

const budget = (place: Place, rule: object, name = 'web', selector: object = { matchLabels: { app: 'web' } }) =>
  place.make({ apiVersion: 'policy', kind: 'PodDisruptionBudget', metadata: { name }, spec: { selector, ...rule } });

const custom = async (place: Place, isController: boolean): Promise<object> => {
  const apiVersion = 'upgrade.openeuler.org/v1alpha1';
  const spec = { osversion: 'x', opstype: 'config' };
  const { uid } = (await place.make({ apiVersion, kind: 'OS', metadata: { name: 'own' }, spec })).metadata;
  return { apiVersion, kind: 'OS', name: 'own', uid, ...(isController ? { controller: true } : {}) };
};

const job = (place: Place): Manifest => ({
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'once' } },
  spec: { template: template('once', place, { restartPolicy: 'Never', volumes: [] }) },
});

/** Labels of two Deployments that one budget guards. */
const ALSO = { labels: { group: 'both' } };
const BOTH = { matchLabels: { group: 'both' } };
const WEB = { app: 'web' };
const SCRATCH = [{ name: 'scratch', emptyDir: {} }];
const UNREADY = { annotations: { [POD_ANNOTATIONS.ready]: 'false' } };
const NEVER_STARTS = { annotations: { [POD_ANNOTATIONS.startMs]: '86400000' } };
const NEVER_ENDS = { annotations: { [POD_ANNOTATIONS.endMs]: '86400000' }, graceSeconds: 86_400 };

/** The pods' containers have ended, as their kubelet tells. */
const ended =
  (phase: 'Succeeded' | 'Failed') =>
  async (place: Place): Promise<void> => {
    for (const { metadata } of await place.pods()) {
      await place.bed.patch(`${place.path('v1', 'pods', metadata.name)}/status`, { status: { phase } });
    }
  };

const passes = (pods: number): Workload['forecast'] => ({ pods, obstacles: [] });
const meets = (pods: number, ...obstacles: string[]): Workload['forecast'] => ({ pods, obstacles });

const PLAIN: Workload[] = [
  { what: 'replicated pods', set: (place) => deploy(place, 2), pods: 2, forecast: passes(2), drain: 'done' },
  {
    what: 'a pod of a StatefulSet',
    set: (place) => place.make(owner('StatefulSet', 'db', 1, place)),
    pods: 1,
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a bare pod',
    set: (place) => pod(place),
    pods: 1,
    forecast: meets(1, 'bare-pod certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'a bare pod, with --force',
    set: (place) => pod(place),
    pods: 1,
    options: { force: true },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a pod whose owner is no controller of it',
    set: async (place) => pod(place, {}, [await custom(place, false)]),
    pods: 1,
    forecast: meets(1, 'bare-pod certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'a pod whose controller is of a kind that kubectl does not know',
    set: async (place) => pod(place, {}, [await custom(place, true)]),
    pods: 1,
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a pod with an emptyDir',
    set: (place) => deploy(place, 1, { volumes: SCRATCH }),
    pods: 1,
    forecast: meets(1, 'empty-dir certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'a pod with an emptyDir, with its flag',
    set: (place) => deploy(place, 1, { volumes: SCRATCH }),
    pods: 1,
    options: { deleteEmptyDirData: true },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a bare pod with an emptyDir, with one flag of two',
    set: (place) => pod(place, { volumes: SCRATCH }),
    pods: 1,
    options: { force: true },
    forecast: meets(1, 'empty-dir certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'a pod with a folder of its node',
    set: (place) => deploy(place, 1, { volumes: [{ name: 'host', hostPath: { path: '/srv' } }] }),
    pods: 1,
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a bare pod that the pod selector leaves out',
    set: async (place) => {
      await pod(place);
      await deploy(place, 1);
    },
    pods: 2,
    options: { podSelector: 'app=web' },
    forecast: passes(1),
    drain: 'done',
    left: 1,
  },
];

const STAYING: Workload[] = [
  {
    what: 'pods of a DaemonSet, with an emptyDir, under a budget that allows none',
    set: async (place) => {
      await place.make(owner('DaemonSet', 'web', 0, place, { volumes: SCRATCH }));
      await budget(place, { minAvailable: 1 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    forecast: passes(0),
    drain: 'done',
    left: 1,
  },
  {
    what: 'a pod that its deleted DaemonSet left behind',
    set: (place) => place.make(owner('DaemonSet', 'agent', 0, place)),
    pods: 1,
    then: async (place) => {
      const path = place.path('apps/v1', 'daemonsets', 'agent');
      await place.bed.call('DELETE', `${path}?propagationPolicy=Orphan`);
      await place.untilOrphaned();
    },
    forecast: meets(1, 'bare-pod certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'the mirror of a static pod, with an emptyDir, under a budget that allows none',
    set: async (place) => {
      const { uid } = ((await place.bed.call('GET', `/api/v1/nodes/${place.node}`)) as { metadata: { uid: string } })
        .metadata;
      const node = { apiVersion: 'v1', kind: 'Node', name: place.node, uid, controller: true };
      const mirror = { 'kubernetes.io/config.mirror': 'x', 'kubernetes.io/config.source': 'file' };
      await pod(place, { annotations: mirror, nodeName: place.node, volumes: SCRATCH, labels: WEB }, [node]);
      await budget(place, { minAvailable: 1 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    forecast: passes(0),
    drain: 'done',
    left: 1,
  },
  {
    what: 'a completed bare pod with an emptyDir, under a budget that allows none',
    set: async (place) => {
      await pod(place, { volumes: SCRATCH, labels: WEB, restartPolicy: 'Never' });
      await budget(place, { minAvailable: 1 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    then: ended('Succeeded'),
    forecast: passes(0),
    drain: 'done',
  },
  {
    what: 'a failed bare pod',
    set: (place) => pod(place, { restartPolicy: 'Never' }),
    pods: 1,
    then: ended('Failed'),
    forecast: passes(0),
    drain: 'done',
  },
  {
    what: 'the running pod of a Job',
    needs: 'batch/v1/jobs',
    set: (place) => place.make(job(place)),
    pods: 1,
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'the completed pod of a Job',
    needs: 'batch/v1/jobs',
    set: (place) => place.make(job(place)),
    pods: 1,
    then: ended('Succeeded'),
    forecast: passes(0),
    drain: 'done',
  },
  {
    what: 'a pod held by a finalizer',
    set: (place) => deploy(place, 1, { finalizers: ['example.org/hold'] }),
    pods: 1,
    forecast: meets(1, 'finalizer waits'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a pod that is being deleted and does not end, under a budget that allows none',
    set: async (place) => {
      await deploy(place, 1, NEVER_ENDS);
      await budget(place, { maxUnavailable: 0 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    then: async (place) => {
      const [first] = await place.pods();
      await place.bed.changeNode(place.node, { unschedulable: true });
      await place.bed.changeNode(place.spare, { labels: place.here });
      await place.bed.call('DELETE', place.path('v1', 'pods', first!.metadata.name));
    },
    forecast: meets(1, 'terminating waits'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a pod that tolerates everything',
    set: (place) => deploy(place, 1, { tolerations: [{ operator: 'Exists' }] }),
    pods: 1,
    nowhereElse: true,
    forecast: passes(1),
    drain: 'done',
    // It comes back to the very node.
    left: 1,
  },
];

const BUDGETS: Workload[] = [
  {
    what: 'a budget that allows all',
    set: async (place) => {
      await deploy(place, 2);
      await budget(place, { maxUnavailable: '100%' });
    },
    pods: 2,
    budgets: { web: '2 allowed, 2 healthy' },
    forecast: passes(2),
    drain: 'done',
  },
  {
    what: 'a budget that allows one, and one pod here',
    set: async (place) => {
      await deploy(place, 1, ALSO);
      await deploy(place, 1, { on: place.there, ...ALSO }, 'twin');
      await budget(place, { minAvailable: 1 }, 'both', BOTH);
    },
    pods: 2,
    budgets: { both: '1 allowed, 2 healthy' },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'two pods of one budget with one disruption left, and room elsewhere',
    set: async (place) => {
      await deploy(place, 2);
      await budget(place, { maxUnavailable: 1 });
    },
    pods: 2,
    budgets: { web: '1 allowed, 2 healthy' },
    forecast: meets(2, 'budget-now waits'),
    drain: 'waits, then done',
  },
  {
    what: 'two pods of one budget with one disruption left, and no room elsewhere',
    set: async (place) => {
      await deploy(place, 2);
      await budget(place, { maxUnavailable: 1 });
    },
    pods: 2,
    budgets: { web: '1 allowed, 2 healthy' },
    nowhereElse: true,
    forecast: meets(2, 'budget-now waits'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a budget that allows none now, since a pod elsewhere is not Ready',
    set: async (place) => {
      await deploy(place, 1, ALSO);
      await deploy(place, 1, { on: place.there, ...ALSO, ...UNREADY }, 'twin');
      await budget(place, { minAvailable: 1 }, 'both', BOTH);
    },
    pods: 2,
    ready: 1,
    budgets: { both: '0 allowed, 1 healthy' },
    forecast: meets(1, 'budget-now waits'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a budget that needs every pod, by number',
    set: async (place) => {
      await deploy(place, 1);
      await budget(place, { minAvailable: 1 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    forecast: meets(1, 'budget-never certain'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a budget that needs every pod, in per cent',
    set: async (place) => {
      await deploy(place, 2);
      await budget(place, { minAvailable: '51%' });
    },
    pods: 2,
    budgets: { web: '0 allowed, 2 healthy' },
    forecast: meets(2, 'budget-never certain', 'budget-never certain'),
    drain: 'runs out of time',
    left: 2,
  },
  {
    what: 'a budget that lets none be away',
    set: async (place) => {
      await deploy(place, 1);
      await budget(place, { maxUnavailable: 0 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    forecast: meets(1, 'budget-never certain'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a budget that lets none be away, passed over',
    set: async (place) => {
      await deploy(place, 1);
      await budget(place, { maxUnavailable: 0 });
    },
    pods: 1,
    budgets: { web: '0 allowed, 1 healthy' },
    options: { disableEviction: true },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'two budgets over one pod, both of which allow it',
    set: async (place) => {
      await deploy(place, 1);
      await budget(place, { maxUnavailable: 1 });
      await budget(place, { maxUnavailable: 1 }, 'again');
    },
    pods: 1,
    forecast: meets(1, 'budget-never certain'),
    drain: 'fails',
    left: 1,
  },
  {
    what: 'a budget whose selector names what pods are not',
    set: async (place) => {
      await deploy(place, 1);
      const matchExpressions = [{ key: 'tier', operator: 'NotIn', values: ['edge'] }];
      await budget(place, { maxUnavailable: 0 }, 'rest', { matchExpressions });
    },
    pods: 1,
    budgets: { rest: '0 allowed, 1 healthy' },
    forecast: meets(1, 'budget-never certain'),
    drain: 'runs out of time',
    left: 1,
  },
];

const UNHEALTHY: Workload[] = [
  {
    what: 'a pod that is not Ready, beside enough that are',
    set: async (place) => {
      await deploy(place, 1, { ...ALSO, ...UNREADY });
      await deploy(place, 1, { on: place.there, ...ALSO }, 'twin');
      await budget(place, { minAvailable: 1 }, 'both', BOTH);
    },
    pods: 2,
    ready: 1,
    budgets: { both: '0 allowed, 1 healthy' },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a pod that is not Ready, and none that is',
    set: async (place) => {
      await deploy(place, 1, { ...ALSO, ...UNREADY });
      await deploy(place, 1, { on: place.there, ...ALSO, ...UNREADY }, 'twin');
      await budget(place, { minAvailable: 1 }, 'both', BOTH);
    },
    pods: 2,
    ready: 0,
    budgets: { both: '0 allowed, 0 healthy' },
    forecast: meets(1, 'budget-now waits'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a pod that is not Ready under a budget that always lets such pods go',
    since: 31,
    set: async (place) => {
      await deploy(place, 1, UNREADY);
      await budget(place, { maxUnavailable: 0, unhealthyPodEvictionPolicy: 'AlwaysAllow' });
    },
    pods: 1,
    ready: 0,
    budgets: { web: '0 allowed, 0 healthy' },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a pod that has not started, under a budget that allows none',
    set: async (place) => {
      await deploy(place, 1, NEVER_STARTS);
      await budget(place, { maxUnavailable: 0 });
    },
    pods: 1,
    started: 0,
    budgets: { web: '0 allowed, 0 healthy' },
    forecast: passes(1),
    drain: 'done',
  },
  {
    what: 'a bare pod under a budget that only counts what controllers want, with --force',
    set: async (place) => {
      await pod(place, { labels: WEB });
      await budget(place, { maxUnavailable: 1 });
    },
    pods: 1,
    budgets: { web: ['0 allowed, 1 healthy', 'stuck'] },
    options: { force: true },
    forecast: meets(1, 'budget-never certain'),
    drain: 'runs out of time',
    left: 1,
  },
  {
    what: 'a pod of a kind that cannot be scaled, under a budget that counts what controllers want',
    set: async (place) => {
      await pod(place, { labels: WEB }, [await custom(place, true)]);
      await budget(place, { maxUnavailable: 1 });
    },
    pods: 1,
    budgets: { web: ['failed', 'stuck'] },
    forecast: meets(1, 'budget-never certain'),
    drain: 'runs out of time',
    left: 1,
  },
];

export const WORKLOADS: readonly Workload[] = [...PLAIN, ...STAYING, ...BUDGETS, ...UNHEALTHY];
