import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { SystemImage } from './system-image.ts';
import { packageRoot } from './package-root.ts';

/** Where everything of a lab stands, from its folder. */
export function labPaths(dir: string) {
  const at = (name: string): string => path.join(dir, name);
  return {
    bin: at('bin'),
    nodes: at('nodes'),
    images: at('images'),
    pki: at('pki'),
    env: at('env'),
    kubeconfig: at('kubeconfig'),
    hosts: at('hosts.yaml'),
    sshConfig: at('ssh_config'),
    knownHosts: at('known_hosts'),
    identity: at('id_ed25519'),
    spec: at('upgrade-disk.yaml'),
    tarSpec: at('upgrade-tar.yaml'),
    record: at('lab.json'),
    log: at('lab.log'),
    control: at('control.sock'),
  };
}

export type LabPaths = ReturnType<typeof labPaths>;

/** How a node is reached by SSH. */
export interface SshEntry {
  name: string;
  address: string;
  port: number;
  /** The node's public host key: type and base64. */
  hostKey: string;
}

/** Writes what `ssh` and kubeos need to reach the nodes. */
export async function writeSshFiles(paths: LabPaths, nodes: readonly SshEntry[]): Promise<void> {
  const hosts = nodes.map(
    ({ name, address, port }) =>
      `- name: ${name}\n  address: ${address}\n  port: ${port}\n  user: root\n  identity: ${JSON.stringify(paths.identity)}\n`,
  );
  await writeFile(paths.hosts, hosts.join(''));
  const known = nodes.map(({ address, port, hostKey }) => `[${address}]:${port} ${hostKey}\n`);
  await writeFile(paths.knownHosts, known.join(''));
  const config = nodes.map(
    ({ name, address, port }) =>
      `Host ${name}\n  HostName ${address}\n  Port ${port}\n  User root\n` +
      `  IdentityFile "${paths.identity}"\n  IdentitiesOnly yes\n` +
      `  UserKnownHostsFile "${paths.knownHosts}"\n  StrictHostKeyChecking yes\n`,
  );
  await writeFile(paths.sshConfig, config.join('\n'));
}

/** The variables by which kubeos and kubectl find this lab and nothing else. */
export function labEnvironment(dir: string): Record<string, string> {
  const paths = labPaths(dir);
  return {
    KUBECONFIG: paths.kubeconfig,
    KUBEOS_HOSTS: paths.hosts,
    KUBEOS_SSH_CONFIG: paths.sshConfig,
    KUBEOS_IDENTITY: paths.identity,
    KUBEOS_KNOWN_HOSTS: paths.knownHosts,
    KUBEOS_LAB: dir,
  };
}

/** Writes LAB/env, to be read by a shell: `. LAB/env`. */
export async function writeEnv(dir: string): Promise<void> {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = Object.entries(labEnvironment(dir)).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  await writeFile(labPaths(dir).env, lines.join(''));
}

/** Writes an example with this lab's version, address and checksum. `server` is an address without a slash at its end. */
export async function writeSpec(file: string, name: string, image: SystemImage, server: string): Promise<void> {
  const imageurl = `${server}/${path.basename(image.path)}`;
  await fillExample(file, name, { osversion: image.version, imageurl, checksum: image.sha256 });
}

/** Writes an example with these values in place of its own; throws an Error where it has no field of that name. */
export async function fillExample(file: string, name: string, fields: Readonly<Record<string, string>>): Promise<void> {
  let text = await readFile(path.join(packageRoot(), 'examples', name), 'utf8');
  for (const [field, value] of Object.entries(fields)) {
    const line = new RegExp(`^(  ${field}: ).*$`, 'm');
    if (!line.test(text)) throw new Error(`examples/${name} has no field ${field}`);
    text = text.replace(line, (_all, start: string) => start + value);
  }
  await writeFile(file, text);
}
