import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliBed, nodeOf, readLogs, startCliBed } from './cli-bed.ts';

// One story: each test goes on where the one before has ended.
let bed: CliBed;
const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const BOTH = ['worker-1', 'worker-2'];
const AT_ONCE = ['--canary', '0', '--maxunavailable', '2'];

beforeAll(async () => {
  bed = await startCliBed();
  bed.lab.api.addWorkload({ kind: 'DaemonSet', namespace: 'kube-system', name: 'network' });
  bed.lab.api.addWorkload({ kind: 'Deployment', namespace: 'shop', name: 'web', replicas: 4 });
  bed.lab.api.addBudget({ namespace: 'shop', name: 'web', maxUnavailable: 4 });
  await bed.lab.api.settled();
});

afterAll(async () => {
  await bed.stop();
});

/** Every node's boot id, and the lock's token: what no command changes that has nothing to do. */
function footprint(): unknown {
  const boots = bed.lab.api.list('nodes').map(({ status }) => (status?.['nodeInfo'] as { bootID: string }).bootID);
  return [...boots, bed.lab.api.get('leases', 'kube-system', 'kubeos')?.spec?.['leaseTransitions']];
}

async function expectAll(version: string, slot: 'A' | 'B'): Promise<void> {
  const { nodes } = await bed.json(['status']);
  for (const name of BOTH) {
    expect(nodes.find(({ node }) => node === name)).toMatchObject({
      osVersion: version,
      active: slot,
      nextBoot: slot,
      state: 'committed',
      cordoned: false,
      ready: true,
      problems: [],
    });
    expect(nodes.find(({ node }) => node === name)?.run).toBeUndefined();
  }
  expect(nodes.find(({ node }) => node === 'cp-1')).toMatchObject({ osVersion: OLD, active: 'A' });
}

const outcomes = (nodes: readonly { node: string; outcome: string }[]): string[] =>
  nodes.map(({ node, outcome }) => `${node} ${outcome}`);

describe('kubeos in a cluster where all is well', () => {
  it('plans without changing anything, and tells changes by the exit code where it is asked to', async () => {
    const before = footprint();
    const plan = await bed.json(['plan', '-f', bed.lab.paths.spec, '--detailed-exitcode']);
    expect(plan).toMatchObject({ kind: 'Plan', exitCode: 7, exitName: 'changes-found', direction: 'upgrade' });
    expect(plan.entries).toMatchObject([
      { node: 'worker-1', canary: true },
      { node: 'worker-2', canary: false },
    ]);
    expect(plan.leftOut).toMatchObject([{ node: 'cp-1', because: expect.stringContaining('control plane') as string }]);
    expect(await bed.kubeos(['plan', '-f', bed.lab.paths.spec])).toMatchObject({ code: 0, stderr: '' });
    expect(footprint()).toEqual(before);
    await expectAll(OLD, 'A');
  });

  it('upgrades every worker, one as the canary first, and status proves it', async () => {
    const logs = `${bed.folder}/logs`;
    const done = await bed.json(['upgrade', '-f', bed.lab.paths.spec, '-y', '--log-dir', logs]);
    expect(done).toMatchObject({ kind: 'RolloutResult', exitCode: 0, exitName: 'done', version: NEW });
    expect(outcomes(done.nodes)).toEqual(['worker-1 upgraded', 'worker-2 upgraded']);
    await expectAll(NEW, 'B');
    for (const name of BOTH) {
      expect(bed.lab.node(name).status()).toMatchObject({ state: 'up', slot: 'B', version: NEW });
      expect((await bed.lab.node(name).machine.grubVariables())?.get('saved_entry')).toBe('B');
    }
    // The canary went alone.
    expect(bed.peakUnavailable()).toBe(1);
    expect(done.stderr).toMatch(/worker-1 +UPGRADED KubeOS 1\.0\.0 -> KubeOS 1\.1\.0, slot B(.|\n)*worker-2 +begins/);

    expect(done.logDir?.startsWith(`${logs}/`)).toBe(true);
    const files = await readLogs(done.logDir ?? '');
    expect(Object.keys(files).sort()).toEqual(['run.ndjson', 'worker-1.log', 'worker-2.log']);
    const events = (files['run.ndjson'] ?? '').trimEnd().split('\n');
    const types = events.map((line) => (JSON.parse(line) as { type: string }).type);
    expect([types[0], types.at(-1)]).toEqual(['rollout-started', 'rollout-done']);
    expect(files['worker-1.log']).toContain('commit');
  });

  it('changes nothing when it is told the same again', async () => {
    const before = footprint();
    const again = await bed.json(['upgrade', '-f', bed.lab.paths.spec, '-y']);
    expect(again.exitCode).toBe(0);
    expect(outcomes(again.nodes)).toEqual(['worker-1 already there', 'worker-2 already there']);
    expect(again.stderr).toContain(`Nothing to do: the 2 selected nodes run ${NEW}.`);
    expect((await bed.json(['plan', '-f', bed.lab.paths.spec, '--detailed-exitcode'])).exitCode).toBe(0);
    expect(footprint()).toEqual(before);
  });

  it('plans a rollback as the rollback will be, says what vouches for its slot, and changes nothing', async () => {
    const before = footprint();
    const flags = ['--to-previous', '--nodes', 'worker-2', '--detailed-exitcode'];
    const plan = await bed.json(['plan', ...flags]);
    expect(plan).toMatchObject({ kind: 'Plan', exitCode: 7, operation: 'rollback', version: OLD });
    // Slot A is as the lab began: no run of kubeos has written it.
    expect(plan.entries).toMatchObject([{ node: 'worker-2', firstStep: 'verify', trust: { basis: 'content only' } }]);
    const shown = await bed.kubeos(['plan', ...flags]);
    expect([shown.code, shown.stderr]).toEqual([7, '']);
    expect(shown.stdout).toContain('Nothing was changed. To do it: kubeos rollback --to-previous --nodes worker-2\n');
    const spec = await bed.spec(OLD, { opstype: 'rollback', imagetype: '""', imageurl: '""', checksum: '""' });
    const bySpec = await bed.kubeos(['plan', '-f', spec]);
    expect([bySpec.code, bySpec.stdout]).toEqual([0, expect.stringContaining(`kubeos rollback -f ${spec}\n`)]);
    expect(bySpec.stdout).toContain(`Roll back 2 of 3 nodes: ${NEW} -> ${OLD}`);
    expect((await bed.json(['plan', '--to-other-slot'])).exitCode).toBe(0);
    expect(footprint()).toEqual(before);
  });

  it('rolls back to the previous version, and that given again is no flip', async () => {
    bed.peakUnavailable();
    const back = await bed.kubeos(['rollback', '--to-previous', '-y', ...AT_ONCE]);
    expect(back.code).toBe(0);
    expect(back.stdout).toContain(`KubeOS 1.0.0: all 2 nodes run it`);
    expect(bed.peakUnavailable()).toBeLessThanOrEqual(2);
    await expectAll(OLD, 'A');
    const before = footprint();
    const again = await bed.json(['rollback', '--to-previous', '-y']);
    expect([again.exitCode, ...outcomes(again.nodes)]).toEqual([0, 'worker-1 already there', 'worker-2 already there']);
    expect(footprint()).toEqual(before);
  });

  it('goes to what the other slot holds by the spec of a rollback, which needs no image', async () => {
    const spec = await bed.spec(NEW, { opstype: 'rollback', imagetype: '""', imageurl: '""', checksum: '""' });
    const plan = await bed.kubeos(['plan', '-f', spec, ...AT_ONCE]);
    expect(plan.stdout).toMatch(/^ {2}slot +B was verified on \d{4}-\d\d-\d\d, its digest is recorded$/m);
    const done = await bed.json(['rollback', '-f', spec, '-y', ...AT_ONCE]);
    expect([done.exitCode, ...outcomes(done.nodes)]).toEqual([0, 'worker-1 rolled back', 'worker-2 rolled back']);
    await expectAll(NEW, 'B');
    const back = await bed.json(['plan', '--to-other-slot']);
    const verifiedAt = expect.any(String) as string;
    expect(back.entries[0]?.trust).toEqual({ basis: 'content only', verifiedAt });
    const elsewhere = await bed.spec('KubeOS 1.0.7', { opstype: 'rollback' });
    const refused = await bed.json(['rollback', '-f', elsewhere, '-y']);
    expect([refused.exitCode, refused.nodes[0]?.what]).toEqual([4, 'slot A holds KubeOS 1.0.0, not KubeOS 1.0.7']);
    await expectAll(NEW, 'B');
  });

  it('rolls back to any version by its image, over mTLS, and calls it a downgrade', async () => {
    const { sha256, path } = await bed.image('KubeOS 1.0.5');
    const imageurl = `${bed.lab.images.urls.mtls}/${path.split('/').at(-1) ?? ''}`;
    const mutual = { imageurl, checksum: sha256, mtls: true, clientcert: 'client.crt', clientkey: 'client.key' };
    const spec = await bed.spec('KubeOS 1.0.5', mutual);
    const plan = await bed.json(['plan', '-f', spec]);
    expect(plan.direction).toBe('downgrade');
    expect(plan.notes.map(({ what }) => what)).toContain('KubeOS 1.0.5 is older than what runs on worker-1, worker-2');
    const done = await bed.json(['upgrade', '-f', spec, '-y', ...AT_ONCE]);
    expect([done.exitCode, ...outcomes(done.nodes)]).toEqual([0, 'worker-1 upgraded', 'worker-2 upgraded']);
    await expectAll('KubeOS 1.0.5', 'A');
  });

  it('leaves nodes alone that run the version from another image, says so, and writes them with --reinstall', async () => {
    const spec = await bed.spec('KubeOS 1.0.5', {}, 'KubeOS 1.0.5 anew');
    const before = footprint();
    const plan = await bed.json(['plan', '-f', spec, '--nodes', 'worker-1']);
    expect(plan.already[0]?.notes.join()).toMatch(/slot A was written from another image .* --reinstall/);
    expect((await bed.json(['upgrade', '-f', spec, '-y'])).exitCode).toBe(0);
    expect(footprint()).toEqual(before);

    const again = [
      'upgrade',
      '-f',
      spec,
      '-y',
      '--reinstall',
      '--nodes',
      'worker-1',
      '--write',
      'after-drain',
      '--write-rate',
      '64M',
    ];
    const done = await bed.kubeos(again);
    expect(done.code).toBe(0);
    expect(done.stderr).toMatch(/slots\s+are\s+written\s+with\s+64\s+MiB\/s\s+at\s+most/);
    const { stdout: log } = await bed.kubeos(['logs', 'worker-1', '-n', '500']);
    expect(log).toContain('write of KubeOS 1.0.5 begins at 67108864 bytes a second at most');
    expect(done.stderr).toMatch(/worker-1 +drain +\d+ pods? gone(.|\n)*worker-1 +write +slot B/);
    expect(await bed.look('worker-1')).toMatchObject({ osVersion: 'KubeOS 1.0.5', active: 'B' });
    expect(await bed.look('worker-2')).toMatchObject({ osVersion: 'KubeOS 1.0.5', active: 'A' });
    expect((await bed.json(again)).exitCode).toBe(0);
  });

  it('prints nothing that only a terminal understands', async () => {
    const plan = await bed.kubeos(['plan', '-f', bed.lab.paths.spec]);
    const status = await bed.kubeos(['status', '-o', 'wide', '--ascii'], { env: { FORCE_COLOR: '1', NO_COLOR: '1' } });
    for (const { code, stdout, stderr } of [plan, status]) {
      expect(code).toBe(0);
      expect(stdout + stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
    }
    expect(status.stdout).not.toMatch(/[^\u0000-\u007f]/);
    const yaml = await bed.kubeos(['status', '-o', 'yaml']);
    expect(yaml.stdout).toContain('kind: Status');
  });

  it('shows what it did in the node’s own log', async () => {
    const logs = await bed.kubeos(['logs', 'worker-1', '-n', '500']);
    expect(logs.code).toBe(0);
    expect(logs.stdout).toContain('slot B');
    const messages = await readFile(`${bed.lab.node('worker-1').machine.root}/var/log/messages`, 'utf8');
    expect(messages).toContain(logs.stdout.trimEnd().split('\n').at(-1));
    expect((await bed.kubeos(['logs', 'worker-1', '-n', '1'])).stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(await bed.kubeos(['logs', 'worker-9'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('worker-9') as string,
    });
  });

  it('refuses to cross a major version unless it is told to', async () => {
    const spec = await bed.spec('KubeOS 2.0.0');
    const refused = await bed.json(['upgrade', '-f', spec, '-y']);
    expect(refused.exitCode).toBe(4);
    expect(refused.stopped).toContain('another major version');
    expect(refused.stderr).toContain('--allow-major');
    expect(nodeOf(refused, 'worker-1').outcome).toBe('not started');
    const plan = await bed.json(['plan', '-f', spec, '--allow-major']);
    expect([plan.exitCode, plan.refusals]).toEqual([0, []]);
  });
});
