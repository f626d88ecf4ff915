import { access, readFile } from 'node:fs/promises';
import ssh2, { type ParsedKey } from 'ssh2';
import { isBeyond } from './agent.ts';
import { keyTypeOf } from './known-hosts.ts';
import { fromPkcs8, isEncryptedPkcs8, isPkcs8 } from './pkcs8.ts';

/** A private key file, as far as it can be used now. `certificate` is the path of one that lies beside it. */
export type KeyFile =
  | { kind: 'ready'; path: string; key: ParsedKey; certificate?: string }
  /** Encrypted, and no passphrase was given yet. Its public key, where a `.pub` file says it. */
  | { kind: 'locked'; path: string; text: string; publicKey: Buffer | undefined; certificate?: string }
  | { kind: 'public'; path: string; publicKey: Buffer; certificate?: string }
  | { kind: 'missing'; path: string }
  | { kind: 'unusable'; path: string; why: string };

export interface KeyRingOptions {
  /** KUBEOS_SSH_PASSPHRASE: tried on every encrypted key. */
  passphrase: string | undefined;
  /**
   * Resolves to undefined where the user gives none, rejects with the signal's reason where the question is withdrawn;
   * missing where nobody can be asked. Never called twice at once.
   */
  askPassphrase: ((keyPath: string, signal: AbortSignal | undefined) => Promise<string | undefined>) | undefined;
}

/**
 * Private keys, each read and parsed once for the whole run: an encrypted OpenSSH key costs about half a second of
 * computing each time it is opened.
 */
export class KeyRing {
  readonly #options: KeyRingOptions;
  readonly #files = new Map<string, Promise<KeyFile>>();
  readonly #unlocked = new Map<string, Promise<KeyFile>>();
  #asking: Promise<unknown> = Promise.resolve();

  constructor(options: KeyRingOptions) {
    this.#options = options;
  }

  /** The file as it is, without asking for anything. */
  load(path: string): Promise<KeyFile> {
    const loading = this.#files.get(path) ?? readKeyFile(path);
    this.#files.set(path, loading);
    return this.#unlocked.get(path)?.catch(() => loading) ?? loading;
  }

  /** True where an encrypted key could be opened by a passphrase from the environment or the user. */
  get canUnlock(): boolean {
    return this.#options.passphrase !== undefined || this.#options.askPassphrase !== undefined;
  }

  /** True where KUBEOS_SSH_PASSPHRASE may open an encrypted key, without a question. */
  get hasPassphrase(): boolean {
    return this.#options.passphrase !== undefined;
  }

  /**
   * Opens an encrypted key; asks at most once per file, and for one file at a time.
   * @param signal withdraws the question; whoever else waits for its answer has it put anew
   */
  async unlock(file: KeyFile & { kind: 'locked' }, signal?: AbortSignal): Promise<KeyFile> {
    for (;;) {
      const opening = this.#unlocked.get(file.path) ?? this.#queue(file, signal);
      try {
        return await opening;
      } catch (error) {
        const isWithdrawn = this.#unlocked.get(file.path) !== opening;
        if (!isWithdrawn || signal?.aborted === true) throw error;
      }
    }
  }

  #queue(file: KeyFile & { kind: 'locked' }, signal: AbortSignal | undefined): Promise<KeyFile> {
    const turn = this.#asking.then(() => this.#open(file, signal));
    this.#asking = turn.catch(() => {
      if (signal?.aborted === true) this.#unlocked.delete(file.path);
    });
    this.#unlocked.set(file.path, turn);
    return turn;
  }

  async #open(file: KeyFile & { kind: 'locked' }, signal: AbortSignal | undefined): Promise<KeyFile> {
    const { passphrase, askPassphrase } = this.#options;
    if (passphrase !== undefined) {
      const opened = parse(file.path, file.text, passphrase);
      if (opened.kind === 'ready' || askPassphrase === undefined) {
        return opened.kind === 'ready' ? opened : { ...opened, why: 'KUBEOS_SSH_PASSPHRASE does not open it' };
      }
    }
    signal?.throwIfAborted();
    const answer = await askPassphrase?.(file.path, signal);
    if (answer === undefined)
      return { kind: 'unusable', path: file.path, why: 'it is encrypted, and no passphrase was given' };
    const opened = parse(file.path, file.text, answer);
    return opened.kind === 'ready' ? opened : { ...opened, why: 'the passphrase does not open it' };
  }
}

async function readKeyFile(path: string): Promise<KeyFile> {
  const file = await readPlainKeyFile(path);
  if (file.kind === 'missing' || file.kind === 'unusable') return file;
  // OpenSSH offers the certificate that lies beside a key first (ssh_config(5), IdentityFile).
  const certificate = `${path}-cert.pub`;
  const isThere = await access(certificate).then(
    () => true,
    () => false,
  );
  return isThere ? { ...file, certificate } : file;
}

async function readPlainKeyFile(path: string): Promise<KeyFile> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') {
      // With the private half in an agent, ssh_config may name a public key alone.
      const publicKey = await readPublicKey(`${path}.pub`);
      return publicKey === undefined ? { kind: 'missing', path } : { kind: 'public', path, publicKey };
    }
    return { kind: 'unusable', path, why: code ?? 'it cannot be read' };
  }
  const type = keyTypeIn(text);
  if (type !== undefined && isBeyond(type)) return { kind: 'unusable', path, why: beyondWhy(type) };
  const own = parsePublic(text);
  if (own !== undefined) return { kind: 'public', path, publicKey: own };
  if (isEncrypted(text)) return { kind: 'locked', path, text, publicKey: await readPublicKey(`${path}.pub`) };
  return parse(path, text);
}

async function readPublicKey(path: string): Promise<Buffer | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : parsePublic(text);
}

function parsePublic(text: string): Buffer | undefined {
  if (text.includes('PRIVATE KEY')) return undefined;
  const key = firstKey(ssh2.utils.parseKey(text));
  return key instanceof Error || key.isPrivateKey() ? undefined : key.getPublicSSH();
}

type Opened = (KeyFile & { kind: 'ready' }) | (KeyFile & { kind: 'unusable' });

function parse(path: string, text: string, passphrase?: string): Opened {
  const key = isPkcs8(text) ? parsePkcs8(text, passphrase) : firstKey(ssh2.utils.parseKey(text, passphrase));
  if (key instanceof Error) return { kind: 'unusable', path, why: key.message };
  return key.isPrivateKey() ? { kind: 'ready', path, key } : { kind: 'unusable', path, why: 'it holds no private key' };
}

function parsePkcs8(text: string, passphrase: string | undefined): ParsedKey | Error {
  try {
    return firstKey(ssh2.utils.parseKey(fromPkcs8(text, passphrase)));
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

// ssh2 may answer with a list of one where the types promise a single key.
function firstKey(parsed: ParsedKey | Error | ParsedKey[]): ParsedKey | Error {
  return Array.isArray(parsed) ? (parsed[0] ?? new Error('the file holds no key')) : parsed;
}

function beyondWhy(type: string): string {
  return type.startsWith('sk-')
    ? `a key on a FIDO token (${type}), which kubeos cannot use`
    : `an OpenSSH certificate (${type}), which kubeos cannot use`;
}

function isEncrypted(text: string): boolean {
  if (/^Proc-Type: 4,ENCRYPTED/m.test(text) || isEncryptedPkcs8(text)) return true;
  const cipher = opensshFields(text)?.[0];
  return cipher !== undefined && cipher.toString('latin1') !== 'none';
}

/** The type of the key in a file: a public key says it in its first word, OpenSSH's own format in its public part. */
function keyTypeIn(text: string): string | undefined {
  if (!text.includes('PRIVATE KEY')) return text.trimStart().split(/\s/, 1)[0];
  const publicPart = opensshFields(text)?.[3];
  return publicPart === undefined ? undefined : keyTypeOf(publicPart);
}

/** Cipher, key derivation, its options and the first public key of a private key in OpenSSH's format (PROTOCOL.key). */
function opensshFields(text: string): Buffer[] | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]*)-----END/.exec(text)?.[1];
  if (body === undefined) return undefined;
  const blob = Buffer.from(body, 'base64');
  const magic = 'openssh-key-v1\0';
  if (blob.toString('latin1', 0, magic.length) !== magic) return undefined;
  const fields: Buffer[] = [];
  for (let at = magic.length; fields.length < 4;) {
    // The number of keys stands before the first public key.
    if (fields.length === 3) at += 4;
    if (at + 4 > blob.length) return undefined;
    const length = blob.readUInt32BE(at);
    fields.push(blob.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return fields;
}
