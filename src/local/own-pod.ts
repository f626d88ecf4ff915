import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { textSetting } from './settings.ts';

/** The pod that this process runs in. */
export interface OwnPod {
  namespace: string;
  name: string;
}

/** Kubernetes mounts the pod's namespace here with its service account, and names the container's host like the pod. */
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

/** The pod that kubeos runs in, so that its own node is not rebooted under it; undefined outside of a cluster. */
export async function ownPod(
  env: Readonly<Record<string, string | undefined>>,
  namespaceFile: string = NAMESPACE_FILE,
  name: string = hostname(),
): Promise<OwnPod | undefined> {
  if (textSetting(env, 'KUBERNETES_SERVICE_HOST') === undefined) return undefined;
  try {
    return { namespace: (await readFile(namespaceFile, 'utf8')).trim(), name };
  } catch {
    return undefined;
  }
}
