import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi, type LabApi } from '../../src/lab/api/index.ts';
import { makePki } from '../../src/lab/pki.ts';
import { KubectlBed } from './kubectl-bed.ts';

/** The lab's API with the user admin (token `admin-token`), and a kubeconfig file for it. */
export async function startLab(
  version: string,
  controllers: boolean,
): Promise<{ api: LabApi; kubeconfig: string; close: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'lab-api-'));
  const pki = await makePki(join(folder, 'pki'));
  const api = await startApi({
    host: '127.0.0.1',
    tls: { key: pki.server.key, cert: pki.server.cert, ca: pki.ca },
    tokens: new Map([['admin-token', 'admin']]),
    ...{ version, controllers, podStartMs: 100, podEndMs: 100 },
  });
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(kubeconfig, api.kubeconfig('admin-token'), { mode: 0o600 });
  const close = async (): Promise<void> => {
    await api.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { api, kubeconfig, close };
}

/** A bed on the lab's API; the suite plays kubelets and the disruption controller itself, as on a bare API server. */
export async function openLabBed(version: string): Promise<KubectlBed> {
  const { api, kubeconfig, close } = await startLab(version, false);
  return KubectlBed.open({ kubeconfig, stopApi: () => api.pause(), startApi: () => api.resume(), close });
}
