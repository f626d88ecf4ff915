import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Machine } from '../../src/lab/machine.ts';
import { makeKeyPair, NodeSsh } from '../../src/lab/ssh-server.ts';
import type { SystemImage } from '../../src/lab/system-image.ts';
import { createRemote, type HostEntry, type RemoteSettings } from '../../src/remote/index.ts';
import { quote } from '../../src/remote/quote.ts';
import type { ClusterNode } from '../../src/rollout/facts.ts';
import type { Clock, DiskArtifact } from '../../src/rollout/ports.ts';
import { file, serve, type Answering } from '../scripts/image-server.ts';
import { makeBin, makeImage, makeNode, makeYard } from '../scripts/node-bed.ts';
import { clusterNode } from './remote-kit.ts';
import { LOGIN_USER, makeKey, Sshd, tcpServer, until } from './remote-sshd.ts';
import type { ServerBed, ServerNode } from './remote-core-suite.ts';
import type { BedNode } from './remote-suite.ts';

/** A node's SSH side, as much as a bed needs of it. */
export interface NodeServer {
  address: string;
  port: number;
  /** Its line for known_hosts. */
  knownHost: string;
  open(): Promise<void>;
  close(): Promise<void>;
  cut(): void;
}

export type StartServer = (name: string, machine: Machine, bin: string, publicKey: string) => Promise<NodeServer>;

/** Nodes behind the lab's own SSH server; `user` is root, or one that needs sudo. */
export const labBed = (user: 'root' | 'ops') => () => sshBed(user, startLabServer);

/** The same for a user whose sudo wants a password each time. */
export const labBedWithSudoPassword = () => sshBed('ops', startLabServer, { sudoPassword: 'open sesame' });

/** Nodes behind OpenSSH's server, one for each; what it runs is a command of the node and of its uid. */
export const opensshBed = (more: BedOptions = {}) => sshBed(LOGIN_USER, startSshd, more);

interface BedOptions {
  sudoPassword?: string;
  settings?: Partial<RemoteSettings>;
  notice?: (message: string) => void;
}

/** Nodes behind servers that `startServer` starts, signed in to as `user`. */
export async function sshBed(
  user: string,
  startServer: StartServer,
  { sudoPassword, settings: more, notice }: BedOptions = {},
): Promise<ServerBed> {
  const yard = await makeYard();
  const [bin, images] = await Promise.all([
    makeBin(join(yard.dir, 'bin'), 'dash'),
    Promise.all([makeImage(yard.dir, 'KubeOS 1.0.0'), makeImage(yard.dir, 'KubeOS 1.1.0')]),
  ]);
  const publicKey = makeKey(join(yard.dir, 'key'));
  const hosts: HostEntry[] = [];
  const knownHosts = join(yard.dir, 'known_hosts');
  await writeFile(knownHosts, '');
  const store = await serveImages(images[1]);
  const closed = await tcpServer(() => undefined);
  await closed.close();
  hosts.push({ name: 'nobody', address: '127.0.0.1', port: closed.port });
  const settings: RemoteSettings = {
    sshUser: user,
    identities: [join(yard.dir, 'key')],
    sshConfig: 'none',
    knownHosts: [knownHosts],
    acceptNewHostKeys: false,
    hosts,
    ...(sudoPassword !== undefined && { sudo: { password: sudoPassword, ask: false } }),
    environment: { HOME: yard.dir, PATH: process.env['PATH'] },
    images: {
      look: () => Promise.reject(new Error('nobody asked this machine to look')),
      fetch: () => Promise.resolve({ file: images[1].path, bytes: images[1].bytes, sha256: images[1].sha256 }),
    },
    ...more,
  };
  const hooks = { clock, ...(notice !== undefined && { notice }) };
  const [remote, another] = [createRemote(settings, hooks), createRemote(settings, hooks)];
  const servers: NodeServer[] = [];
  const machines: Machine[] = [];
  return {
    remote,
    another,
    unreachable: clusterNode('nobody'),
    makeNode: async () => {
      const name = `node-${String(servers.length + 1)}`;
      const { machine } = await makeNode(yard.dir, bin, images[0]);
      if (sudoPassword !== undefined) {
        await writeFile(join(machine.stateDir, 'sudo-password'), `${sudoPassword}\n`, { mode: 0o644 });
      }
      const server = await startServer(join(yard.dir, `ssh-${name}`), machine, bin, publicKey);
      servers.push(server);
      machines.push(machine);
      hosts.push({ name, address: server.address, port: server.port });
      await writeFile(knownHosts, server.knownHost, { flag: 'a' });
      return bedNode(clusterNode(name), machine, server, images, store.artifactsFor(name));
    },
    close: async () => {
      await Promise.all([remote.disconnect(), another.disconnect()]);
      await Promise.all(servers.map((server) => server.close()));
      await Promise.all(machines.map((machine) => machine.killAll()));
      await store.close();
      await yard.remove();
    },
  };
}

function bedNode(
  node: ClusterNode,
  machine: Machine,
  server: NodeServer,
  [old, image]: readonly [SystemImage, SystemImage],
  artifacts: Pick<BedNode, 'slow'> & { artifact: DiskArtifact },
): ServerNode {
  return {
    node,
    root: machine.root,
    version: old.version,
    image: { artifact: artifacts.artifact, version: image.version, bytes: image.bytes },
    slow: artifacts.slow,
    cut: () => server.cut(),
    restart: async () => {
      await server.close();
      await server.open();
    },
    obeyReboot: async ({ trialFails = false } = {}) => {
      await until(() => existsSync(join(machine.stateDir, 'reboot')));
      await server.close();
      const booted = await machine.boot({ trialPanics: trialFails });
      if (booted.kind !== 'up') throw new Error(booted.message);
      await server.open();
    },
  };
}

/** Serves one image; under /slow/NAME only its beginning, until that name is released. */
async function serveImages(image: SystemImage) {
  const waiting = new Map<string, (() => void)[]>();
  const released = new Set<string>();
  const whole = file(image.path);
  const answer: Answering = (request, response) => {
    const name = /^\/slow\/(.*)$/.exec(request.url ?? '')?.[1];
    if (name === undefined || released.has(name) || request.method === 'HEAD') whole(request, response);
    else {
      beginOnly(response, image.bytes);
      waiting.set(name, [...(waiting.get(name) ?? []), () => response.destroy()]);
    }
  };
  const server = await serve(answer);
  const at = (path: string): DiskArtifact => ({ url: `${server.url}${path}`, sha256: image.sha256, flagSafe: true });
  return {
    close: () => server.close(),
    artifactsFor: (name: string) => ({
      artifact: at('/update.img'),
      slow: {
        artifact: at(`/slow/${name}`),
        // What was begun breaks off, as networks do; the next request gets it whole.
        release: () => {
          released.add(name);
          for (const end of waiting.get(name) ?? []) end();
        },
      },
    }),
  };
}

function beginOnly(response: ServerResponse, bytes: number): void {
  response.writeHead(200, { 'Content-Length': bytes, 'Accept-Ranges': 'bytes' });
  response.flushHeaders();
}

const startLabServer: StartServer = async (_dir, machine, bin, publicKey) => {
  const host = makeKeyPair('node');
  const server = new NodeSsh({
    address: '127.0.0.1',
    hostKey: host.privateKey,
    authorizedKeys: [publicKey],
    shell: {
      env: (user) => machine.env(bin, user),
      cwd: machine.root,
      ...(machine.identity === undefined ? {} : { identity: machine.identity }),
    },
  });
  await server.open();
  const [type = '', key = ''] = host.publicLine.split(' ');
  return {
    address: server.address,
    port: server.port,
    knownHost: `[${server.address}]:${String(server.port)} ${type} ${key}\n`,
    open: () => server.open(),
    close: () => server.close(),
    cut: () => server.cut(),
  };
};

const startSshd: StartServer = async (dir, machine, bin, publicKey) => {
  await mkdir(dir);
  // Whatever is sent runs with the node's environment and nothing else, and never as root.
  const variables = Object.entries(machine.env(bin, LOGIN_USER === 'root' ? 'root' : 'ops'));
  const drop =
    machine.identity === undefined
      ? ''
      : `setpriv --reuid=${String(machine.identity.uid)} --regid=${String(machine.identity.gid)} --clear-groups -- `;
  const environment = variables.map(([key, value]) => quote(`${key}=${value}`)).join(' ');
  const wrapper = join(dir, 'wrapper');
  await writeFile(
    wrapper,
    `#!/bin/sh\ncd ${quote(machine.root)} || exit 97\nexec ${drop}env -i ${environment} /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n`,
    { mode: 0o755 },
  );
  const sshd = await Sshd.start({ dir, authorizedKeys: [publicKey], config: [`ForceCommand ${wrapper}`] });
  return {
    address: '127.0.0.1',
    port: sshd.port,
    knownHost: sshd.knownHost(),
    open: () => sshd.open(),
    close: () => sshd.close(),
    cut: () => sshd.cut(),
  };
};

/** Real time, but no long waits: what is waited for is on this machine. */
const clock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    setTimeout(Math.min(ms, 100), undefined, signal === undefined ? {} : { signal }).catch(() =>
      signal?.throwIfAborted(),
    ),
};
