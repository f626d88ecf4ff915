import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LOGIN_USER, Sshd } from '../contract/remote-sshd.ts';
import { type CliBed, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';

// One story: each test goes on where the one before has ended.
let bed: CliBed;
let bastion: Sshd;
let closed: Sshd;
const NEW = 'KubeOS 1.1.0';
const BOTH = ['worker-1', 'worker-2'];

beforeAll(async () => {
  bed = await startCliBed();
  const { identity, knownHosts } = bed.lab.paths;
  const authorizedKeys = [execFileSync('ssh-keygen', ['-y', '-f', identity], { encoding: 'utf8' })];
  [bastion, closed] = await Promise.all([
    Sshd.start({ dir: path.join(bed.folder, 'bastion'), authorizedKeys }),
    Sshd.start({ dir: path.join(bed.folder, 'closed'), authorizedKeys, config: ['AllowTcpForwarding no'] }),
  ]);
  await appendFile(knownHosts, bastion.knownHost() + closed.knownHost());
});

afterAll(async () => {
  await Promise.all([bastion, closed].map((sshd) => sshd.close()));
  await bed.stop();
});

const through = (sshd: Sshd) => ['--jump', `${LOGIN_USER}@127.0.0.1:${String(sshd.port)}`];

const inOneLine = (screen: string): string => screen.replaceAll(/\s+/g, ' ');

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('kubeos with nodes behind a bastion', () => {
  it('shows them with --jump, or KUBEOS_SSH_JUMP, over one connection to it', async () => {
    for (const [args, env] of [
      [through(bastion), {}],
      [[], { KUBEOS_SSH_JUMP: through(bastion)[1] ?? '' }],
    ] as const) {
      const before = bastion.logins;
      const { nodes } = await bed.json(['status', ...args], { env });
      expect(nodes.map(({ node, active, problems }) => [node, active, problems])).toEqual(
        ['cp-1', ...BOTH].map((name) => [name, 'A', []]),
      );
      expect(bastion.logins - before).toBe(1);
    }
  });

  it('says which machine lets nobody through, and ends with 10', async () => {
    const before = closed.logins;
    const { code, stdout } = await bed.kubeos(['upgrade', '-f', bed.lab.paths.spec, '-y', ...through(closed)]);
    expect(code).toBe(10);
    expect(inOneLine(stdout)).toContain(`the jump host ${through(closed)[1] ?? ''} lets nobody through`);
    expect(stdout).toContain('AllowTcpForwarding');
    expect(closed.logins - before).toBe(1);
  });

  it('upgrades them, and a bastion that dies on the way costs one more connection', async () => {
    const before = bastion.logins;
    const upgrade = bed.start(['upgrade', '-f', bed.lab.paths.spec, '-y', '--canary', '0', ...through(bastion)], {
      env: { KUBEOS_SSH_JUMP: 'nowhere.invalid' },
    });
    await bed.untilStep('worker-1', 'stage');
    bastion.cut();
    expect((await upgrade.done).code).toBe(0);
    for (const name of BOTH) expect(bed.lab.node(name).status()).toMatchObject({ slot: 'B', version: NEW });
    expect(bastion.logins - before).toBe(2);
  });

  it('refuses what names no jump host, or no file, before it looks at any node', async () => {
    for (const [args, words] of [
      [['--jump', '-oProxyCommand=x'], '"-oProxyCommand=x" names no jump hosts'],
      [['--jump', 'fd00::1'], 'an IPv6 address in brackets'],
      [['--ssh-config', '/no/such/file'], '--ssh-config: /no/such/file cannot be read'],
    ] as const) {
      const { code, stderr } = await bed.kubeos(['status', ...args]);
      expect(code).toBe(2);
      expect(inOneLine(stderr)).toContain(words);
    }
  });

  it('leaves no ProxyCommand behind when it is killed', async () => {
    const file = path.join(bed.folder, 'proxy-pid');
    const config = path.join(bed.folder, 'proxied');
    await writeFile(config, `Host *\n  ProxyCommand sh -c "trap '' HUP TERM INT; echo \\$\\$ > ${file}; sleep 600"\n`);
    const status = bed.start(['status', '--ssh-config', config, '--nodes', 'worker-1'], {
      env: { TMPDIR: bed.folder },
    });
    await until(() => existsSync(file) && readFileSync(file, 'utf8').endsWith('\n'));
    const pid = Number(readFileSync(file, 'utf8'));
    expect(isRunning(pid)).toBe(true);
    status.kill('SIGKILL');
    await until(() => !isRunning(pid));
    await status.done;
  });
});
