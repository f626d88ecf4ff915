import { readdirSync, readFileSync } from 'node:fs';

/** Every process of a lab node carries this variable with the node's folder as its value. */
export const NODE_MARKER = 'KUBEOS_LAB_NODE';

/** How long ended processes may take to leave /proc. */
const END_DEADLINE_MS = 10_000;

/**
 * The processes of one lab node, detached ones included, found by their environment. /proc is memory: handing each of
 * its files to another thread, to wait for it there, costs several times what reading it does.
 */
export function processesOf(nodeDir: string): number[] {
  const wanted = `${NODE_MARKER}=${nodeDir}`;
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && environmentOf(entry).includes(wanted))
    .map(Number);
}

function environmentOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  } catch {
    // It has ended, or is another user's.
    return [];
  }
}

/**
 * Ends every process of a lab node at once, as a power cut does, and resolves when none is left; children that are
 * born meanwhile are ended too. Throws an Error where one cannot be ended within 10 s.
 */
export async function endProcessesOf(nodeDir: string): Promise<void> {
  const deadline = Date.now() + END_DEADLINE_MS;
  for (;;) {
    const pids = processesOf(nodeDir);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
      }
    }
    if (Date.now() > deadline) throw new Error(`processes of ${nodeDir} do not end: ${pids.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
