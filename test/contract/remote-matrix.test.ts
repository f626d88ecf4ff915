import { describe } from 'vitest';
import { canHaveAccounts } from './private-etc.ts';
import { sshBed } from './remote-beds.ts';
import { describeRemoteCore } from './remote-core-suite.ts';
import { dropbear, openssh, type Configuration } from './remote-servers.ts';

const CHATTER = 'echo; echo "Welcome to KubeOS, token=99 phase=armed"; echo oops >&2\n';

// As scripts/security-tools/security-tools.sh of KubeOS hardens a node.
const HARDENED = [
  'PermitRootLogin no',
  'Ciphers aes128-ctr,aes192-ctr,aes256-ctr',
  'MACs hmac-sha2-512,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-256-etm@openssh.com',
  'KexAlgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256',
  'ClientAliveInterval 600',
  'ClientAliveCountMax 1',
  'MaxAuthTries 3',
  'X11Forwarding no',
  'AllowTcpForwarding no',
];

const CONFIGURATIONS: Readonly<Record<string, Configuration>> = {
  'a hardened sshd, as a user with sudo': { user: 'ops', config: HARDENED, environment: { TMOUT: '1' } },
  'the oldest algorithms that kubeos speaks': {
    config: ['KexAlgorithms diffie-hellman-group-exchange-sha256', 'MACs hmac-sha2-256', 'Ciphers aes128-ctr'],
    hostKeys: ['rsa'],
    smallGroups: true,
  },
  'a single session, few logins at once, and a talkative bash': {
    config: ['MaxSessions 1', 'MaxStartups 3', 'Banner /etc/passwd'],
    homeFiles: { '.bashrc': CHATTER, '.hushlogin': '' },
    environment: { ENV: '~/.bashrc', BASH_ENV: '~/.bashrc' },
  },
  'a talkative tcsh': {
    shell: '/usr/bin/tcsh',
    homeFiles: { '.cshrc': CHATTER.replace(' >&2', ''), '.tcshrc': CHATTER.replace(' >&2', '') },
  },
  'a talkative fish, as a user with sudo': {
    user: 'ops',
    shell: '/usr/bin/fish',
    homeFiles: { '.config/fish/config.fish': CHATTER },
  },
  'a chroot without sftp': { chroot: true },
  'an IPv6 address': { address: '::1' },
};

describe.runIf(canHaveAccounts)('with accounts of the server’s own', () => {
  for (const [name, configuration] of Object.entries(CONFIGURATIONS)) {
    describeRemoteCore(name, () => sshBed(configuration.user ?? 'root', openssh(configuration)));
  }
  describeRemoteCore('dropbear', () => sshBed('root', dropbear));
});
