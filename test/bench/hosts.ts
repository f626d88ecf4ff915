import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Machine } from '../../src/lab/machine.ts';
import { quote } from '../../src/remote/quote.ts';
import { LOGIN_USER, makeKey, Sshd } from '../contract/remote-sshd.ts';
import { makeBin, makeImage, makeNode, makeYard } from '../scripts/node-bed.ts';

export interface Host {
  name: string;
  address: string;
  port: number;
}

/** Real OpenSSH servers on loopback with a node behind each address. */
export interface Hosts {
  readonly dir: string;
  readonly hosts: readonly Host[];
  readonly key: string;
  /** For `ssh -F`: the same for every client. */
  readonly sshConfig: string;
  readonly knownHosts: string;
  close(): Promise<void>;
}

/** OpenSSH listens on no more than 16 sockets (MAX_LISTEN_SOCKS of its sshd.c); the bed itself asks for one. */
const SOCKETS_PER_SSHD = 15;
/** The same on every address, as in a real fleet. */
const PORT = 2222;

/**
 * @param addresses how many addresses, each with a node of its own behind it
 * @param perAddress how many names lead to each address
 */
export async function startHosts(addresses: number, perAddress = 1): Promise<Hosts> {
  const yard = await makeYard();
  const key = join(yard.dir, 'key');
  const publicKey = makeKey(key);
  const bin = await makeBin(join(yard.dir, 'bin'), 'dash');
  const image = await makeImage(yard.dir, 'KubeOS 1.0.0');
  const machines: Machine[] = [];
  const sshds: Sshd[] = [];
  const hosts: Host[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(sshds.map((sshd) => sshd.close()));
    await Promise.all(machines.map((machine) => machine.killAll()));
    await yard.remove();
  };
  try {
    const all = Array.from({ length: addresses }, (_, index) => addressOf(index));
    for (const address of all) {
      const { machine } = await makeNode(yard.dir, bin, image);
      machines.push(machine);
      await writeWrapper(join(yard.dir, `on-${address}`), machine, bin);
    }
    for (let from = 0; from < all.length; from += SOCKETS_PER_SSHD) {
      const served = all.slice(from, from + SOCKETS_PER_SSHD);
      const sshd = await Sshd.start({
        dir: join(yard.dir, `sshd-${from}`),
        authorizedKeys: [publicKey],
        config: [
          ...served.map((address) => `ListenAddress ${address}:${PORT}`),
          'MaxStartups 4096:1:4096',
          // SSH_CONNECTION names the address that was called.
          `ForceCommand set -- $SSH_CONNECTION; exec ${yard.dir}/on-$3`,
        ],
      });
      sshds.push(sshd);
      for (const address of served) {
        for (let copy = 0; copy < perAddress; copy++) {
          hosts.push({ name: `node-${hosts.length + 1}`, address, port: PORT });
        }
      }
    }
    const knownHosts = join(yard.dir, 'known_hosts');
    await writeFile(knownHosts, knownLines(hosts, sshds));
    const sshConfig = join(yard.dir, 'ssh_config');
    await writeFile(sshConfig, configText(key, knownHosts));
    return { dir: yard.dir, hosts, key, sshConfig, knownHosts, close };
  } catch (error) {
    await close();
    throw error;
  }
}

const addressOf = (index: number): string => `127.78.${Math.floor(index / 250)}.${(index % 250) + 1}`;

// Whatever is sent runs with the node's environment and nothing else, and never as root.
async function writeWrapper(file: string, machine: Machine, bin: string): Promise<void> {
  const drop =
    machine.identity === undefined
      ? ''
      : `setpriv --reuid=${machine.identity.uid} --regid=${machine.identity.gid} --clear-groups -- `;
  const environment = Object.entries(machine.env(bin, LOGIN_USER === 'root' ? 'root' : 'ops'))
    .map(([name, value]) => quote(`${name}=${value}`))
    .join(' ');
  const run = `exec ${drop}env -i ${environment} /bin/sh -c "$SSH_ORIGINAL_COMMAND"`;
  await writeFile(file, `#!/bin/sh\ncd ${quote(machine.root)} || exit 97\n${run}\n`, { mode: 0o755 });
}

function knownLines(hosts: readonly Host[], sshds: readonly Sshd[]): string {
  const keys = sshds.map((sshd) => sshd.knownHost().split(' ').slice(1).join(' '));
  const addresses = [...new Set(hosts.map(({ address }) => address))];
  return addresses
    .map((address, index) => `[${address}]:${PORT} ${keys[Math.floor(index / SOCKETS_PER_SSHD)] ?? ''}`)
    .join('');
}

const configText = (key: string, knownHosts: string): string =>
  [
    'Host *',
    `User ${LOGIN_USER}`,
    `Port ${PORT}`,
    `IdentityFile ${key}`,
    'IdentitiesOnly yes',
    `UserKnownHostsFile ${knownHosts}`,
    'GlobalKnownHostsFile none',
    'StrictHostKeyChecking yes',
    'KexAlgorithms curve25519-sha256',
    '',
  ].join('\n  ');
