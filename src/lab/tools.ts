import { execFile } from 'node:child_process';
import { access, chmod, constants, mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PreflightError } from '../errors.ts';
import { DOUBLES, HINDERED_TOOLS, OPTIONAL_TOOLS, REAL_TOOLS } from './doubles/index.ts';

const run = promisify(execFile);

/** The folders of the lab's own tools: where users have no sbin on their PATH, mkfs.ext4 and debugfs are there. */
const TOOL_PATH = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** What the lab itself runs, beside the tools of its nodes. */
const OWN_TOOLS = ['mkfs.ext4', 'debugfs', 'openssl'];

/** Debian's packages of the tools that are not in coreutils. */
const PACKAGES: Readonly<Record<string, string>> = {
  awk: 'mawk',
  cmp: 'diffutils',
  curl: 'curl',
  debugfs: 'e2fsprogs',
  e2fsck: 'e2fsprogs',
  find: 'findutils',
  flock: 'util-linux',
  grep: 'grep',
  gzip: 'gzip',
  ionice: 'util-linux',
  'mkfs.ext4': 'e2fsprogs',
  openssl: 'openssl',
  sed: 'sed',
  setsid: 'util-linux',
  sh: 'dash',
  tar: 'tar',
  xargs: 'findutils',
  zstd: 'zstd',
};

const packageOf = (tool: string): string => PACKAGES[tool] ?? 'coreutils';

/** Where a tool is on this machine; undefined where it is not. */
export async function findTool(name: string): Promise<string | undefined> {
  for (const folder of TOOL_PATH) {
    if (!path.isAbsolute(folder)) continue;
    const candidate = path.join(folder, name);
    try {
      await access(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

/** Throws a PreflightError where this is not Linux: then there is no lab, and there can be none. */
export function assertLinux(platform: NodeJS.Platform = process.platform): void {
  if (platform === 'linux') return;
  throw new PreflightError('the lab runs on Linux only', {
    reason: `this is ${platform}; the lab's nodes need Linux's /proc, ext4 tools and process groups`,
    next: 'run it in a Linux machine or container; all other commands of kubeos work here',
  });
}

/** Throws a PreflightError where this machine cannot play a cluster: not Linux, or a tool is missing. */
export async function assertLabCanRun(platform: NodeJS.Platform = process.platform): Promise<void> {
  assertLinux(platform);
  const missing: string[] = [];
  for (const name of new Set([...OWN_TOOLS, ...REAL_TOOLS])) {
    if ((await findTool(name)) === undefined) missing.push(name);
  }
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map(packageOf))];
  throw new PreflightError(`the lab needs ${missing.join(', ')}, which this machine lacks`, {
    next: `install it; on Debian and Ubuntu:\n  apt-get install ${packages.join(' ')}`,
  });
}

/**
 * Runs one of the lab's own tools to its end. Throws a PreflightError where it is missing and an Error with its
 * standard error where it fails.
 */
export async function runTool(name: string, args: readonly string[]): Promise<{ stdout: Buffer; stderr: string }> {
  const tool = await findTool(name);
  if (tool === undefined) {
    throw new PreflightError(`the lab needs ${name}, which this machine lacks`, {
      next: `install it; on Debian and Ubuntu:\n  apt-get install ${packageOf(name)}`,
    });
  }
  const { stdout, stderr } = await run(tool, args, {
    encoding: 'buffer',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return { stdout, stderr: stderr.toString() };
}

/** Beside a folder of tools the one that a node with the fault missing-tool has. */
export const poorer = (binDir: string): string => `${binDir}-without-curl`;

/** Makes the folders that are a lab node's whole PATH, the usual one and the poorer one. */
export async function installNodeTools(binDir: string): Promise<void> {
  await fillFolder(binDir);
  await mkdir(poorer(binDir));
  for (const name of await readdir(binDir)) {
    if (name !== 'curl') await symlink(path.join(binDir, name), path.join(poorer(binDir), name));
  }
}

/** The doubles, and links to the named real tools. */
async function fillFolder(binDir: string): Promise<void> {
  const real = path.join(binDir, 'real');
  await mkdir(real, { recursive: true });
  for (const [name, text] of Object.entries({ ...DOUBLES, ...HINDERED_TOOLS })) {
    await writeFile(path.join(binDir, name), text);
    await chmod(path.join(binDir, name), 0o755);
  }
  for (const name of [...REAL_TOOLS, ...OPTIONAL_TOOLS]) {
    const tool = await findTool(name);
    if (tool !== undefined) await symlink(tool, path.join(name in HINDERED_TOOLS ? real : binDir, name));
  }
}
