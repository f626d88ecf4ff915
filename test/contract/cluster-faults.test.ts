import { describeFaults, type FaultyBed } from './cluster-faults-suite.ts';
import { onLabVersionsAtOnce, onRealVersionsAtOnce, startRealApi } from './envtest.ts';
import { KubectlBed } from './kubectl-bed.ts';
import { startLab } from './lab-bed.ts';

onLabVersionsAtOnce('an API server that goes wrong', (version) =>
  describeFaults(async (): Promise<FaultyBed> => {
    const lab = await startLab(version, false);
    const { api } = lab;
    const options = { stopApi: () => api.pause(), startApi: () => api.resume(), close: lab.close };
    const kubectl = await KubectlBed.open({ kubeconfig: lab.kubeconfig, ...options });
    const expire = (): Promise<void> => {
      api.expireWatches();
      return Promise.resolve();
    };
    return { kubectl, url: api.url, token: 'admin-token', expire, close: () => kubectl.close() };
  }),
);

onRealVersionsAtOnce('an API server that goes wrong', (assets) =>
  describeFaults(async (): Promise<FaultyBed> => {
    const api = await startRealApi(assets);
    const options = { stopApi: () => api.stopApi(), startApi: () => api.startApi(), close: () => api.close() };
    const kubectl = await KubectlBed.open({ kubeconfig: await api.kubeconfig('admin'), ...options });
    // The API server's own memory of the past ends with it, etcd's by the compaction.
    const expire = async (): Promise<void> => {
      await kubectl.stopApi!();
      await api.compact();
      await kubectl.startApi!();
    };
    return { kubectl, url: api.url, token: api.token('admin'), expire, close: () => kubectl.close() };
  }),
);
