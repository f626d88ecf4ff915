import { startRealApi } from './envtest.ts';
import { KubectlBed } from './kubectl-bed.ts';
import { Kubelets } from './kubelets.ts';
import { startLab } from './lab-bed.ts';

/** A cluster in which controllers, scheduler and kubelets (stand-ins, or the lab's) do what they do. */
export interface WorkloadBed {
  kubectl: KubectlBed;
  addNode(name: string, labels: Record<string, string>): Promise<void>;
  close(): Promise<void>;
}

export async function openRealWorkloads(assets: string): Promise<WorkloadBed> {
  const api = await startRealApi(assets, { controllers: true });
  const kubelets = new Kubelets({ url: api.url, token: api.token('admin') });
  const kubectl = await KubectlBed.open({ kubeconfig: await api.kubeconfig('admin') });
  return {
    kubectl,
    addNode: (name, labels) => kubelets.boot({ name, labels, osImage: 'KubeOS 1.0.0', bootId: `boot-of-${name}` }),
    async close() {
      await kubectl.close();
      await kubelets.stop();
      await api.close();
    },
  };
}

export async function openLabWorkloads(version: string): Promise<WorkloadBed> {
  const lab = await startLab(version, true);
  const kubectl = await KubectlBed.open({ kubeconfig: lab.kubeconfig, close: lab.close });
  return {
    kubectl,
    addNode: (name, labels) => kubectl.addNode({ name, labels }),
    close: () => kubectl.close(),
  };
}
