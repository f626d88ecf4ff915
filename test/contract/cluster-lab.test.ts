import { describe } from 'vitest';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '../../src/lab/api/index.ts';
import { makePki } from '../../src/lab/pki.ts';
import { describeClusterContract } from './cluster-suite.ts';
import { KubectlBed } from './kubectl-bed.ts';

// The ages of KubeOS clusters: with policy/v1beta1 only, and with policy/v1 only.
describe.each(['v1.20.2', 'v1.34.4'])('the lab as %s', (version) => {
  describeClusterContract("kubectl and the lab's API", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lab-api-'));
    const pki = await makePki(join(folder, 'pki'));
    const api = await startApi({
      host: '127.0.0.1',
      tls: { key: pki.server.key, cert: pki.server.cert, ca: pki.ca },
      tokens: new Map([['admin-token', 'admin']]),
      version,
      // The suite plays kubelets and the disruption controller itself, as on a bare API server.
      controllers: false,
    });
    const kubeconfig = join(folder, 'kubeconfig');
    await writeFile(kubeconfig, api.kubeconfig('admin-token'), { mode: 0o600 });
    return KubectlBed.open({
      kubeconfig,
      stopApi: () => api.pause(),
      startApi: () => api.resume(),
      close: async () => {
        await api.stop();
        await rm(folder, { recursive: true, force: true });
      },
    });
  });
});
