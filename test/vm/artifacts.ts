import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { makePki, type Pki } from '../../src/lab/pki.ts';
import { makeKeyPair } from '../../src/lab/ssh-server.ts';
import { type SystemImage, sha256OfFile } from '../../src/lab/system-image.ts';
import { compressImage } from '../../src/lab/system-tar.ts';
import { findTool } from '../../src/lab/tools.ts';

const BUILD = fileURLToPath(new URL('build/', import.meta.url));
export const CACHE = fileURLToPath(new URL('../../node_modules/.cache/kubeos-vm/', import.meta.url));
const PROGRAMS = ['/bin/bash', '/usr/bin/curl', '/usr/bin/openssl', '/usr/sbin/sshd', '/usr/bin/grub-editenv'];

/** What a system of a test does once it is booted; `build/image.sh` says it in full. */
export type Variant =
  'good' | 'panic' | 'no-network' | 'lost-network' | 'unhealthy' | 'garbage-kernel' | 'no-kernel' | 'halt';

/** What runs a node's services. */
export type Init = 'busybox' | 'systemd';

/** What pulls images for a node, and what of this machine's programs it is made of: no container is run. */
const ENGINES = { containerd: ['containerd', 'ctr'], docker: ['dockerd', 'docker', 'containerd', 'runc'] } as const;
export type Engine = keyof typeof ENGINES;

/** What an image holds of each, and room. */
const IMAGE_MIB = { busybox: 60, systemd: 76 } as const;

/** They hold a kernel, an initramfs and an init, and nothing that these never start. */
const SHORT_LIVED: readonly Variant[] = ['panic', 'halt', 'garbage-kernel'];

const SYSTEMD_PACKAGES = [
  ...['systemd', 'libsystemd0', 'libsystemd-shared', 'dbus', 'dbus-daemon', 'dbus-system-bus-common', 'libdbus-1-3'],
  ...[
    'libpam-systemd',
    'libpam-modules',
    'libpam0g',
    'libexpat1',
    'libapparmor1',
    'libaudit1',
    'libcap-ng0',
    'libcap2',
  ],
  ...['libcrypt1', 'libcryptsetup12', 'libdevmapper1.02.1', 'libfdisk1', 'libgcrypt20', 'libgpg-error0', 'libip4tc2'],
  ...['libjson-c5', 'libkmod2', 'liblz4-1', 'liblzma5', 'libmount1', 'libp11-kit0', 'libffi8', 'libpcre2-8-0'],
  ...['libseccomp2', 'libselinux1', 'libzstd1', 'libargon2-1', 'libudev1', 'libacl1'],
];

export interface DiskOptions {
  name: string;
  init?: Init;
  /** In /persist, so that images stay small; none unless told. */
  engine?: Engine;
  firmware: 'bios' | 'uefi';
  /** How grub.cfg finds a slot: by label (KubeOS 1.0.7 and newer), or by number. */
  style: 'label' | 'number';
}

/** The keys of all test machines, made once: they are of no use to anybody. */
export interface Credentials {
  readonly pki: Pki;
  readonly client: { readonly privateKey: string; readonly publicLine: string };
  /** The same for all nodes but one line: each has its own. */
  readonly hostKey: (name: string) => Promise<{ privateKey: string; publicLine: string }>;
}

export const DISK_VERSION = 'KubeOS 1.0.0';

/** A raw image of a node's root; built where the cache has none of the same content. */
export async function imageOf(
  version: string,
  variant: Variant = 'good',
  init: Init = 'busybox',
): Promise<SystemImage> {
  const tree = init === 'systemd' ? await systemdFolder() : await treeFolder();
  const mib = String(SHORT_LIVED.includes(variant) ? 24 : IMAGE_MIB[init]);
  const folder = await cached(`image-${variant}`, [await textOf('image.sh'), tree, version, mib], (out) =>
    sh('image.sh', tree, version, variant, path.join(out, 'root.img'), mib),
  );
  return describe(path.join(folder, 'root.img'), version);
}

/** The same root as a tar, plain and compressed with gzip. */
export async function tarOf(version: string): Promise<{ plain: SystemImage; gzip: SystemImage }> {
  const tree = await treeFolder();
  const folder = await cached('tar', [await textOf('image.sh'), tree, version], async (out) => {
    await sh('image.sh', tree, version, 'good', path.join(out, 'root.tar'));
    await compressImage(await describe(path.join(out, 'root.tar'), version), 'gzip', path.join(out, 'root.tar.gz'));
  });
  return {
    plain: await describe(path.join(folder, 'root.tar'), version),
    gzip: await describe(path.join(folder, 'root.tar.gz'), version),
  };
}

async function describe(file: string, version: string): Promise<SystemImage> {
  const sumFile = `${file}.sha256`;
  const known = await readFile(sumFile, 'utf8').catch(() => undefined);
  const sha256 = known ?? (await sha256OfFile(file));
  if (known === undefined) await writeFile(sumFile, sha256);
  return { path: file, version, sha256, bytes: (await stat(file)).size };
}

/** A node's whole disk, with DISK_VERSION in slot A and an empty slot B. */
export async function diskOf({ name, firmware, style, init, engine }: DiskOptions): Promise<string> {
  const system = await imageOf(DISK_VERSION, 'good', init);
  const { pki, client, hostKey } = await credentials();
  const key = await hostKey(name);
  const opt = engine === undefined ? [] : [await engineFolder(engine)];
  const texts = [await textOf('disk.sh'), await textOf('grub.cfg')];
  const inputs = [...texts, system.path, style, name, pki.ca, key.publicLine, ...opt];
  const folder = await cached(`disk-${firmware}`, inputs, async (out) => {
    const etc = path.join(out, 'etc');
    await mkdir(path.join(etc, 'ssh'), { recursive: true });
    await mkdir(path.join(etc, 'KubeOS/certs'), { recursive: true });
    await writeFile(path.join(etc, 'ssh/ssh_host_ed25519_key'), key.privateKey, { mode: 0o600 });
    await writeFile(path.join(etc, 'ssh/authorized_keys'), `${client.publicLine}\n`);
    await writeFile(path.join(etc, 'KubeOS/certs/ca.crt'), pki.ca);
    await sh('disk.sh', firmware, style, system.path, name, etc, path.join(out, 'disk.raw'), ...opt);
  });
  return path.join(folder, 'disk.raw');
}

export async function credentials(): Promise<Credentials> {
  const folder = await cached('keys', ['1'], async (out) => {
    const pki = await makePki(path.join(out, 'pki'), ['10.0.2.2']);
    await writeFile(path.join(out, 'pki.json'), JSON.stringify(pki));
    await writeFile(path.join(out, 'client.json'), JSON.stringify(makeKeyPair('kubeos-vm')));
  });
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(path.join(folder, name), 'utf8')) as T;
  return {
    pki: await read<Pki>('pki.json'),
    client: await read('client.json'),
    hostKey: async (name) => {
      const of = await cached('host-key', [name], (out) =>
        writeFile(path.join(out, 'key.json'), JSON.stringify(makeKeyPair(name))),
      );
      return JSON.parse(await readFile(path.join(of, 'key.json'), 'utf8')) as {
        privateKey: string;
        publicLine: string;
      };
    },
  };
}

/** A root's files, from Debian's packages and this machine's programs. */
async function treeFolder(): Promise<string> {
  const packages = await packagesFolder(['kernel', 'busybox-static']);
  const programs = await Promise.all(PROGRAMS.map(async (file) => `${file} ${(await stat(file)).mtimeMs}`));
  const inputs = [packages, await textOf('tree.sh'), ...programs, ...(await textsIn('node'))];
  return path.join(await cached('tree', inputs, (out) => sh('tree.sh', packages, path.join(out, 'root'))), 'root');
}

async function systemdFolder(): Promise<string> {
  const packages = await packagesFolder(SYSTEMD_PACKAGES);
  const tree = await treeFolder();
  const inputs = [packages, tree, await textOf('systemd.sh'), ...(await textsIn('systemd'))];
  const build = (out: string): Promise<void> => sh('systemd.sh', tree, packages, path.join(out, 'root'));
  return path.join(await cached('systemd', inputs, build), 'root');
}

/** What /opt holds where a node has this engine. */
async function engineFolder(engine: Engine): Promise<string> {
  const files = ENGINES[engine].map(async (name) => (await findTool(name)) ?? must(name));
  const programs = await Promise.all(files);
  const stamps = await Promise.all(programs.map(async (file) => `${file} ${(await stat(file)).mtimeMs}`));
  return cached(engine, stamps, async (out) => {
    await mkdir(path.join(out, 'bin'));
    for (const file of programs) await copyFile(file, path.join(out, 'bin', path.basename(file)));
  });
}

async function packagesFolder(names: readonly string[]): Promise<string> {
  return cached('packages', [await textOf('packages.sh'), ...names], (out) => sh('packages.sh', out, ...names));
}

async function textsIn(folder: string): Promise<string[]> {
  const names = await readdir(path.join(BUILD, folder));
  return Promise.all(names.map((name) => textOf(path.join(folder, name))));
}

/** The folder that `build` filled from these inputs, now or at an earlier time; never one that it left half-way. */
async function cached(name: string, inputs: readonly string[], build: (out: string) => Promise<void>): Promise<string> {
  const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex').slice(0, 16);
  const folder = path.join(CACHE, `${name}-${key}`);
  if (await exists(folder)) return folder;
  await mkdir(CACHE, { recursive: true });
  const own = await mkdtemp(path.join(CACHE, `.making-${name}-`));
  try {
    await build(own);
    await rename(own, folder);
  } catch (error) {
    await rm(own, { recursive: true, force: true });
    // Another test process was quicker.
    if (!(await exists(folder))) throw error;
  }
  return folder;
}

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

function must(tool: string): never {
  throw new Error(`this machine has no ${tool} (Debian: containerd, docker.io, runc)`);
}

const textOf = (name: string): Promise<string> => readFile(path.join(BUILD, name), 'utf8');

async function sh(script: string, ...args: string[]): Promise<void> {
  await promisify(execFile)('sh', [path.join(BUILD, script), ...args], { maxBuffer: 64 * 1024 * 1024 });
}
