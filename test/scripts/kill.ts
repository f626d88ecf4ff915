import { createHash } from 'node:crypto';
import { cp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DOUBLES } from '../../src/lab/doubles/index.ts';
import { Machine } from '../../src/lab/machine.ts';
import { handOver } from '../../src/lab/node-tree.ts';
import { type Shell, Node, makeBin } from './node-bed.ts';

/** The tools by which scripts change something; with dd, only where it writes a file. */
const MUTATING = [
  'dd',
  'cp',
  'mv',
  'rm',
  'mkdir',
  'rmdir',
  'sync',
  'e2label',
  'grub2-editenv',
  'mount',
  'umount',
  'curl',
];

/**
 * A PATH on which the Nth call of a tool that changes something ends the whole script with SIGKILL instead. With
 * `torn`, a dd that writes to a device first writes a part of what it should.
 */
export async function makeKillingBin(dir: string, shell: Shell): Promise<string> {
  const plain = await makeBin(`${dir}-plain`, shell);
  const wrappers: Record<string, string> = {};
  for (const tool of MUTATING) wrappers[tool] = wrapper(tool, path.join(plain, tool));
  // Doubles are called through the wrappers, but what they call themselves is no step of the script.
  for (const [name, text] of Object.entries(DOUBLES)) {
    if (wrappers[name] === undefined) wrappers[name] = text.replace('set -eu', `set -eu\nPATH=${plain}`);
  }
  return makeBin(dir, shell, wrappers);
}

function wrapper(tool: string, real: string): string {
  const reads =
    tool === 'dd'
      ? 'case " $* " in *" of=/dev/null "*) exec "$real" "$@" ;; *" of="*) ;; *) exec "$real" "$@" ;; esac'
      : '';
  const tear = tool === 'dd' ? 'case " $* " in *" of="*/dev/vda*) "$real" "$@" bs=1M count=1 ;; esac' : ':';
  return `#!/bin/sh
real=${real}
${reads}
state=$KUBEOS_LAB_NODE/state
at=0 count=0 torn=no
[ ! -e "$state/kill-at" ] || read -r at torn <"$state/kill-at"
[ ! -e "$state/kill-count" ] || read -r count <"$state/kill-count"
count=$((count + 1))
echo "$count" >"$state/kill-count"
if [ "$count" -eq "$at" ]; then
	if [ "$torn" = torn ]; then
		${tear}
	fi
	kill -KILL 0
fi
PATH=${path.dirname(real)}
exec "$real" "$@"
`;
}

/** Lets the Nth change from now on be the end of the script that makes it; 0 lets all of them pass. */
export async function killAt(node: Node, at: number, torn = false): Promise<void> {
  const { stateDir, identity } = node.machine;
  await rm(path.join(stateDir, 'kill-count'), { force: true });
  await writeFile(path.join(stateDir, 'kill-at'), `${at} ${torn ? 'torn' : 'whole'}\n`);
  await handOver(stateDir, identity);
}

/** Lets the node's scripts run with the tools as they are. */
export function stopKilling(node: Node): void {
  node.bin = `${node.bin}-plain`;
}

/** What a power cut would leave of the node, as a digest: disks and persistent files, without the times in them. */
export async function remains(node: Node): Promise<string> {
  const hash = createHash('sha256');
  for (const folder of ['persist', 'boot', 'dev']) {
    const entries = await readdir(path.join(node.machine.root, folder), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    for (const name of files.sort()) {
      const bytes = await readFile(name);
      const text = folder === 'persist' && bytes.length < 4096 ? withoutTimes(bytes.toString('latin1')) : bytes;
      hash.update(`${path.relative(node.machine.root, name)} ${bytes.length}\n`).update(text);
    }
  }
  return hash.digest('hex');
}

function withoutTimes(text: string): string {
  return text.replace(/^(updated_at|verified_at|mtime|wtime)=.*$/gm, '$1');
}

/** How many changes were made since. */
export async function changesMade(node: Node): Promise<number> {
  return Number(await readFile(path.join(node.machine.stateDir, 'kill-count'), 'utf8').catch(() => '0'));
}

/** A copy of a node as it stands, in a folder of its own. */
export async function copyNode(node: Node, dir: string): Promise<Node> {
  await rm(dir, { recursive: true, force: true });
  await cp(node.machine.dir, dir, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  const machine = new Machine({ dir, firmware: node.machine.firmware });
  await handOver(dir, machine.identity);
  return Object.assign(new Node(machine, node.bin), { by: node.by });
}
