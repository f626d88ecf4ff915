import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '../../src/lab/api/index.ts';
import { makePki } from '../../src/lab/pki.ts';
import { KubectlBed } from './kubectl-bed.ts';

/** A bed on the lab's API; the suite plays kubelets and the disruption controller itself, as on a bare API server. */
export async function openLabBed(version: string): Promise<KubectlBed> {
  const folder = await mkdtemp(join(tmpdir(), 'lab-api-'));
  const pki = await makePki(join(folder, 'pki'));
  const api = await startApi({
    host: '127.0.0.1',
    tls: { key: pki.server.key, cert: pki.server.cert, ca: pki.ca },
    tokens: new Map([['admin-token', 'admin']]),
    version,
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
}
