import type { Duplex } from 'node:stream';
import type { Client } from 'ssh2';

/** What ssh2 (1.17) keeps of a connection; a cipher lasts until new keys are agreed upon. */
interface Inside {
  _protocol?: { _cipher?: Partial<Cipher> };
}

interface Cipher {
  /** Makes room for a payload, behind a head that tells of the lengths, and before the padding. */
  allocPacket(payloadBytes: number): Buffer;
}

/** The length of the packet and of its padding (RFC 4253, 6). */
const HEAD_BYTES = 5;
/** Those of a bulk: OpenSSH's server takes 32 KiB a packet. */
const LARGE_BYTES = 16 * 1024;

/**
 * Lets ssh2 write a large packet where its last one was. It makes a fresh buffer for each, which costs half of the
 * processor time of a sender (seen), for collecting them above all, and has no setting for it. A packet has left once
 * its stream has nothing more to write; its padding is what was enciphered there before. To be called whenever keys were
 * agreed upon. Where ssh2 is another inside, nothing changes.
 */
export function reusePackets(client: Client, stream: Duplex): void {
  const cipher = (client as unknown as Inside)._protocol?._cipher;
  const allocate = cipher?.allocPacket?.bind(cipher);
  if (cipher === undefined || allocate === undefined) return;
  let last: { payloadBytes: number; head: Buffer; packet: WeakRef<Buffer> } | undefined;
  cipher.allocPacket = (payloadBytes) => {
    if (payloadBytes < LARGE_BYTES) return allocate(payloadBytes);
    const left = stream.writableLength === 0 && last?.payloadBytes === payloadBytes ? last : undefined;
    // Held weakly: a connection that sends no more keeps nothing.
    const packet = left?.packet.deref();
    if (left !== undefined && packet !== undefined) {
      packet.set(left.head);
      return packet;
    }
    const made = allocate(payloadBytes);
    last = { payloadBytes, head: Buffer.from(made.subarray(0, HEAD_BYTES)), packet: new WeakRef(made) };
    return made;
  };
}
