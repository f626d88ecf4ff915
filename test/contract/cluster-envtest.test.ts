import { describe, test } from 'vitest';
import { describeClusterContract } from './cluster-suite.ts';
import { startRealApi } from './envtest.ts';
import { KubectlBed } from './kubectl-bed.ts';

const assets = process.env['KUBEBUILDER_ASSETS'] ?? '';

if (assets === '') {
  describe('cluster: a real API server', () => {
    test('is not run: KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver', ({ annotate }) =>
      annotate('the contract with a real API server was NOT checked: set KUBEBUILDER_ASSETS', 'warning'));
  });
} else {
  describeClusterContract('kubectl and a real API server', async () => {
    const api = await startRealApi(assets);
    return KubectlBed.open({
      kubeconfig: await api.kubeconfig('admin'),
      stopApi: () => api.stopApi(),
      startApi: () => api.startApi(),
      close: () => api.close(),
    });
  });
}
