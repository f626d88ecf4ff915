import { stat } from 'node:fs/promises';
import path from 'node:path';
import { PreflightError } from '../errors.ts';

/** Whom the lab's nodes run as on the machine that hosts the lab. */
export interface Identity {
  uid: number;
  gid: number;
}

/** No account has this number by default; Debian's policy leaves 60000 to 64999 to be handed out on request. */
const UNPRIVILEGED_ID = 64613;

/**
 * As root the lab drops to a uid that owns nothing before it runs a node's commands; as anyone else there is nothing
 * to drop, and the answer is undefined.
 */
export function nodeIdentity(): Identity | undefined {
  return process.getuid?.() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : undefined;
}

/** Throws a PreflightError where a folder above `dir` keeps the nodes' uid out of it. */
export async function assertReachable(dir: string, identity: Identity | undefined): Promise<void> {
  if (identity === undefined) return;
  for (let folder = path.resolve(dir); ; folder = path.dirname(folder)) {
    const { mode } = await stat(folder);
    if ((mode & 0o001) === 0) {
      throw new PreflightError(`the lab cannot live in ${path.resolve(dir)}`, {
        reason: `as root the lab runs its nodes as uid ${identity.uid}, and ${folder} lets only its owner in`,
        next: `choose another folder (--dir /var/tmp/kubeos-lab), or open that one: chmod o+x ${folder}`,
      });
    }
    if (folder === path.dirname(folder)) return;
  }
}
