import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ownPod } from '../../../src/local/own-pod.ts';

describe('the pod that kubeos runs in', () => {
  let folder = '';
  let namespaceFile = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kubeos-own-pod-'));
    namespaceFile = join(folder, 'namespace');
    await writeFile(namespaceFile, 'ops\n');
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is told by the service account and the host name', async () => {
    const pod = await ownPod({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, namespaceFile, 'kubeos-job-x7');
    expect(pod).toEqual({ namespace: 'ops', name: 'kubeos-job-x7' });
  });

  it('is none outside of a cluster, or without a service account', async () => {
    expect(await ownPod({}, namespaceFile, 'laptop')).toBeUndefined();
    expect(await ownPod({ KUBERNETES_SERVICE_HOST: '10.0.0.1' }, join(folder, 'none'), 'x')).toBeUndefined();
  });
});
