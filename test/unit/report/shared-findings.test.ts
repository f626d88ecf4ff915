import { describe, expect, it } from 'vitest';
import { ConnectError } from '../../../src/errors.ts';
import { renderPlan } from '../../../src/report/plan-screen.ts';
import { renderResult } from '../../../src/report/result-screen.ts';
import { renderStatus } from '../../../src/report/status-screen.ts';
import { statusReport } from '../../../src/report/status.ts';
import type { Finding } from '../../../src/rollout/plan-types.ts';
import { clusterNode, DISPLAY, nodeResult, plan, rolloutResult, screen } from './fixtures.ts';

const NODES = ['worker-1', 'worker-2', 'worker-10'];
const address = (node: string): string => `10.1.0.${node.slice('worker-'.length)}`;

const refused = (node: string): Finding => ({
  what: `root@${address(node)}:22 refuses the login`,
  reason: 'refused: /home/ci/id_ed25519 (ssh-ed25519 SHA256:tz0k)\nthe server takes: publickey',
  next: "put a public key into root's authorized_keys on the node",
});
const KEYS: Readonly<Record<string, string>> = { 'worker-1': 'q0mB', 'worker-2': 'A1/x', 'worker-10': 'z+9=' };
const strange = (node: string): Finding => ({
  what: `the SSH host key of ${address(node)} is not known`,
  reason: `offered: ssh-ed25519 SHA256:${KEYS[node] ?? ''}`,
  next:
    "compare it with the node's console, then:\n" +
    `  ssh-keyscan -t ed25519 ${address(node)} >> ~/.ssh/known_hosts\n` +
    'or trust first contact: --accept-new-host-keys',
});
const ported = (node: string): Finding => {
  const { what, next = '', ...more } = strange(node);
  const port = 2200 + Number(node.slice('worker-'.length));
  return {
    ...more,
    what: what.replace(address(node), `[${address(node)}]:${port}`),
    next: next.replace(address(node), `-p ${port} ${address(node)}`),
  };
};

const planned = (of: (node: string) => Finding): string[] =>
  renderPlan(
    plan({
      entries: [],
      notStarted: NODES.map((node) => ({ node, now: 'KubeOS 1.0.0', findings: [of(node)], unreachable: true })),
    }),
    DISPLAY,
    { dryRun: true },
  );

describe('what keeps many nodes out in the same way', () => {
  it('is told once in a plan, with the servers that say it', () => {
    expect(planned(refused)).toEqual(screen('plan-refused-logins'));
  });

  it('is told once for host keys, with the key of each and the command for each', () => {
    expect(planned(ported)).toEqual(screen('plan-host-keys'));
  });

  it('names the jump host that all of them go through, and to which servers', () => {
    const closed = (node: string): Finding => ({
      what: `the jump host root@10.9.9.9:22 lets nobody through to ${address(node)}:22`,
      next: 'allow it there: AllowTcpForwarding',
    });
    const lines = planned(closed).join(' ').replaceAll(/\s+/g, ' ');
    expect(lines).toContain('the jump host root@10.9.9.9:22 lets nobody through to the node');
    expect(lines).toContain('where 10.1.0.1:22, 10.1.0.2:22, 10.1.0.10:22');
  });

  it('is told once in the status, and in the result of a run', () => {
    const answers = new Map(
      NODES.map((node) => {
        const { what, ...context } = refused(node);
        return [node, new ConnectError(what, 'login-refused', context)] as const;
      }),
    );
    const report = statusReport(
      NODES.map((node) => clusterNode(node)),
      answers,
      undefined,
      0,
    );
    const status = renderStatus(report, DISPLAY, { wide: false, ssh: true });
    const once = screen('plan-refused-logins').slice(3, 7);
    expect(status.slice(-4)).toEqual(once);
    expect(status).toContain('worker-1, worker-2, worker-10: the node refuses the login');
    const results = NODES.map((node) => nodeResult(node, 'not started', refused(node)));
    const result = renderResult(rolloutResult(results, { exitCode: 10 }), DISPLAY, { command: 'kubeos' });
    expect(result.filter((line) => line.includes('refuses the login'))).toEqual([
      '    what   the node refuses the login',
      'Exit 10: the API, or every node, cannot be reached or refuses the login.',
    ]);
  });

  it.each(['10.1.0.', 'fd00::', 'worker.pool-a.example:22'])('is told once where servers are named like %s', (host) => {
    const of = (node: string): Finding => ({
      what: `no route to ${host.replace('worker', node)}${host.endsWith('22') ? '' : node.slice(-1)}`,
    });
    expect(planned(of).filter((line) => line.startsWith('✗'))).toEqual([
      '✗ worker-1, worker-2, worker-10 cannot be started: no route to the node',
    ]);
  });

  it('is told apart where more than the name differs', () => {
    const lines = planned((node) => (node === 'worker-10' ? { ...refused(node), next: 'ssh-add' } : refused(node)));
    expect(lines.filter((line) => line.startsWith('✗'))).toEqual([
      '✗ worker-1, worker-2 cannot be started: the node refuses the login',
      '✗ worker-10 cannot be started: root@10.1.0.10:22 refuses the login',
    ]);
  });

  it('names the commands of the first twenty of many nodes, and says how many more there are', () => {
    const many = Array.from({ length: 30 }, (_, index) => `n-${index}`);
    const notStarted = many.map((node) => ({
      node,
      now: 'KubeOS 1.0.0',
      findings: [{ what: 'its annotation cannot be read', next: `remove it:\nkubectl describe node ${node}` }],
      unreachable: false,
    }));
    const lines = renderPlan(plan({ entries: [], notStarted }), DISPLAY, { dryRun: true });
    expect(lines.filter((line) => line.includes('kubectl describe node n-'))).toHaveLength(20);
    expect(lines.filter((line) => line.includes('remove it:'))).toHaveLength(1);
    expect(lines).toContain('          and 10 more');
  });
});
