import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { PreflightError } from '../errors.ts';

const run = promisify(execFile);

/** The folders of the lab's own tools: where users have no sbin on their PATH, mkfs.ext4 and debugfs are there. */
const TOOL_PATH = [...(process.env['PATH'] ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin'];

/** What the lab runs or hands to its nodes, with the Debian package that has it. */
const NEEDED: ReadonlyMap<string, string> = new Map([
  ['mkfs.ext4', 'e2fsprogs'],
  ['debugfs', 'e2fsprogs'],
  ['e2fsck', 'e2fsprogs'],
  ['e2label', 'e2fsprogs'],
  ['dumpe2fs', 'e2fsprogs'],
  ['openssl', 'openssl'],
  ['curl', 'curl'],
  ['dd', 'coreutils'],
  ['sha256sum', 'coreutils'],
  ['flock', 'util-linux'],
  ['setsid', 'util-linux'],
  ['awk', 'mawk'],
]);

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

/** Throws a PreflightError where this machine cannot play a cluster: not Linux, or a tool is missing. */
export async function assertLabCanRun(platform: NodeJS.Platform = process.platform): Promise<void> {
  if (platform !== 'linux') {
    throw new PreflightError('the lab runs on Linux only', {
      reason: `this is ${platform}; the lab's nodes need Linux's /proc, ext4 tools and process groups`,
      next: 'run it in a Linux machine or container; all other commands of kubeos work here',
    });
  }
  const missing: string[] = [];
  for (const name of NEEDED.keys()) if ((await findTool(name)) === undefined) missing.push(name);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((name) => NEEDED.get(name) ?? name))];
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
      next: `install it; on Debian and Ubuntu:\n  apt-get install ${NEEDED.get(name) ?? name}`,
    });
  }
  const { stdout, stderr } = await run(tool, args, {
    encoding: 'buffer',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return { stdout, stderr: stderr.toString() };
}
