import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { type Member, tarOf } from './tar-writer.ts';

/** Where an image lies: host:port, and the login where the registry wants one. */
export interface Registry {
  host: string;
  /** user:password */
  login?: string;
}

/** A registry that this process started. */
export interface RunningRegistry extends Registry {
  stop(): Promise<void>;
}

/**
 * Starts Debian's docker-registry on loopback, with all its files in a folder. `storage` names the registry whose images
 * it has too; `auth` is a line of its configuration, `tls` goes into its `http`.
 */
export async function startRegistry(
  folder: string,
  name: string,
  { auth = '', tls = '', storage = name } = {},
): Promise<RunningRegistry> {
  const root = path.join(folder, storage);
  const [config, log] = [path.join(folder, `${name}.yml`), path.join(folder, `${name}.log`)];
  await mkdir(root, { recursive: true });
  const http = `{addr: '127.0.0.1:0'${tls}}`;
  const text = `version: 0.1\nstorage: {filesystem: {rootdirectory: ${root}}}\nhttp: ${http}\n${auth}`;
  await writeFile(config, text);
  const child = spawn('sh', ['-c', 'exec docker-registry serve "$0" >"$1" 2>&1', config, log], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    await ended;
  };
  for (;;) {
    const said = await readFile(log, 'utf8').catch(() => '');
    const host = /listening on (127\.0\.0\.1:\d+)/.exec(said)?.[1];
    if (host !== undefined) return { host, stop };
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`docker-registry ended: ${said.slice(-2000)}`);
    await sleep(50);
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/**
 * Pushes an image of one layer by the registry's own protocol (OCI distribution, "Pushing Blobs" and "Pushing
 * Manifests"), so that no engine takes part.
 * @returns the digest of its manifest, 64 hex digits, and that of its configuration, which is docker's image ID
 */
export async function pushImage(
  registry: Registry,
  name: string,
  tag: string,
  members: readonly Member[],
): Promise<{ digest: string; id: string }> {
  const layer = tarOf(members, { uid: 0, gid: 0 });
  const packed = gzipSync(layer, { level: 1 });
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [`sha256:${sha256(layer)}`] },
      history: [{ created: '2026-01-01T00:00:00Z' }],
    }),
  );
  const describe = async (mediaType: string, bytes: Buffer) => {
    await pushBlob(registry, name, bytes);
    return { mediaType, size: bytes.length, digest: `sha256:${sha256(bytes)}` };
  };
  const type = 'application/vnd.docker.distribution.manifest.v2+json';
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      config: await describe('application/vnd.docker.container.image.v1+json', config),
      layers: [await describe('application/vnd.docker.image.rootfs.diff.tar.gzip', packed)],
    }),
  );
  await ask(registry, `http://${registry.host}/v2/${name}/manifests/${tag}`, 'PUT', manifest, type);
  return { digest: sha256(manifest), id: sha256(config) };
}

async function pushBlob(registry: Registry, name: string, bytes: Buffer): Promise<void> {
  const begun = await ask(registry, `http://${registry.host}/v2/${name}/blobs/uploads/`, 'POST');
  const place = new URL(begun.headers.get('location') ?? '', `http://${registry.host}`);
  place.searchParams.set('digest', `sha256:${sha256(bytes)}`);
  await ask(registry, place.href, 'PUT', bytes, 'application/octet-stream');
}

async function ask(registry: Registry, url: string, method: string, body?: Buffer, type?: string): Promise<Response> {
  const { login } = registry;
  const headers = {
    ...(type === undefined ? {} : { 'content-type': type }),
    ...(login === undefined ? {} : { authorization: `Basic ${Buffer.from(login).toString('base64')}` }),
  };
  const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body: new Uint8Array(body) }) });
  if (!answer.ok) throw new Error(`${method} ${url}: HTTP ${String(answer.status)}: ${await answer.text()}`);
  return answer;
}
