import type { LabApi } from './api/index.ts';

/** What runs in a fresh lab: enough that a drain has something to do and something to wait for. */
export function addSampleWorkload(api: LabApi, workers: number): void {
  api.addWorkload({ kind: 'DaemonSet', namespace: 'kube-system', name: 'network' });
  api.addWorkload({ kind: 'Deployment', namespace: 'shop', name: 'web', replicas: workers * 2 });
  // With one worker evicted pods have nowhere to go, and no budget would ever let a drain pass.
  if (workers < 2) return;
  api.addBudget({ namespace: 'shop', name: 'web', maxUnavailable: workers });
  api.addWorkload({ kind: 'StatefulSet', namespace: 'shop', name: 'db', replicas: 2 });
  api.addBudget({ namespace: 'shop', name: 'db', maxUnavailable: 1 });
}

const NAMESPACE = 'lab-faults';

/**
 * A budget that stands at 0 for now, over two pods on the node of which one is not healthy: a drain waits for it. With
 * `forever` it wants the one pod that there is: no drain can succeed.
 */
export function blockDrain(api: LabApi, node: string, forever: boolean): void {
  unblockDrain(api, node, forever);
  const name = budgetName(node, forever);
  const shape = { kind: 'ReplicaSet', namespace: NAMESPACE, replicas: 1, labels: { budget: name } } as const;
  const nodeSelector = { 'kubernetes.io/hostname': node };
  api.addWorkload({ ...shape, name, nodeSelector });
  if (!forever) {
    const annotations = { 'lab.kubeos/ready': 'false' };
    api.addWorkload({ ...shape, name: `${name}-sick`, nodeSelector, annotations });
  }
  api.addBudget({ namespace: NAMESPACE, name, selector: { budget: name }, minAvailable: 1 });
}

/** Takes the budget and its pods away again. */
export function unblockDrain(api: LabApi, node: string, forever: boolean): void {
  const name = budgetName(node, forever);
  api.removeNow('poddisruptionbudgets', NAMESPACE, name);
  api.removeNow('replicasets', NAMESPACE, name);
  api.removeNow('replicasets', NAMESPACE, `${name}-sick`);
}

const budgetName = (node: string, forever: boolean): string => `${forever ? 'never' : 'wait'}-${node}`;
