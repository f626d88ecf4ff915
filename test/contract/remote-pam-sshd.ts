import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { accountFiles, etcFiles, insideNamespace, type Account } from './private-etc.ts';
import { Sshd } from './remote-sshd.ts';

export interface PamSshdOptions {
  /** A folder of its own, which every user can look into. */
  dir: string;
  accounts: readonly Account[];
  authorizedKeys?: readonly string[];
  /** Lines of sshd_config; they come first, and so count. */
  config?: readonly string[];
  /** Lines of /etc/sudoers; without them there is no sudo at all. */
  sudoers?: readonly string[];
}

/** OpenSSH's server, PAM and sudo, all real, with accounts that only they see: this machine's are not touched. */
export class PamSshd {
  readonly port: number;
  readonly knownHost: string;
  readonly #sshd: Sshd;

  private constructor(sshd: Sshd) {
    this.#sshd = sshd;
    this.port = sshd.port;
    this.knownHost = sshd.knownHost();
  }

  static async start(options: PamSshdOptions): Promise<PamSshd> {
    const { dir, accounts, sudoers, authorizedKeys = [], config = [] } = options;
    const sshd = await Sshd.start({
      dir,
      authorizedKeys,
      hostKeys: ['ed25519'],
      config: [...config, 'UsePAM yes', 'PasswordAuthentication yes'],
      around: (command) => {
        const binds = etcFiles(join(dir, 'etc'), {
          ...accountFiles(accounts),
          'pam.d/sshd': PAM,
          ...(sudoers !== undefined && existsSync('/etc/pam.d/sudo') && sudoFiles(dir, sudoers)),
        });
        return insideNamespace(command, [...binds, ...withoutSudo(dir, sudoers)], FORGET);
      },
    });
    return new PamSshd(sshd);
  }

  /** What sshd, PAM and sudo's own log have said. */
  get log(): string {
    const sudo = join(this.#sshd.dir, 'sudo.log');
    return this.#sshd.log + (existsSync(sudo) ? readFileSync(sudo, 'utf8') : '');
  }

  close(): Promise<void> {
    return this.#sshd.close();
  }
}

// Passwords against /etc/shadow and nothing else: what this machine's own stack asks for is none of our business.
const PAM = [
  'auth required pam_unix.so nodelay',
  'account required pam_unix.so',
  'password required pam_unix.so',
  'session required pam_permit.so',
];

const sudoFiles = (dir: string, sudoers: readonly string[]): Record<string, readonly string[]> => ({
  'pam.d/sudo': PAM,
  sudoers: [`Defaults logfile=${join(dir, 'sudo.log')}, loglinelen=0`, ...sudoers],
});

// sudo remembers here who has proven themselves: nothing of this may reach the machine, nor come from it.
const FORGET = ['/run/sudo', '/var/lib/sudo']
  .filter((one) => existsSync(one))
  .map((one) => `mount -t tmpfs tmpfs ${one}`);

/** A file that nobody can run, over the program. */
function withoutSudo(dir: string, sudoers: readonly string[] | undefined): [string, string][] {
  if (sudoers !== undefined || !existsSync('/usr/bin/sudo')) return [];
  const file = join(dir, 'gone');
  writeFileSync(file, '', { mode: 0o000 });
  return [[file, '/usr/bin/sudo']];
}
