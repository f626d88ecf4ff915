import { readFile, readdir, readlink } from 'node:fs/promises';
import { processesOf } from './processes.ts';

/**
 * Which of these node folders holds the process at the other end of a connection from this machine, told by the
 * kernel's own tables (proc(5)): all nodes share one network, so the address does not tell. Undefined where none does.
 */
export async function nodeOfClient(
  client: { address: string; port: number },
  nodeDirs: readonly string[],
): Promise<string | undefined> {
  const inode = await socketInode(client);
  if (inode === undefined) return undefined;
  for (const nodeDir of nodeDirs) {
    for (const pid of processesOf(nodeDir)) if (await holds(pid, `socket:[${inode}]`)) return nodeDir;
  }
  return undefined;
}

async function socketInode(client: { address: string; port: number }): Promise<string | undefined> {
  const local = `${hexAddress(client.address)}:${client.port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of (await readFile('/proc/net/tcp', 'latin1')).split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local) return fields[9];
  }
  return undefined;
}

/** An IPv4 address as /proc/net/tcp prints it: the bytes in the machine's order, which is little-endian on both. */
function hexAddress(address: string): string {
  const parts = address.replace(/^::ffff:/, '').split('.');
  return parts
    .reverse()
    .map((part) => Number(part).toString(16).toUpperCase().padStart(2, '0'))
    .join('');
}

async function holds(pid: number, target: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  for (const entry of await readdir(folder).catch(() => [])) {
    if ((await readlink(`${folder}/${entry}`).catch(() => '')) === target) return true;
  }
  return false;
}
