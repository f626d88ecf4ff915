import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CliBed, type Doc, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';

// One story: each test goes on where the one before has ended.
let bed: CliBed;
const OLD = 'KubeOS 1.0.0';
const NEW = 'KubeOS 1.1.0';
const AT_ONCE = ['-y', '--canary', '0', '--maxunavailable', '2'];

beforeAll(async () => {
  bed = await startCliBed();
  const { code, stderr } = await bed.kubeos(['upgrade', '-f', bed.lab.paths.spec, ...AT_ONCE]);
  if (code !== 0) throw new Error(stderr);
});

afterAll(async () => {
  await bed.stop();
});

const bootId = async (name: string): Promise<string> =>
  (await readFile(path.join(bed.lab.node(name).machine.root, 'proc/sys/kernel/random/boot_id'), 'utf8')).trim();

/** What the usage instructions call the manual rollback: restart the node and choose the other entry in its boot menu. */
async function bootByHand(name: string, slot: 'A' | 'B'): Promise<void> {
  const node = bed.lab.node(name);
  const before = await bootId(name);
  await node.machine.setGrubVariables({ next_entry: slot });
  await writeFile(path.join(node.machine.stateDir, 'reboot'), '');
  const reported = (): unknown =>
    (bed.lab.api.get('nodes', '', name)?.status?.['nodeInfo'] as { bootID: string }).bootID;
  await until(async () => node.status().slot === slot && (await bootId(name)) !== before);
  await until(async () => reported() === (await bootId(name)));
}

const brief = ({ nodes, exitCode }: Doc): unknown[] => [
  exitCode,
  ...nodes.map(({ node, outcome }) => `${node} ${outcome}`).sort(),
];

describe('a node that was rolled back by hand', () => {
  it('is shown as it is: what it runs, what its next boot would bring', async () => {
    bed.cordon('worker-1', true);
    await bootByHand('worker-1', 'A');
    expect(await bed.look('worker-1')).toMatchObject({
      osVersion: OLD,
      active: 'A',
      nextBoot: 'B',
      state: 'booted by hand',
      otherSlot: { slot: 'B', version: NEW },
    });
    const { stdout } = await bed.kubeos(['status']);
    expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(/worker-1: .*hand/);
  });

  it('is shown without SSH too, as far as the cluster knows', async () => {
    for (const name of ['cp-1', 'worker-1', 'worker-2']) await bed.lab.setFault(name, 'ssh-refused');
    for (const flags of [['--no-ssh'], []]) {
      const status = await bed.kubeos(['status', ...flags]);
      expect(status.code).toBe(0);
      expect(status.stdout).toMatch(/^worker-1 +yes +KubeOS 1\.0\.0 +\? +\? +\? +cordoned/m);
    }
    const data = await bed.json(['status', '--no-ssh']);
    expect(data.nodes.map(({ node, osVersion, state }) => [node, osVersion, state])).toEqual([
      ['cp-1', OLD, 'unknown'],
      ['worker-1', OLD, 'unknown'],
      ['worker-2', NEW, 'unknown'],
    ]);
    for (const name of ['cp-1', 'worker-1', 'worker-2']) await bed.lab.clearFault(name);
  });

  it('is committed where it runs by rollback --to-previous, without a reboot, and its user’s cordon stays', async () => {
    const before = await bootId('worker-1');
    const done = await bed.json(['rollback', '--to-previous', ...AT_ONCE]);
    expect(brief(done)).toEqual([0, 'worker-1 rolled back', 'worker-2 rolled back']);
    expect(await bootId('worker-1')).toBe(before);
    expect(await bed.look('worker-1')).toMatchObject({
      osVersion: OLD,
      nextBoot: 'A',
      state: 'committed',
      cordoned: true,
    });
    expect(await bed.look('worker-2')).toMatchObject({
      osVersion: OLD,
      nextBoot: 'A',
      state: 'committed',
      cordoned: false,
    });
    bed.cordon('worker-1', false);
    expect(brief(await bed.json(['rollback', '--to-previous', '-y']))).toEqual([
      0,
      'worker-1 already there',
      'worker-2 already there',
    ]);
  });

  it('and forward again by hand is committed by the upgrade that leads there', async () => {
    await bootByHand('worker-2', 'B');
    const before = await bootId('worker-2');
    const done = await bed.json(['upgrade', '-f', bed.lab.paths.spec, '-y', '--nodes', 'worker-2']);
    expect(brief(done)).toEqual([0, 'worker-2 upgraded']);
    expect(await bootId('worker-2')).toBe(before);
    expect(await bed.look('worker-2')).toMatchObject({ osVersion: NEW, nextBoot: 'B', state: 'committed' });
  });

  it('is proven where it runs before its other slot is written', async () => {
    await bootByHand('worker-2', 'A');
    const spec = await bed.spec('KubeOS 1.2.0');
    const done = await bed.json(['upgrade', '-f', spec, '-y', '--nodes', 'worker-2']);
    expect(brief(done)).toEqual([0, 'worker-2 upgraded']);
    expect(done.stderr).toMatch(/worker-2 +commit +slot A is permanent(.|\n)*worker-2 +write +slot B/);
    expect(await bed.look('worker-2')).toMatchObject({
      active: 'B',
      osVersion: 'KubeOS 1.2.0',
      otherSlot: { version: OLD },
    });
  });

  it('rolls back to what the newest rollout replaced; nodes that it never reached stay', async () => {
    const done = await bed.json(['rollback', '--to-previous', '-y']);
    expect(brief(done)).toEqual([0, 'worker-1 already there', 'worker-2 rolled back']);
    expect(await bed.look('worker-2')).toMatchObject({ osVersion: OLD, active: 'A' });
  });
});
