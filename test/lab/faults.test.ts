import { execFile } from 'node:child_process';
import { copyFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lab } from '../../src/lab/lab.ts';
import type { LabNodeStatus } from '../../src/lab/lab-node.ts';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { runTool } from '../../src/lab/tools.ts';
import { type LabBed, startBed, until } from './lab-bed.ts';

let bed: LabBed;
let lab: Lab;
const NODE = 'worker-1';

beforeAll(async () => {
  bed = await startBed({ workers: 2 });
  lab = bed.lab;
});

afterEach(async () => {
  await lab.clearFault(NODE);
  await until(() => state().state === 'up');
});

afterAll(async () => {
  await bed.stop();
});

const state = (): LabNodeStatus => lab.node(NODE).status();

interface Answer {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command on the node by the system's own ssh. */
async function ssh(command: string): Promise<Answer> {
  return new Promise((resolve) => {
    execFile('ssh', ['-F', lab.paths.sshConfig, NODE, command], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

const ready = (): string => {
  const conditions = (lab.api.get('nodes', '', NODE)?.status?.['conditions'] ?? []) as Record<string, string>[];
  return conditions.find((condition) => condition['type'] === 'Ready')?.['status'] ?? '';
};

const bootId = (): unknown => (lab.api.get('nodes', '', NODE)?.status?.['nodeInfo'] as { bootID: string }).bootID;

/** Puts the update on slot B and has the node boot it once, as kubeos does. */
async function trial(): Promise<void> {
  const { machine } = lab.node(NODE);
  await copyFile(lab.update.path, machine.device('B'));
  await runTool('e2label', [machine.device('B'), 'ROOT-B']);
  await machine.setGrubVariables({ saved_entry: 'A', next_entry: 'B' });
  const before = bootId();
  await ssh('systemctl reboot');
  await until(() => bootId() !== before || state().state === 'down');
}

describe('a node of the lab', () => {
  it('boots the slot on trial, reports it, and goes back at the next reboot', async () => {
    await trial();
    expect(state()).toMatchObject({ state: 'up', slot: 'B', trial: true, version: 'KubeOS 1.1.0' });
    expect(lab.api.get('nodes', '', NODE)?.status?.['nodeInfo']).toMatchObject({ osImage: 'KubeOS 1.1.0' });
    expect(ready()).toBe('True');
    const before = bootId();
    await ssh('systemctl reboot');
    await until(() => bootId() !== before);
    expect(state()).toMatchObject({ slot: 'A', trial: false, version: 'KubeOS 1.0.0' });
  });

  it('is on trial until the slot is committed', async () => {
    await trial();
    expect(state()).toMatchObject({ slot: 'B', trial: true });
    await lab.node(NODE).machine.setGrubVariables({ saved_entry: 'B' });
    expect(state()).toMatchObject({ slot: 'B', trial: false });
    const before = bootId();
    await lab.node(NODE).machine.setGrubVariables({ saved_entry: 'A' });
    await ssh('systemctl reboot');
    await until(() => bootId() !== before);
  });

  it('has its own tools on its PATH and nothing else', async () => {
    expect(
      (await ssh('id -u; for tool in systemctl curl python3; do command -v $tool || echo none; done')).stdout,
    ).toBe(`0\n${lab.paths.bin}/systemctl\n${lab.paths.bin}/curl\nnone\n`);
  });

  it('ends what runs on it when it reboots', async () => {
    await ssh('setsid sleep 600 >/dev/null 2>&1 </dev/null &');
    expect(await lab.node(NODE).machine.processes()).toHaveLength(1);
    const before = bootId();
    await ssh('systemctl reboot');
    await until(() => bootId() !== before);
    expect(await lab.node(NODE).machine.processes()).toEqual([]);
  });
});

describe('the fault', () => {
  it('ssh-refused closes the door, for new connections and old ones, until it is cleared', async () => {
    const held = ssh('sleep 600');
    await until(() => lab.node(NODE).ssh.connections > 0);
    await lab.setFault(NODE, 'ssh-refused');
    expect((await held).code).toBe(255);
    expect((await ssh('true')).stderr).toContain('Connection refused');
    expect(ready()).toBe('True');
    await lab.clearFault(NODE, 'ssh-refused');
    expect((await ssh('echo back')).stdout).toBe('back\n');
  });

  it('ssh-cut strikes three times, once a long step has begun', async () => {
    await lab.setFault(NODE, 'ssh-cut');
    expect((await ssh('true')).code).toBe(0);
    await ssh('mkdir -p "$KUBEOS_ROOT/run/kubeos/job"');
    const codes = [await ssh('true'), await ssh('true'), await ssh('true')].map((one) => one.code);
    // The command that began the step was the first.
    expect(codes).toEqual([255, 255, 0]);
    await ssh('rm -r "$KUBEOS_ROOT/run/kubeos"');
  });

  it.each(['corrupt-download', 'download-cut'] as const)('%s strikes this node’s download alone', async (kind) => {
    await lab.setFault(NODE, kind);
    const get = `curl -s "${lab.images.urls.http}/${path.basename(lab.update.path)}" -o "$KUBEOS_ROOT/tmp/got"`;
    const other = path.join(lab.node('worker-2').machine.root, 'tmp/got');
    await new Promise((resolve) => {
      execFile('ssh', ['-F', lab.paths.sshConfig, 'worker-2', get], resolve);
    });
    expect(await sha256OfFile(other)).toBe(lab.update.sha256);
    const mine = path.join(lab.node(NODE).machine.root, 'tmp/got');
    const { code } = await ssh(get);
    if (kind === 'corrupt-download') {
      expect([code, (await stat(mine)).size]).toEqual([0, lab.update.bytes]);
      expect(await sha256OfFile(mine)).not.toBe(lab.update.sha256);
    } else {
      expect(code).toBe(18);
      expect((await ssh(get)).code).toBe(18);
    }
    expect((await ssh(get)).code).toBe(0);
    expect(await sha256OfFile(mine)).toBe(lab.update.sha256);
  });

  it('disk-full leaves no room in /persist', async () => {
    const df = 'df -P -k -- "$KUBEOS_ROOT/persist" | awk \'NR == 2 { print $4 }\'';
    await lab.setFault(NODE, 'disk-full');
    expect((await ssh(df)).stdout).toBe('0\n');
    await lab.clearFault(NODE, 'disk-full');
    expect(Number((await ssh(df)).stdout)).toBeGreaterThan(0);
  });

  it('boot-fails sends the next trial back to the old slot, once', async () => {
    await lab.setFault(NODE, 'boot-fails');
    await trial();
    expect(state()).toMatchObject({ state: 'up', slot: 'A', version: 'KubeOS 1.0.0', faults: [] });
    await trial();
    expect(state()).toMatchObject({ slot: 'B', trial: true });
  });

  it('never-comes-back leaves the node down until its power is cycled', async () => {
    await lab.setFault(NODE, 'never-comes-back');
    await trial();
    await until(() => ready() === 'Unknown');
    expect(state()).toMatchObject({ state: 'down', message: 'slot B: the kernel hangs' });
    expect((await ssh('true')).stderr).toContain('Connection refused');
    await lab.clearFault(NODE);
    await until(() => ready() === 'True');
    expect(state()).toMatchObject({ state: 'up', slot: 'A' });
  });

  it('unready keeps the kubelet of a slot on trial from becoming Ready, not that of the old slot', async () => {
    await lab.setFault(NODE, 'unready');
    await trial();
    expect(state()).toMatchObject({ slot: 'B', trial: true });
    expect(ready()).toBe('False');
    await ssh('systemctl reboot');
    await until(() => ready() === 'True');
    expect(state()).toMatchObject({ slot: 'A', trial: false });
  });

  it.each(['drain-blocked', 'drain-impossible'] as const)('%s puts a budget over a pod of the node', async (kind) => {
    await lab.setFault(NODE, kind);
    const budgets = lab.api.list('poddisruptionbudgets', 'lab-faults');
    expect(budgets.map((budget) => budget.status)).toMatchObject([
      { disruptionsAllowed: 0, desiredHealthy: 1, expectedPods: kind === 'drain-blocked' ? 2 : 1 },
    ]);
    const pods = lab.api.list('pods', 'lab-faults');
    expect(new Set(pods.map((pod) => pod.spec?.['nodeName']))).toEqual(new Set([NODE]));
    await lab.clearFault(NODE, kind);
    await lab.api.settled();
    expect(lab.api.list('poddisruptionbudgets', 'lab-faults')).toEqual([]);
    expect(lab.api.list('pods', 'lab-faults')).toEqual([]);
  });

  it('power-off takes the node out of the cluster until it is cleared', async () => {
    await lab.setFault(NODE, 'power-off');
    expect(state()).toMatchObject({ state: 'down', message: 'the power is off' });
    await until(() => ready() === 'Unknown');
    await lab.clearFault(NODE, 'power-off');
    await until(() => ready() === 'True');
  });

  it('of a node that is not there is refused', async () => {
    await expect(lab.setFault('worker-9', 'unready')).rejects.toThrow('the lab has no node worker-9');
  });
});

describe('the control plane', () => {
  it('takes the API away while it reboots', async () => {
    const answers = (): Promise<boolean> =>
      new Promise((resolve) => {
        const env = { PATH: process.env['PATH'] ?? '', KUBECONFIG: lab.paths.kubeconfig, HOME: bed.folder };
        execFile('kubectl', ['get', 'nodes', '--request-timeout=2s'], { env }, (error) => resolve(error === null));
      });
    await lab.setFault('cp-1', 'power-off');
    expect(await answers()).toBe(false);
    await lab.clearFault('cp-1');
    await until(answers);
  });
});
