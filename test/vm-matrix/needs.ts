import { access } from 'node:fs/promises';
import { findTool } from '../../src/lab/tools.ts';

/** What the matrix needs beside the tier `vm` of `npm test`: commands, or files by their path, each with its Debian package. */
const NEEDS: Readonly<Record<string, string>> = {
  'mkfs.vfat': 'dosfstools',
  mcopy: 'mtools',
  '/usr/lib/grub/x86_64-efi/moddep.lst': 'grub-efi-amd64-bin',
  '/usr/share/OVMF/OVMF_CODE.fd': 'ovmf',
  containerd: 'containerd',
  dockerd: 'docker.io',
  runc: 'runc',
  'docker-registry': 'docker-registry',
};

export const PACKAGES: readonly string[] = Object.values(NEEDS);

/** The packages that this machine lacks, before three quarters of an hour have gone. */
export async function lackingPackages(): Promise<string[]> {
  const found = await Promise.all(
    Object.entries(NEEDS).map(async ([what, owner]) => ((await isThere(what)) ? [] : owner)),
  );
  return found.flat();
}

async function isThere(what: string): Promise<boolean> {
  if (!what.startsWith('/')) return (await findTool(what)) !== undefined;
  return access(what).then(
    () => true,
    () => false,
  );
}
