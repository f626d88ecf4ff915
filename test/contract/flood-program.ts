import { KubeosError } from '../../src/errors.ts';
import { createRemote } from '../../src/remote/index.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import { LOGIN_USER } from './remote-sshd.ts';

// Observes one node over SSH and prints how that ended, and by how many bytes the process grew meanwhile.

const [dir = '', port = ''] = process.argv.slice(2);
const remote = createRemote({
  sshUser: LOGIN_USER,
  sshPort: Number(port),
  identities: [`${dir}/key`],
  sshConfig: 'none',
  knownHosts: [`${dir}/known-${port}`],
  acceptNewHostKeys: true,
  keepalive: { intervalMs: 500, countMax: 3 },
  patience: { callMs: 0 },
  environment: { HOME: dir, PATH: process.env['PATH'] },
});
const node = { name: 'worker-1', addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] } as unknown as ClusterNode;
// The first call takes what the program needs in any case.
await remote.log(node, 'begins');
const before = process.resourceUsage().maxRSS;
const error: unknown = await remote.observe(node).then(
  () => undefined,
  (reason: unknown) => reason,
);
const grownBy = (process.resourceUsage().maxRSS - before) * 1024;
const {
  message,
  reason,
  step,
  node: name,
  next,
  logTail,
} = error instanceof KubeosError ? error : ({} as Partial<KubeosError>);
const shown = { message: message ?? String(error), reason, step, node: name, next, logTail, grownBy };
process.stdout.write(JSON.stringify(shown), () => process.exit(0));
