import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type CliBed, type Doc, nodeOf, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';

let bed: CliBed;
const NEW = 'KubeOS 1.1.0';

beforeAll(async () => {
  bed = await startCliBed({ workers: 3 });
});

afterEach(async () => {
  await bed.fresh('worker-1', 'worker-2', 'worker-3');
  bed.peakUnavailable();
});

afterAll(async () => {
  await bed.stop();
});

const upgrade = (...flags: readonly string[]): Promise<Doc & { stderr: string }> =>
  bed.json(['upgrade', '-f', bed.lab.paths.spec, '-y', ...flags]);

const brief = ({ nodes, exitCode }: Doc): unknown[] => [
  exitCode,
  ...nodes.map(({ node, outcome }) => `${node} ${outcome}`).sort(),
];

describe('how many nodes are touched when something goes wrong', () => {
  it('the canary alone, where the canary falls back', async () => {
    await bed.lab.setFault('worker-1', 'boot-fails');
    const done = await upgrade('--maxunavailable', '3');
    expect(brief(done)).toEqual([5, 'worker-1 fell back', 'worker-2 not started', 'worker-3 not started']);
    expect(done.stopped).toBe('after 1 failure (--max-failures 1)');
    expect(bed.peakUnavailable()).toBe(1);
    for (const name of ['worker-2', 'worker-3']) {
      expect(bed.stepOf(name)).toBeUndefined();
      expect((await bed.look(name)).otherSlot).toMatchObject({ content: 'unbootable' });
    }
  });

  it('as many as --max-failures allows', async () => {
    for (const name of ['worker-1', 'worker-2']) await bed.lab.setFault(name, 'corrupt-download');
    const done = await upgrade('--maxunavailable', '1', '--canary', '0', '--max-failures', '2');
    expect(brief(done)).toEqual([3, 'worker-1 failed', 'worker-2 failed', 'worker-3 not started']);
    expect(done.stopped).toBe('after 2 failures (--max-failures 2)');
  });
});

describe('nodes that were down before', () => {
  it('use up the budget, go first, and stay cordoned where they were', async () => {
    bed.cordon('worker-2', true);
    await bed.lab.setFault('worker-3', 'power-off');
    await until(async () => !(await bed.look('worker-3')).ready);
    bed.peakUnavailable();

    // Two are down: with a budget of one nothing may be started that is up.
    const waited = await upgrade('--nodes', 'worker-1', '--maxunavailable', '1', '--budget-wait', '2s');
    expect(brief(waited)).toEqual([4, 'worker-1 not started']);
    expect(waited.stopped).toMatch(/worker-2 \(cordoned\), worker-3 \(not Ready\).*--budget-wait/);
    expect(bed.peakUnavailable()).toBe(2);

    const done = await upgrade('--maxunavailable', '3', '--canary', '0');
    expect(brief(done)).toEqual([3, 'worker-1 upgraded', 'worker-2 upgraded', 'worker-3 not started']);
    expect(done.stderr).toMatch(/worker-2 +begins(.|\n)*worker-1 +begins/);
    expect(await bed.look('worker-2')).toMatchObject({ osVersion: NEW, cordoned: true });
    expect(await bed.look('worker-1')).toMatchObject({ osVersion: NEW, cordoned: false });
    expect(nodeOf(done, 'worker-3').what).toMatch(/no SSH connection/);
    const status = await bed.kubeos(['status', '--no-ssh']);
    expect(status.stdout).toMatch(/^worker-3 +no /m);
  });
});

describe('the control plane', () => {
  it('is upgraded where that is asked for: its API goes away meanwhile, and the run waits for it; sudo does', async () => {
    const done = await upgrade('--include-control-plane', '--nodes', 'cp-1', '--ssh-user', 'ops');
    expect(brief(done)).toEqual([0, 'cp-1 upgraded']);
    expect(await bed.look('cp-1')).toMatchObject({ osVersion: NEW, active: 'B', state: 'committed', cordoned: false });
    expect(bed.stepOf('cp-1')).toBeUndefined();
  });
});
