import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ANSWER_MARK } from '../../src/remote/compose.ts';
import { LOGIN_USER, makeKey, Sshd } from '../contract/remote-sshd.ts';
import { makeBin, makeImage, makeNode, makeYard } from '../scripts/node-bed.ts';

export interface Host {
  name: string;
  address: string;
  port: number;
}

/** Real OpenSSH servers on loopback, whose hosts answer what a node answered once. */
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
 * @param addresses how many addresses
 * @param perAddress how many names lead to each address
 */
export async function startHosts(addresses: number, perAddress = 1): Promise<Hosts> {
  const yard = await makeYard();
  const key = join(yard.dir, 'key');
  const publicKey = makeKey(key);
  const sshds: Sshd[] = [];
  const hosts: Host[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(sshds.map((sshd) => sshd.close()));
    await yard.remove();
  };
  try {
    const all = Array.from({ length: addresses }, (_, index) => addressOf(index));
    const player = await recordAnswers(yard.dir);
    for (let from = 0; from < all.length; from += SOCKETS_PER_SSHD) {
      const served = all.slice(from, from + SOCKETS_PER_SSHD);
      const sshd = await Sshd.start({
        dir: join(yard.dir, `sshd-${from}`),
        authorizedKeys: [publicKey],
        config: [
          ...served.map((address) => `ListenAddress ${address}:${PORT}`),
          'MaxStartups 4096:1:4096',
          `ForceCommand exec ${player}`,
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

/**
 * A real node has cores of its own; here its work would be done by those of the client, and hide what the client costs.
 * So a node of the lab is asked once, and every host plays its answers.
 */
async function recordAnswers(dir: string): Promise<string> {
  const bin = await makeBin(join(dir, 'bin'), 'dash');
  const node = await makeNode(dir, bin, await makeImage(dir, 'KubeOS 1.0.0'));
  const claimed = await node.must('claim');
  const observed = await node.ask('observe');
  await node.machine.killAll();
  await writeFile(join(dir, 'claimed'), `${ANSWER_MARK}\n${claimed.stdout}`);
  await writeFile(join(dir, 'observed'), `${ANSWER_MARK}\n${observed.stdout}`);
  const player = join(dir, 'player');
  const text = `#!/bin/sh
case $SSH_ORIGINAL_COMMAND in
true) exit 0 ;;
*'/bin/sh -s') script=$(cat) ;;
*) script=$SSH_ORIGINAL_COMMAND ;;
esac
case $script in
*answer_layout*) exec cat ${dir}/observed ;;
*) exec cat ${dir}/claimed ;;
esac
`;
  await writeFile(player, text, { mode: 0o755 });
  return player;
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
