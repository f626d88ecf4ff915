import { createPrivateKey, randomBytes, type KeyObject } from 'node:crypto';

/** True for a private key in PKCS#8 (RFC 5958), as OpenSSL writes them; ssh2 1.17 reads none of them. */
export function isPkcs8(text: string): boolean {
  return /^-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/m.test(text);
}

/** True for one that a passphrase opens. */
export function isEncryptedPkcs8(text: string): boolean {
  return /^-----BEGIN ENCRYPTED PRIVATE KEY-----/m.test(text);
}

/**
 * The same key in a form that ssh2 reads.
 * @throws Error where it cannot be opened, or is of a kind that no SSH server takes
 */
export function fromPkcs8(text: string, passphrase: string | undefined): string {
  const key = createPrivateKey({ key: text, ...(passphrase !== undefined && { passphrase }) });
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return key.export({ type: 'pkcs1', format: 'pem' }).toString();
    case 'ec':
      return key.export({ type: 'sec1', format: 'pem' }).toString();
    case 'ed25519':
      return opensshEd25519(key);
    default:
      throw new Error(`no SSH server takes a key of the kind ${key.asymmetricKeyType ?? 'unknown'}`);
  }
}

const ED25519 = 'ssh-ed25519';

/** OpenSSH's own format (PROTOCOL.key), unencrypted; there is no older one for these keys. */
function opensshEd25519(key: KeyObject): string {
  const { d = '', x = '' } = key.export({ format: 'jwk' });
  const [seed, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const check = randomBytes(4);
  const secret = [check, check, field(ED25519), field(point), field(Buffer.concat([seed, point])), field('')];
  const length = secret.reduce((sum, part) => sum + part.length, 0);
  // The padding counts from 1 to a whole block, which is of 8 bytes where no cipher is at work.
  const padding = Buffer.from(Array.from({ length: (8 - (length % 8)) % 8 }, (_, index) => index + 1));
  const blob = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    // Cipher, key derivation, its options, and the number of keys.
    ...[field('none'), field('none'), field(''), uint32(1)],
    field(Buffer.concat([field(ED25519), field(point)])),
    field(Buffer.concat([...secret, padding])),
  ]);
  const lines = blob.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}

function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
