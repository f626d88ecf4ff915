// What kubeos's own SSH side does with a fleet, as one process: `kubeos.js JOB` with the job as JSON in a file.
import { readFileSync } from 'node:fs';
import { createRemote, type RemoteSettings } from '../../../src/remote/index.ts';
import { ConnectionPool } from '../../../src/remote/pool.ts';
import type { ClusterNode } from '../../../src/rollout/facts.ts';
import { tellUse } from './use.ts';

export interface KubeosJob {
  task: 'observe and claim' | 'connect and run true';
  nodes: readonly ClusterNode[];
  settings: RemoteSettings;
}

const job = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as KubeosJob;
if (job.task === 'observe and claim') await observeAndClaim(job);
else await connectAndRunTrue(job);

async function observeAndClaim({ nodes, settings }: KubeosJob): Promise<void> {
  const remote = createRemote(settings);
  // The nodes have seen this token: claiming with it again changes nothing.
  const by = { run: 'bench', token: 1 };
  await Promise.all(
    nodes.map(async (node) => {
      await remote.observe(node);
      await remote.claim(node, by);
    }),
  );
  await remote.disconnect();
}

async function connectAndRunTrue({ nodes, settings }: KubeosJob): Promise<void> {
  const clock = { now: () => Date.now(), sleep: () => Promise.resolve() };
  const pool = new ConnectionPool(settings, clock, () => undefined);
  await Promise.all(
    nodes.map(async (node) => {
      const connection = await pool.get(node);
      const { code } = await connection.run('true', '', { timeoutMs: 60_000 });
      if (code !== 0) throw new Error(`${node.name}: ${String(code)}`);
    }),
  );
  tellUse();
  await pool.close();
}
