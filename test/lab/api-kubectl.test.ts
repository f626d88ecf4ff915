import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { textAt, type KubeObject } from '../../src/lab/api/objects.ts';
import { startLabServer, worker, type LabServer } from './api-client.ts';

let lab: LabServer;
beforeAll(async () => {
  const deny = (user: string, verb: string): boolean => user === 'viewer' && !['get', 'list', 'watch'].includes(verb);
  // The version of the kubectl that is most common on PATHs here; any kubectl of 1.20 or newer will do.
  lab = await startLabServer({ version: 'v1.32.4', deny });
  const { api } = lab;
  for (const name of ['w-1', 'w-2', 'w-3']) api.addNode(worker(name));
  api.addNode({ ...worker('cp-1'), controlPlane: true });
  api.addWorkload({ kind: 'Deployment', namespace: 'shop', name: 'web', replicas: 3, emptyDir: true });
  api.addWorkload({ kind: 'DaemonSet', namespace: 'kube-system', name: 'agent' });
  await api.settled();
});
afterAll(() => lab.close());

interface Result {
  code: number;
  out: string;
  err: string;
}

/** Runs the kubectl on PATH; `input` goes to its standard input. */
function kubectl(args: readonly string[], options: { input?: string; kubeconfig?: string } = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    // The discovery cache is the lab's own: another server may have had its port before.
    const all = [
      `--kubeconfig=${options.kubeconfig ?? lab.kubeconfig}`,
      `--cache-dir=${join(lab.folder, 'cache')}`,
      ...args,
    ];
    const child = spawn('kubectl', all, { stdio: ['pipe', 'pipe', 'pipe'] });
    const result = { code: 0, out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (result.out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (result.err += text));
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...result, code: code ?? -1 }));
    child.stdin.end(options.input ?? '');
  });
}

/** What a kubectl that must succeed printed. */
async function done(args: readonly string[], input = ''): Promise<string> {
  const { code, out, err } = await kubectl(args, { input });
  expect({ code, err: code === 0 ? '' : err }).toEqual({ code: 0, err: '' });
  return out.trim();
}

const nodeOf = (pod: KubeObject | undefined): string => textAt(pod, 'spec', 'nodeName');

const words = (text: string): string[][] => text.split('\n').map((line) => line.split(/\s{2,}/));

describe('an unmodified kubectl', () => {
  test('prints nodes as it does anywhere, OS-IMAGE among the wide columns', async () => {
    const [head, first, second] = words(await done(['get', 'nodes', '-o', 'wide']));
    expect(head?.slice(0, 8)).toEqual([
      'NAME',
      'STATUS',
      'ROLES',
      'AGE',
      'VERSION',
      'INTERNAL-IP',
      'EXTERNAL-IP',
      'OS-IMAGE',
    ]);
    expect(first?.slice(0, 3)).toEqual(['cp-1', 'Ready', 'control-plane']);
    expect([second?.[0], second?.[7]]).toEqual(['w-1', 'KubeOS 1.0.0']);
  });

  test('prints pods, their owners and budgets', async () => {
    const pods = words(await done(['get', 'pods', '-n', 'shop', '--no-headers']));
    expect(pods.map(([, ready, status]) => `${ready ?? ''} ${status ?? ''}`)).toEqual([
      '1/1 Running',
      '1/1 Running',
      '1/1 Running',
    ]);
    expect(await done(['get', 'deploy,ds', '-A', '--no-headers'])).toMatch(
      /deployment\.apps\/web\s+3\/3[^]*daemonset\.apps\/agent\s+4/,
    );
    const columns = 'custom-columns=N:.metadata.name,OS:.status.nodeInfo.osImage';
    expect(await done(['get', 'node', 'w-1', '-o', columns, '--no-headers'])).toMatch(/^w-1 +KubeOS 1\.0\.0$/);
    expect(await done(['describe', 'node', 'w-1'])).toContain('OS Image:                   KubeOS 1.0.0');
  });

  test('labels, annotates, taints, cordons and uncordons', async () => {
    for (const step of [
      ['label', 'pool=a'],
      ['annotate', 'note=x'],
      ['taint', 'held=yes:PreferNoSchedule'],
    ]) {
      await done([step[0] ?? '', 'node', 'w-3', step[1] ?? '']);
    }
    await done(['cordon', 'w-3']);
    const node = lab.api.get('nodes', '', 'w-3');
    expect(node?.metadata).toMatchObject({ labels: { pool: 'a' }, annotations: { note: 'x' } });
    expect(node?.spec?.['unschedulable']).toBe(true);
    // The cordon brings its own taint a moment later, as in a real cluster.
    const taints = () => (lab.api.get('nodes', '', 'w-3')?.spec?.['taints'] ?? []) as { key: string }[];
    const expected = ['held', 'node.kubernetes.io/unschedulable'];
    await vi.waitFor(() => expect(taints().map(({ key }) => key)).toEqual(expected), 10_000);
    await done(['uncordon', 'w-3']);
    await done(['taint', 'node', 'w-3', 'held-']);
    await vi.waitFor(() => expect(lab.api.get('nodes', '', 'w-3')?.spec).toEqual({}), 10_000);
  });

  test('drains: pods of a budget one after the other, their replacements Ready elsewhere', async () => {
    lab.api.addBudget({ namespace: 'shop', name: 'web', maxUnavailable: 1 });
    const node = nodeOf(lab.api.list('pods', 'shop')[0]);
    const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--timeout=60s'];
    expect(await done(['drain', node, ...flags])).toContain(`node/${node} drained`);
    await lab.api.settled();
    const nodes = lab.api.list('pods', 'shop').map(nodeOf);
    expect(nodes).toHaveLength(3);
    expect(nodes).not.toContain(node);
    expect(lab.api.get('poddisruptionbudgets', 'shop', 'web')?.status).toMatchObject({
      disruptionsAllowed: 1,
      currentHealthy: 3,
    });
    await done(['uncordon', node]);
  });

  test('is held up by a budget, and says so', async () => {
    lab.api.addWorkload({ kind: 'StatefulSet', namespace: 'held', name: 'db', replicas: 3, spread: true });
    lab.api.addBudget({ namespace: 'held', name: 'db', minAvailable: 3 });
    await lab.api.settled();
    const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--timeout=2s'];
    const { code, err } = await kubectl(['drain', 'w-2', ...flags]);
    expect(code).toBe(1);
    expect(err).toContain("Cannot evict pod as it would violate the pod's disruption budget");
    await done(['uncordon', 'w-2']);
    await done(['delete', 'ns', 'held']);
  });

  test('without eviction it deletes past every budget', async () => {
    lab.api.addPod({ namespace: 'bare', name: 'lone', node: 'w-1' });
    lab.api.addBudget({ namespace: 'bare', name: 'lone', selector: { app: 'lone' }, minAvailable: 1 });
    await lab.api.settled();
    const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--force', '--disable-eviction', '--timeout=60s'];
    expect(await done(['drain', 'w-1', ...flags])).toContain('node/w-1 drained');
    expect(lab.api.get('pods', 'bare', 'lone')).toBeUndefined();
    await done(['uncordon', 'w-1']);
  });

  test('applies a pod and an OS, client side and server side, twice without change', async () => {
    const pod = `apiVersion: v1\nkind: Pod\nmetadata: {name: applied, namespace: shop}\nspec: {containers: [{name: c, image: a}]}\n`;
    const os = `apiVersion: upgrade.openeuler.org/v1alpha1\nkind: OS\nmetadata: {name: sample, namespace: default}\nspec: {osversion: KubeOS 2.0.0, opstype: upgrade}\n`;
    const apply = (input: string, ...flags: string[]) => done(['apply', '-f', '-', ...flags], input);
    expect([await apply(pod), await apply(os)]).toEqual([
      'pod/applied created',
      'os.upgrade.openeuler.org/sample created',
    ]);
    expect([await apply(pod), await apply(os)]).toEqual([
      'pod/applied unchanged',
      'os.upgrade.openeuler.org/sample unchanged',
    ]);
    expect(await apply(os.replace('2.0.0', '3.0.0'))).toBe('os.upgrade.openeuler.org/sample configured');
    expect(await apply(os.replace('2.0.0', '4.0.0'), '--server-side', '--force-conflicts')).toContain(
      'serverside-applied',
    );
    expect(await done(['get', 'os', '-A', '-o', 'jsonpath={.items[*].spec.osversion}'])).toBe('KubeOS 4.0.0');
    expect(await done(['delete', 'pod', '-n', 'shop', 'applied'])).toContain('deleted');
  });

  test('creates what newer versions send as protobuf', async () => {
    await done(['create', 'ns', 'made']);
    await done(['create', 'pdb', '-n', 'made', 'p', '--selector=app=d', '--min-available=50%']);
    await done(['create', 'deploy', '-n', 'made', 'd', '--image=x', '--replicas=2']);
    await done(['rollout', 'status', '-n', 'made', 'deploy/d', '--timeout=30s']);
    await lab.api.settled();
    expect(lab.api.get('poddisruptionbudgets', 'made', 'p')?.status).toMatchObject({
      expectedPods: 2,
      desiredHealthy: 1,
      disruptionsAllowed: 1,
    });
    await done(['scale', '-n', 'made', 'deploy/d', '--replicas=1']);
    await vi.waitFor(() => expect(lab.api.list('pods', 'made')).toHaveLength(1), 10_000);
    await done(['delete', 'ns', 'made']);
    expect(lab.api.list('pods', 'made')).toEqual([]);
  });

  test('learns its rights, and is refused what it lacks', async () => {
    const kubeconfig = await lab.kubeconfigOf('viewer-token');
    expect(await done(['auth', 'can-i', 'patch', 'nodes'])).toBe('yes');
    const asked = await kubectl(['auth', 'can-i', 'patch', 'nodes'], { kubeconfig });
    expect([asked.code, asked.out.trim().slice(0, 2)]).toEqual([1, 'no']);
    expect((await kubectl(['get', 'nodes'], { kubeconfig })).code).toBe(0);
    const refused = await kubectl(['label', 'node', 'w-1', 'a=b'], { kubeconfig });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('User "viewer" cannot patch resource "nodes"');
  });

  test('knows the server: version, resources, raw paths', async () => {
    expect(await done(['version'])).toContain('Server Version: v1.32.4');
    expect(await done(['api-resources', '--no-headers'])).toMatch(
      /^os\s+upgrade\.openeuler\.org\/v1alpha1\s+true\s+OS$/m,
    );
    expect(await done(['get', '--raw', '/readyz'])).toBe('ok');
    expect(await done(['wait', '--for=condition=Ready', 'node/w-1', '--timeout=10s'])).toContain('condition met');
  });

  test('replaces an object from a file only while it is the newest', async () => {
    const file = join(lab.folder, 'node.json');
    await writeFile(file, await done(['get', 'node', 'w-2', '-o', 'json']));
    await done(['label', 'node', 'w-2', 'newer=yes']);
    const { code, err } = await kubectl(['replace', '-f', file]);
    expect(code).toBe(1);
    expect(err).toContain('the object has been modified');
  });
});
