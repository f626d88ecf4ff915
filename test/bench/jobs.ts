import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import type { KubeosJob } from './clients/kubeos.ts';
import type { Host, Hosts } from './hosts.ts';

/** Writes what the kubeos client is to do, and resolves to the file. */
export async function kubeosJob(hosts: Hosts, task: KubeosJob['task']): Promise<string> {
  const job: KubeosJob = {
    task,
    nodes: hosts.hosts.map(clusterNode),
    settings: {
      sshConfig: hosts.sshConfig,
      acceptNewHostKeys: false,
      environment: { HOME: hosts.dir, PATH: process.env['PATH'] },
    },
  };
  const file = join(hosts.dir, `${task.replaceAll(' ', '-')}.json`);
  await writeFile(file, JSON.stringify(job));
  return file;
}

const clusterNode = ({ name, address }: Host): ClusterNode => ({
  name,
  uid: name,
  addresses: [{ type: 'InternalIP', address }],
  labels: {},
  controlPlane: false,
  ready: true,
  cordoned: false,
  osImage: 'KubeOS 1.0.0',
  kernelVersion: '',
  architecture: 'amd64',
  bootId: '',
  operatorUpgrading: false,
});
