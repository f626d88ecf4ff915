import { readFile, readdir, readlink } from 'node:fs/promises';
import { processesOf } from './processes.ts';

/** A connection as the server sees it. */
export interface ClientEnd {
  /** The client's IPv4 address and port. */
  address: string;
  port: number;
  serverPort: number;
}

/**
 * Which of these node folders holds the process at the other end of a connection from this machine, told by the
 * kernel's own tables (proc(5)): all nodes share one network, so the address does not tell. Undefined where none does.
 */
export async function nodeOfClient(client: ClientEnd, nodeDirs: readonly string[]): Promise<string | undefined> {
  const inode = inodeOf(client, await readFile('/proc/net/tcp', 'latin1'));
  if (inode === undefined) return undefined;
  for (const nodeDir of nodeDirs) {
    for (const pid of processesOf(nodeDir)) if (await holds(pid, `socket:[${inode}]`)) return nodeDir;
  }
  return undefined;
}

/**
 * The inode of the client's socket. Its port alone does not tell: connections to other servers may share it, among them
 * some that are over and wait their time out.
 * @param table as /proc/net/tcp has it
 */
export function inodeOf({ address, port, serverPort }: ClientEnd, table: string): string | undefined {
  const local = `${hexAddress(address)}:${hexPort(port)}`;
  for (const line of table.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local && fields[2]?.endsWith(`:${hexPort(serverPort)}`) === true) return fields[9];
  }
  return undefined;
}

const hexPort = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0');

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
