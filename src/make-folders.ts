import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Makes a folder, and what is missing above it. Node.js 20's own recursive mkdir never returns where a folder that is
 * there answers ENOENT, as /proc does, and nothing but SIGKILL ends it then.
 * @param mode of every folder that is made
 * @throws the system's error
 */
export function makeFolders(folder: string, mode = 0o777): void {
  const above = dirname(folder);
  if (above !== folder && !existsSync(above)) makeFolders(above, mode);
  try {
    mkdirSync(folder, mode);
  } catch (error) {
    if (!existsSync(folder) || !statSync(folder).isDirectory()) throw error;
  }
}
