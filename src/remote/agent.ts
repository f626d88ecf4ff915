import { createConnection } from 'node:net';
import ssh2, { type IdentityCallback, type ParsedKey, type SignCallback, type SigningRequestOptions } from 'ssh2';
import { keyTypeOf } from './known-hosts.ts';

const ANSWER_WITHIN_MS = 5000;
// PROTOCOL.agent, as draft-ietf-sshm-ssh-agent has it.
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const MOST_BYTES = 1024 * 1024;

/** What an agent holds. */
export interface AgentKeys {
  keys: readonly ParsedKey[];
  /** Types of keys that ssh2 cannot use: certificates, and keys on FIDO tokens. */
  beyond: readonly { type: string; comment: string }[];
  problem?: string;
}

/** One key of an agent as a way to sign in, and whether a server has asked it to sign: only a key that it knows is. */
export class AgentKey extends ssh2.OpenSSHAgent {
  readonly #key: ParsedKey;
  signed = false;

  constructor(socket: string, key: ParsedKey) {
    super(socket);
    this.#key = key;
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    done(null, [this.#key]);
  }

  override sign(
    key: ParsedKey | Buffer | string,
    data: Buffer,
    options?: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): boolean {
    this.signed = true;
    return typeof options === 'function' ? super.sign(key, data, options) : super.sign(key, data, options, done);
  }
}

/** Asks an agent for its keys. ssh2's own client drops in silence what it cannot use, so that nobody could be told. */
export async function listAgentKeys(socket: string | undefined): Promise<AgentKeys> {
  if (socket === undefined) return { keys: [], beyond: [] };
  const identities = await request(socket).catch(() => undefined);
  if (identities === undefined) return { keys: [], beyond: [], problem: `the agent at ${socket} does not answer` };
  const keys: ParsedKey[] = [];
  const beyond: { type: string; comment: string }[] = [];
  for (const { blob, comment } of identities) {
    const type = keyTypeOf(blob) ?? 'unknown';
    const parsed = isBeyond(type) ? undefined : ssh2.utils.parseKey(`${type} ${blob.toString('base64')}`);
    if (parsed === undefined || parsed instanceof Error) beyond.push({ type, comment });
    else keys.push(parsed);
  }
  return { keys, beyond };
}

/** Kinds of key that ssh2 1.17 cannot sign in with: OpenSSH certificates, and keys on FIDO tokens. */
export function isBeyond(keyType: string): boolean {
  return keyType.startsWith('sk-') || keyType.includes('-cert-v0');
}

function request(socket: string): Promise<{ blob: Buffer; comment: string }[]> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(socket);
    let received = Buffer.alloc(0);
    const fail = (): void => {
      connection.destroy();
      reject(new Error('no usable answer'));
    };
    connection.setTimeout(ANSWER_WITHIN_MS, fail);
    connection.on('error', fail);
    connection.on('close', fail);
    connection.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 4 ? 0 : received.readUInt32BE(0);
      if (length > MOST_BYTES) fail();
      if (length === 0 || received.length < 4 + length) return;
      connection.end();
      try {
        resolve(readIdentities(received.subarray(4, 4 + length)));
      } catch {
        fail();
      }
    });
    connection.write(Buffer.from([0, 0, 0, 1, REQUEST_IDENTITIES]));
  });
}

// Throws a RangeError where the answer is cut short.
function readIdentities(answer: Buffer): { blob: Buffer; comment: string }[] {
  if (answer[0] !== IDENTITIES_ANSWER) throw new Error('not the answer that was asked for');
  let at = 5;
  const field = (): Buffer => {
    const length = answer.readUInt32BE(at);
    if (at + 4 + length > answer.length) throw new RangeError('cut short');
    at += 4 + length;
    return answer.subarray(at - length, at);
  };
  return Array.from({ length: answer.readUInt32BE(1) }, () => ({ blob: field(), comment: field().toString('utf8') }));
}
