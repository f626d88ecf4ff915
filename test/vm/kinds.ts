import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import { fillExample } from '../../src/lab/lab-files.ts';
import { pushImage, startRegistry } from '../scripts/registry.ts';
import { DISK_VERSION, type Engine, tarOf } from './artifacts.ts';
import type { VmBed, VmNode } from './bed.ts';
import { expectEnd, expectLogged, expectSettled, json } from './checks.ts';
import { NEW, withBed } from './plays.ts';

/** A tar is unpacked into the file system that the node itself makes on its disk. */
export async function tarThereAndBack(): Promise<void> {
  await withBed({}, async (bed, node) => {
    await thereAndBack(bed, node, await bed.spec((await tarOf(NEW)).gzip));
  });
}

/** How an engine's images and what is made of them are listed, and what keeps a plain registry from being trusted. */
const ENGINE = {
  containerd: {
    field: 'containerimage',
    holds: 'ctr -n k8s.io images ls -q; ctr -n k8s.io snapshots ls | tail -n +2',
    trust: (host: string) => `mkdir -p /etc/containerd/certs.d/${host}
echo '[host."http://${host}"]' >/etc/containerd/certs.d/${host}/hosts.toml`,
  },
  docker: { field: 'dockerimage', holds: 'docker ps -aq; docker image ls -aq', trust: () => '' },
} as const;

/** The same tar, as /os.tar of an image that the node's own engine pulls from a registry. */
export async function engineThereAndBack(engine: Engine): Promise<void> {
  await withBed({ engine }, async (bed, node) => {
    const registry = await startRegistry(bed.dir, 'registry');
    try {
      const content = await readFile((await tarOf(NEW)).plain.path);
      const { digest } = await pushImage(registry, 'kubeos/kubeos', '1.1.0', [{ name: 'os.tar', content }]);
      const host = registry.host.replace('127.0.0.1', '10.0.2.2');
      const { field, holds, trust } = ENGINE[engine];
      await node.ssh(trust(host));
      const spec = path.join(bed.dir, `upgrade-${engine}.yaml`);
      const fields = { osversion: NEW, [field]: `${host}/kubeos/kubeos:1.1.0`, checksum: `sha256:${digest}` };
      await fillExample(spec, path.basename(spec), fields);
      await thereAndBack(bed, node, spec);
      expect(await node.ssh(holds)).toBe('');
    } finally {
      await registry.stop();
    }
  });
}

async function thereAndBack(bed: VmBed, node: VmNode, spec: string): Promise<void> {
  const there = await json(bed, 'upgrade', '-f', spec, '-y');
  expect(expectEnd(there, 0, 'upgraded')).toMatchObject({ proof: 'files' });
  await expectSettled(bed, node, 'B', NEW);
  await expectHolds(bed, node);
  expectEnd(await json(bed, 'rollback', '--to-previous', '-y'), 0, 'rolled back');
  await expectSettled(bed, node, 'A', DISK_VERSION);
  await expectLogged(node, 'committed: slot B (KubeOS 1.1.0) is permanent', 'committed: slot A');
}

/** The slot that runs holds all that the tar holds, by what tar itself says once the node was booted anew. */
async function expectHolds(bed: VmBed, node: VmNode): Promise<void> {
  const { gzip } = await tarOf(NEW);
  // Of the root alone: other file systems are mounted over parts of it.
  await node.ssh(`set -e
mkdir /tmp/root
mount --bind / /tmp/root
curl -s -S -f '${await bed.serve(gzip)}' | gzip -dc | tar --compare --file=- --numeric-owner --directory=/tmp/root
umount /tmp/root
`);
}
