import type { Algorithms, ServerHostKeyAlgorithm } from 'ssh2';

// Without SHA-1 anywhere (ssh-rsa, hmac-sha1), which OpenSSH 8.8 and later refuse too. KubeOS's own hardening allows
// aes*-ctr, hmac-sha2-* and ecdh-sha2-nistp* only, so those stay in.
const ALGORITHMS = {
  kex: [
    'curve25519-sha256',
    'curve25519-sha256@libssh.org',
    'ecdh-sha2-nistp256',
    'ecdh-sha2-nistp384',
    'ecdh-sha2-nistp521',
    'diffie-hellman-group16-sha512',
    'diffie-hellman-group14-sha256',
    'diffie-hellman-group-exchange-sha256',
  ],
  cipher: [
    'aes128-gcm@openssh.com',
    'aes256-gcm@openssh.com',
    'chacha20-poly1305@openssh.com',
    'aes256-ctr',
    'aes192-ctr',
    'aes128-ctr',
  ],
  hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
  compress: ['none'],
} satisfies Algorithms;

const HOST_KEY_ALGORITHMS: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
];

/**
 * What is offered to a server. The host key types that are known for it come first, so that it shows the key that can
 * be checked, as OpenSSH's client does.
 * @param knownTypes key types as known_hosts names them: `ssh-rsa` stands for the rsa-sha2 algorithms
 */
export function offeredAlgorithms(knownTypes: ReadonlySet<string>): Algorithms {
  const isKnown = (algorithm: ServerHostKeyAlgorithm) =>
    knownTypes.has(algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm);
  const known = HOST_KEY_ALGORITHMS.filter((algorithm) => isKnown(algorithm));
  const others = HOST_KEY_ALGORITHMS.filter((algorithm) => !isKnown(algorithm));
  return { ...ALGORITHMS, serverHostKey: [...known, ...others] };
}
