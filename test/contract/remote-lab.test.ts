import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { labBed, labBedWithSudoPassword } from './remote-beds.ts';
import { describeRemoteContract, type RemoteBed } from './remote-suite.ts';

describeRemoteContract('SSH to the lab’s server, as a user with sudo,', labBed('ops'));

describe('a user whose sudo wants a password each time', () => {
  let bed: RemoteBed;

  beforeAll(async () => {
    bed = await labBedWithSudoPassword();
  });

  afterAll(() => bed.close());

  it('does everything all the same, long steps that outlive a cut connection too', async () => {
    const one = await bed.makeNode();
    const { node, slow, image, version } = one;
    const by = { run: 'run', token: 1 };
    const { sha256 } = slow.artifact;
    const replaced = version;
    await bed.remote.claim(node, by);
    await bed.remote.begin(node, by, {
      operation: 'upgrade',
      version: image.version,
      replaced,
      from: 'A',
      target: 'B',
      sha256,
    });
    const staging = bed.remote.stage(node, by, slow.artifact, () => undefined, new AbortController().signal);
    while ((await bed.another.observe(node)).detached?.running !== true);
    one.cut();
    slow.release();
    expect(await staging).toEqual({ bytes: image.bytes });
    expect(await bed.remote.write(node, by, 'B', () => undefined, new AbortController().signal)).toEqual({
      bytes: image.bytes,
    });
  });

  it('is told what to do where the slot to go back to holds no system, as befits a rollback', async () => {
    const { node, version } = await bed.makeNode();
    const by = { run: 'run', token: 1 };
    const back = {
      operation: 'rollback',
      version: 'KubeOS 0.9.0',
      replaced: version,
      from: 'A',
      target: 'B',
      sha256: '',
    } as const;
    await bed.remote.begin(node, by, back);
    await expect(
      bed.remote.verify(node, by, back, () => undefined, new AbortController().signal),
    ).rejects.toMatchObject({
      step: 'verify',
      next: expect.stringMatching(/mend what is in the slot.*kubeos upgrade/) as string,
    });
  });
});
