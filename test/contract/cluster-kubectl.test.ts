import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ClusterSettings, KubectlCluster } from '../../src/cluster/index.ts';
import { ApiUnreachableError } from '../../src/errors.ts';
import type { DrainOptions, DrainProgress } from '../../src/rollout/ports.ts';
import { eventually, RECORD } from './cluster-suite.ts';
import type { KubectlBed } from './kubectl-bed.ts';
import { openLabBed } from './lab-bed.ts';

const never = new AbortController().signal;
const OPTIONS: DrainOptions = {
  timeoutMs: 60_000,
  gracePeriodSeconds: -1,
  force: false,
  deleteEmptyDirData: false,
  disableEviction: false,
};

describe('the kubectl behind the cluster', () => {
  let bed: KubectlBed | undefined;
  let cluster: KubectlCluster | undefined;
  let folder = '';
  beforeAll(async () => {
    bed = await openLabBed('v1.34.4');
  });
  afterAll(() => bed?.close());
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'kubectl-'));
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await cluster?.disconnect();
    await bed?.clear();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A connection through a kubectl that notes down the process ids it runs under. */
  const connect = async (settings: Partial<ClusterSettings> = {}): Promise<KubectlCluster> => {
    const kubectl = join(folder, 'kubectl');
    writeFileSync(kubectl, `#!/bin/sh\necho "$$ $*" >>"${folder}/started"\nexec kubectl "$@"\n`, { mode: 0o755 });
    cluster = await bed!.connect({ kubectl, ...settings });
    return cluster;
  };
  const started = (verb: string): number[] =>
    readFileSync(join(folder, 'started'), 'utf8')
      .split('\n')
      .filter((line) => line.includes(` ${verb} `))
      .map((line) => Number.parseInt(line, 10));
  /** Seen eventually: what was killed gives up its files a moment before the kernel shows it as dead. */
  const alive = (pids: readonly number[]): number[] =>
    pids.filter((pid) => {
      try {
        return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return false;
      }
    });
  const socketFolders = (): string[] => readdirSync(folder).filter((name) => name.startsWith('kubeos-'));
  const cordonedWith = async (pod: { name: string; slow?: boolean }): Promise<KubectlCluster> => {
    await bed!.addNode({ name: 'w-1' });
    await bed!.addPod({ ...pod, node: 'w-1' });
    const connected = await connect();
    await connected.cordon('w-1', RECORD);
    return connected;
  };

  test('is one proxy, whose socket only this user reaches, and nothing is left of it', async () => {
    vi.stubEnv('TMPDIR', folder);
    const connected = await connect();
    await Promise.all(Array.from({ length: 40 }, () => connected.nodes()));
    const proxies = started('proxy');
    expect(alive(proxies)).toHaveLength(1);
    const [own] = socketFolders();
    expect(statSync(join(folder, own!)).mode & 0o777).toBe(0o700);
    await connected.disconnect();
    await eventually(() => expect(alive(proxies)).toEqual([]));
    expect(socketFolders()).toEqual([]);
    await expect(connected.nodes()).rejects.toThrow(ApiUnreachableError);
  });

  test('is started again when the proxy was killed', async () => {
    await bed!.addNode({ name: 'w-1' });
    const connected = await connect();
    process.kill(started('proxy')[0]!, 'SIGKILL');
    expect(await connected.nodes()).toHaveLength(1);
    await Promise.all(Array.from({ length: 10 }, () => connected.nodes()));
    expect(alive(started('proxy'))).toHaveLength(1);
  });

  test('is ended when a drain is called off in its middle', async () => {
    const connected = await cordonedWith({ name: 'web-1', slow: true });
    const stopper = new AbortController();
    const stop = new Error('called off');
    let latest: DrainProgress | undefined;
    const drain = connected.drain('w-1', OPTIONS, (progress) => (latest = progress), stopper.signal);
    await eventually(() => expect(latest?.because).toContain('terminating'));
    expect(alive(started('drain'))).toHaveLength(1);
    stopper.abort(stop);
    await expect(drain).rejects.toBe(stop);
    await eventually(() => expect(alive(started('drain'))).toEqual([]));
  });

  test('is started again when the API server was away during a drain', async () => {
    const connected = await cordonedWith({ name: 'web-1', slow: true });
    let latest: DrainProgress | undefined;
    const drain = connected.drain('w-1', OPTIONS, (progress) => (latest = progress), never);
    await eventually(() => expect(latest?.because).toContain('terminating'));
    await bed!.stopApi?.();
    await eventually(() => expect(alive(started('drain'))).toEqual([]));
    await bed!.startApi?.();
    await bed!.endPod('shop', 'web-1');
    expect(await drain).toEqual({ evicted: 1 });
  });

  test('meets an API server that stays away: told after the time that it is waited for', async () => {
    const connected = await connect({ retryForMs: 500 });
    await bed!.stopApi?.();
    const error = await connected.nodes().catch((caught: unknown) => caught);
    await bed!.startApi?.();
    expect(error).toBeInstanceOf(ApiUnreachableError);
    expect(await connected.nodes()).toEqual([]);
  });

  test('cannot sign in: told at once, and no proxy is left', async () => {
    await bed!.stopApi?.();
    const error = await connect().catch((caught: unknown) => caught);
    await bed!.startApi?.();
    expect(error).toBeInstanceOf(ApiUnreachableError);
    expect((error as ApiUnreachableError).exitCode).toBe(10);
  });

  test('signs in through a login plugin, as long as that can answer without the terminal', async () => {
    const plugin = join(folder, 'plugin');
    const answer = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'admin-token' },
    };
    const answering = (condition: string): void =>
      writeFileSync(plugin, `#!/bin/sh\n${condition} || exit 1\necho '${JSON.stringify(answer)}'\n`, { mode: 0o755 });
    const exec = `exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: IfAvailable, command: ${plugin}}`;
    const kubeconfig = join(folder, 'kubeconfig');
    writeFileSync(kubeconfig, readFileSync(bed!.kubeconfig, 'utf8').replace(/token: .*/, exec));
    answering('true');
    const connected = await connect({ kubeconfig });
    expect(await connected.nodes()).toEqual([]);
    await connected.disconnect();
    // Asks once, and keeps nothing.
    answering(`mkdir ${folder}/asked 2>/dev/null`);
    const error = await connect({ kubeconfig }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ApiUnreachableError);
    expect((error as ApiUnreachableError).message).toContain('the login plugin gives no login');
    expect((error as ApiUnreachableError).next).toContain('sign in');
    await eventually(() => expect(alive(started('proxy'))).toEqual([]));
  });

  test('tells the versions of both sides', async () => {
    const connected = await connect();
    expect(connected.server.version).toBe('v1.34.4');
    expect(connected.kubectl.version).toMatch(/^v1\.\d+/);
  });

  test('finds the node that a pod runs on, so that it is not rebooted under kubeos itself', async () => {
    const connected = await cordonedWith({ name: 'kubeos-job' });
    expect(await connected.nodeOfPod('shop', 'kubeos-job')).toBe('w-1');
    expect(await connected.nodeOfPod('shop', 'nobody')).toBeUndefined();
  });
});
