import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { clusterNode } from '../contract/remote-kit.ts';
import type { KubeosJob } from './clients/kubeos.ts';
import type { Hosts } from './hosts.ts';

/** Writes what the kubeos client is to do, and resolves to the file. */
export async function kubeosJob(hosts: Hosts, task: KubeosJob['task']): Promise<string> {
  const job: KubeosJob = {
    task,
    nodes: hosts.hosts.map(({ name, address }) => clusterNode(name, address)),
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
