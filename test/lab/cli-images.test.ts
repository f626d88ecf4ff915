import { access, chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256OfFile } from '../../src/lab/system-image.ts';
import { type CliBed, startCliBed } from './cli-bed.ts';
import { until } from './lab-bed.ts';

// One story: each test goes on where the one before has ended.
let bed: CliBed;
let docker = '';
const WHOLE = ['-y', '--canary', '0', '--maxunavailable', '2'];

beforeAll(async () => {
  bed = await startCliBed();
});

afterAll(async () => {
  await bed.stop();
  if (docker !== '') await rm(docker, { recursive: true });
});

const outcomes = (nodes: readonly { node: string; outcome: string }[]): string[] =>
  nodes.map(({ node, outcome }) => `${node} ${outcome}`);

async function expectAt(version: string, slot: 'A' | 'B', other: string): Promise<void> {
  for (const name of ['worker-1', 'worker-2']) {
    expect(await bed.look(name)).toMatchObject({
      osVersion: version,
      active: slot,
      nextBoot: slot,
      state: 'committed',
      cordoned: false,
      otherSlot: { content: 'bootable', version: other },
    });
  }
}

describe('kubeos, whatever the system comes as', () => {
  it('upgrades by a tar: unpacked into the slot, each file read back, nothing left of it in /persist', async () => {
    const spec = bed.lab.paths.tarSpec;
    const plan = await bed.json(['plan', '-f', spec]);
    expect(plan).toMatchObject({ exitCode: 0, refusals: [], image: { seen: { content: 'gzip' } } });
    const done = await bed.json(['upgrade', '-f', spec, ...WHOLE]);
    expect(outcomes(done.nodes)).toEqual(['worker-1 upgraded', 'worker-2 upgraded']);
    expect(done.nodes).toMatchObject([{ proof: 'files' }, { proof: 'files' }]);
    expect(done.stderr).toContain('slot B, each file read back equal, KubeOS 1.2.0');
    await expectAt('KubeOS 1.2.0', 'B', 'KubeOS 1.0.0');
    const { root } = bed.lab.node('worker-1').machine;
    await expect(access(path.join(root, 'persist/KubeOS-Update/update.img.list'))).rejects.toThrow();
    expect(await readFile(path.join(root, 'persist/kubeos/slot-B'), 'utf8')).toMatch(/^kind=tar$/m);
  });

  it('goes back from it, and to it again by the digest of its files', async () => {
    const back = await bed.json(['rollback', '--to-previous', ...WHOLE]);
    expect(outcomes(back.nodes)).toEqual(['worker-1 rolled back', 'worker-2 rolled back']);
    await expectAt('KubeOS 1.0.0', 'A', 'KubeOS 1.2.0');
    const again = await bed.json(['rollback', '--to-other-slot', ...WHOLE]);
    expect(outcomes(again.nodes)).toEqual(['worker-1 rolled back', 'worker-2 rolled back']);
    expect(again.stderr).toContain('slot B, its recorded digest holds, KubeOS 1.2.0');
    await expectAt('KubeOS 1.2.0', 'B', 'KubeOS 1.0.0');
  });

  it('upgrades by an image that is compressed with zstd: decompressed here where no node can, read back', async () => {
    const image = path.join(bed.lab.paths.images, 'kubeos-1.1.0.img.zst');
    const spec = await bed.spec('KubeOS 1.1.0', {
      imageurl: `${bed.lab.images.urls.https}/${path.basename(image)}`,
      checksum: await sha256OfFile(image),
    });
    const stopped = bed.start(['upgrade', '-f', spec, ...WHOLE, '--nodes', 'worker-1', '--write-rate', '100K']);
    const record = path.join(bed.lab.node('worker-1').machine.root, 'persist/kubeos/slot-A');
    await until(async () => (await readFile(record, 'utf8')).includes('state=dirty'));
    stopped.kill('SIGKILL');
    await stopped.done;
    // None of the nodes has zstd any more: this machine decompresses it, where it may fetch it.
    await rm(path.join(bed.lab.paths.bin, 'zstd'));
    const refused = await bed.json(['plan', '-f', spec]);
    expect(refused.notStarted.map(({ node }) => node)).toEqual(['worker-1', 'worker-2']);
    expect(refused.notStarted[0]?.findings[0]).toMatchObject({
      what: 'it has no zstd, and the image is compressed with it',
      next: expect.stringContaining('--certs-dir') as string,
    });
    const done = await bed.json(['upgrade', '-f', spec, ...WHOLE, '--certs-dir', bed.lab.paths.pki]);
    expect(outcomes(done.nodes)).toEqual(['worker-1 upgraded', 'worker-2 upgraded']);
    expect(done.stderr).toMatch(/decompressed on this machine by zstd: worker-1, worker-2\s+cannot/);
    expect(done.stderr).toContain('slot A, read back equal, KubeOS 1.1.0');
    await expectAt('KubeOS 1.1.0', 'A', 'KubeOS 1.2.0');
  });

  it('upgrades by the /os.tar of a container image that the nodes’ docker pulls, and leaves nothing of it there', async () => {
    const reference = 'registry.example.com/kubeos/kubeos:1.2.0';
    const digest = '5'.repeat(64);
    await installDocker(reference, digest);
    const image = { imagetype: 'docker', dockerimage: reference, imageurl: '""' };
    const gone = { ...image, dockerimage: reference.replace('1.2.0', '1.2.1') };
    const missing = await bed.json([
      'upgrade',
      '-f',
      await bed.spec('KubeOS 1.2.0', { ...gone, checksum: '""' }),
      ...WHOLE,
    ]);
    expect(missing.nodes[0]).toMatchObject({
      outcome: 'failed',
      step: 'stage',
      what: 'the image could not be downloaded',
      reason: expect.stringContaining('manifest unknown') as string,
    });
    const spec = await bed.spec('KubeOS 1.2.0', { ...image, checksum: `sha256:${digest}` });
    const plan = await bed.json(['plan', '-f', spec]);
    expect(plan).toMatchObject({ image: { type: 'docker', shownUrl: reference, sha256: digest, trusted: 'digest' } });
    const done = await bed.json(['upgrade', '-f', spec, ...WHOLE]);
    expect(outcomes(done.nodes)).toEqual(['worker-1 upgraded', 'worker-2 upgraded']);
    expect(done.stderr).toContain(`out of the image sha256:${digest}`);
    await expectAt('KubeOS 1.2.0', 'B', 'KubeOS 1.1.0');
    const { root } = bed.lab.node('worker-1').machine;
    expect(await readFile(path.join(root, 'persist/kubeos/slot-B'), 'utf8')).toContain(`sha256=${digest}\n`);
    await expect(access(path.join(root, 'persist/kubeos/engine'))).rejects.toThrow();
  });
});

/** Puts a double of docker on the nodes, whose one image holds the lab's tar. */
async function installDocker(reference: string, digest: string): Promise<void> {
  docker = await mkdtemp(path.join(tmpdir(), 'kubeos-docker-'));
  await chmod(docker, 0o755);
  const tar = path.join(docker, 'os.tar');
  await copyFile(path.join(bed.lab.paths.images, 'kubeos-1.2.0.tar.gz'), tar);
  await chmod(tar, 0o644);
  const text = await readFile(new URL('docker.sh', import.meta.url), 'utf8');
  const filled = text.replace('@FOLDER@', docker).replace('@REFERENCE@', reference).replace('@DIGEST@', digest);
  await writeFile(path.join(bed.lab.paths.bin, 'docker'), filled, { mode: 0o755 });
}
