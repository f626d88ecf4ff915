import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Machine } from '../../src/lab/machine.ts';
import { Accounts } from './remote-accounts.ts';
import type { StartServer } from './remote-beds.ts';
import { Dropbear } from './remote-dropbear.ts';
import { Sshd } from './remote-sshd.ts';

/** How one OpenSSH server differs from the next. */
export interface Configuration {
  /** Whom kubeos signs in as; both run as the node's own uid here. */
  user?: 'root' | 'ops';
  /** Lines of sshd_config. */
  config?: readonly string[];
  /** Of the groups for a Diffie-Hellman group exchange it has only the smallest; the largest takes seconds to reckon with. */
  smallGroups?: boolean;
  hostKeys?: readonly ('ed25519' | 'ecdsa' | 'rsa')[];
  address?: string;
  /** The account's login shell. */
  shell?: string;
  /** File name below the account's home -> its text. */
  homeFiles?: Readonly<Record<string, string>>;
  /** Further variables that every session gets. */
  environment?: Readonly<Record<string, string>>;
  /** Sessions see a tree of their own, with no sftp server in it. */
  chroot?: boolean;
}

/** An OpenSSH server per node, which runs what it is sent under the account's login shell, as servers do. */
export function openssh(configuration: Configuration): StartServer {
  const { user = 'root', config = [], shell = '/bin/bash', homeFiles = {}, chroot = false } = configuration;
  const { hostKeys, address = '127.0.0.1', smallGroups = false } = configuration;
  return async (dir, machine, bin, publicKey) => {
    mkdirSync(dir);
    if (smallGroups) writeFileSync(join(dir, 'moduli'), smallestGroups());
    const accounts = new Accounts({ dir: join(dir, 'etc'), identity: identityOf(machine), shell, homeFiles });
    const jail = chroot ? makeJail(dir) : undefined;
    const variables = { ...variablesOf(machine, bin, user), ...configuration.environment };
    const sshd = await Sshd.start({
      dir,
      address,
      ...(hostKeys === undefined ? {} : { hostKeys }),
      authorizedKeys: [publicKey],
      config: [
        ...config,
        ...(smallGroups ? [`ModuliFile ${join(dir, 'moduli')}`] : []),
        ...(jail === undefined ? [] : [`ChrootDirectory ${JAIL}`]),
        `SetEnv ${Object.entries(variables)
          .map(([key, value]) => `"${key}=${value}"`)
          .join(' ')}`,
      ],
      around: (command) => accounts.around(command, jail?.binds),
    });
    return {
      address,
      port: sshd.port,
      knownHost: sshd.knownHost(hostKeys?.[0]),
      open: () => sshd.open(),
      close: () => sshd.close(),
      cut: () => sshd.cut(),
    };
  };
}

/** Another implementation of an SSH server, dropbear, per node. */
export const dropbear: StartServer = async (dir, machine, bin, publicKey) => {
  mkdirSync(dir);
  const accounts = new Accounts({ dir: join(dir, 'etc'), identity: identityOf(machine), shell: '/bin/sh' });
  const variables = variablesOf(machine, bin, 'root');
  return Dropbear.start({ dir, accounts, identity: identityOf(machine), variables, publicKey });
};

/** Those of 2048 bits, of Debian's own (moduli(5): the fifth field is the size, less one). */
const smallestGroups = (): string =>
  readFileSync('/etc/ssh/moduli', 'utf8')
    .split('\n')
    .filter((line) => line.split(' ')[4] === '2047')
    .join('\n') + '\n';

// HOME is the account's own; the shell's start-up files are there.
function variablesOf(machine: Machine, bin: string, user: 'root' | 'ops'): Record<string, string> {
  const variables = machine.env(bin, user);
  delete variables['HOME'];
  return variables;
}

function identityOf({ identity }: Machine): { uid: number; gid: number } {
  if (identity === undefined) throw new Error('only root can give a server accounts of its own');
  return identity;
}

// A path of which every folder is root's own, as sshd demands; only the server's namespace sees the tree there.
const JAIL = '/mnt';

/** The least tree that commands run in: this machine's programs, the test's own folder, /dev and /proc. */
function makeJail(dir: string): { binds: [string, string][] } {
  const root = join(dir, 'jail');
  const yard = join(dir, '..');
  const folders = ['/usr', '/etc/alternatives', '/dev', '/proc', yard];
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  for (const folder of ['/bin', '/lib', '/lib64', '/sbin'])
    if (existsSync(folder)) symlinkSync(`usr${folder}`, join(root, folder));
  writeFileSync(join(root, 'etc', 'passwd'), '');
  return { binds: [[root, JAIL], ...folders.map((folder): [string, string] => [folder, join(JAIL, folder)])] };
}
