import { describeClusterContract } from './cluster-suite.ts';
import { onRealVersionsAtOnce, startRealApi } from './envtest.ts';
import { KubectlBed } from './kubectl-bed.ts';

// Bare: the suite plays kubelets and the disruption controller itself, so that every number is its own.
onRealVersionsAtOnce('the contract of the cluster', (assets) => {
  describeClusterContract('kubectl and a bare API server', async () => {
    const api = await startRealApi(assets);
    return KubectlBed.open({
      kubeconfig: await api.kubeconfig('admin'),
      stopApi: () => api.stopApi(),
      startApi: () => api.startApi(),
      close: () => api.close(),
    });
  });
});
