import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import * as z from 'zod';

const run = promisify(execFile);

/** Where no kubectl tells its version. */
const FALLBACK = 'v1.32.4';

/** The lab's API plays servers from here on. */
const OLDEST_MINOR = 20;
const TIMEOUT_MS = 10_000;

const schema = z.object({ clientVersion: z.object({ gitVersion: z.string() }) });

/**
 * The version that the lab's API claims: that of the kubectl which will ask it, as kubectl warns where the two are more
 * than one minor version apart.
 */
export async function serverVersion(kubectl = process.env['KUBEOS_KUBECTL'] ?? 'kubectl'): Promise<string> {
  try {
    const { stdout } = await run(kubectl, ['version', '--client', '--output=json'], { timeout: TIMEOUT_MS });
    const found = /^v1\.(\d+)\.\d+/.exec(schema.parse(JSON.parse(stdout)).clientVersion.gitVersion);
    return found !== null && Number(found[1]) >= OLDEST_MINOR ? found[0] : FALLBACK;
  } catch {
    return FALLBACK;
  }
}
