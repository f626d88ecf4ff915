import type { Duplex } from 'node:stream';
import type { Algorithms } from 'ssh2';
import { cleanText } from './clean-text.ts';

/** What a server offers to speak, in its own order of preference (SSH_MSG_KEXINIT, RFC 4253, 7.1). */
export interface PeerOffer {
  kex: readonly string[];
  hostKeys: readonly string[];
  ciphers: readonly string[];
  macs: readonly string[];
}

/** A kind of algorithm of which both sides know none in common. */
export interface Mismatch {
  reason: string;
  /** The setting of sshd_config(5) that decides. */
  keyword: string;
}

// OpenSSH's servers say about 1 KiB before they encrypt.
const MAX_BYTES = 64 * 1024;
const KEXINIT = 20;
const COOKIE_BYTES = 16;

/** Listens to what a server says in clear, and calls back with its offer; `stream` must not flow yet. */
export function watchForOffer(stream: Duplex, found: (offer: PeerOffer) => void): void {
  let heard = Buffer.alloc(0);
  const listen = (chunk: Buffer) => {
    heard = Buffer.concat([heard, chunk]);
    const offer = readOffer(heard);
    if (offer === undefined && heard.length < MAX_BYTES) return;
    stream.off('data', listen);
    if (offer !== undefined) found(offer);
  };
  stream.on('data', listen);
}

/** Reads the first bytes that a server says; undefined where its offer is not (wholly) in them. */
export function readOffer(bytes: Buffer): PeerOffer | undefined {
  const start = afterVersion(bytes);
  if (start === undefined || bytes.length < start + 6) return undefined;
  const end = start + 4 + bytes.readUInt32BE(start);
  if (bytes.length < end || bytes[start + 5] !== KEXINIT) return undefined;
  const lists = readNameLists(bytes.subarray(start + 6 + COOKIE_BYTES, end), 6);
  if (lists === undefined) return undefined;
  const [kex = [], hostKeys = [], , ciphers = [], , macs = []] = lists;
  return { kex: kex.filter(isAlgorithm), hostKeys, ciphers, macs };
}

/** The first kind of algorithm on which `offer` and what kubeos speaks cannot meet; undefined where all can. */
export function findMismatch(offer: PeerOffer, own: Algorithms): Mismatch | undefined {
  const cipher = namesOf(own.cipher).find((name) => offer.ciphers.includes(name));
  const kinds: [string, string, readonly string[], readonly string[]][] = [
    ['key exchange', 'KexAlgorithms', offer.kex, namesOf(own.kex)],
    ['host keys', 'HostKeyAlgorithms', offer.hostKeys, namesOf(own.serverHostKey)],
    ['ciphers', 'Ciphers', offer.ciphers, namesOf(own.cipher)],
    // Some ciphers bring their own integrity check.
    ['MACs', 'MACs', offer.macs, cipher !== undefined && !cipher.endsWith('-ctr') ? offer.macs : namesOf(own.hmac)],
  ];
  for (const [kind, keyword, theirs, ours] of kinds) {
    if (theirs.length === 0 && kind === 'MACs') continue;
    if (theirs.some((name) => ours.includes(name))) continue;
    const offers = theirs.length === 0 ? 'nothing' : `only ${theirs.map(describe).join(', ')}`;
    return { reason: cleanText(`${kind}: the server offers ${offers}\nkubeos speaks ${ours.join(', ')}`), keyword };
  }
  return undefined;
}

/** Where the binary protocol begins: after the line that says SSH-, before which others may stand (RFC 4253, 4.2). */
function afterVersion(bytes: Buffer): number | undefined {
  for (let at = 0; ;) {
    const end = bytes.indexOf('\n', at);
    if (end < 0) return undefined;
    if (bytes.toString('latin1', at, at + 4) === 'SSH-') return end + 1;
    at = end + 1;
  }
}

function readNameLists(bytes: Buffer, count: number): string[][] | undefined {
  const lists: string[][] = [];
  for (let at = 0; lists.length < count;) {
    if (bytes.length < at + 4) return undefined;
    const length = bytes.readUInt32BE(at);
    if (bytes.length < at + 4 + length) return undefined;
    const names = bytes.toString('latin1', at + 4, at + 4 + length);
    lists.push(names.split(',').filter((name) => name !== ''));
    at += 4 + length;
  }
  return lists;
}

// What stands among the key exchanges and only says that something else is understood (RFC 8308; PROTOCOL of OpenSSH).
function isAlgorithm(name: string): boolean {
  return !name.startsWith('ext-info-') && !name.startsWith('kex-strict-');
}

const REMARKS: readonly (readonly [RegExp, string])[] = [
  [/^ssh-(rsa|dss)$|sha1(-96)?(-etm@openssh\.com)?$/, 'SHA-1'],
  [/-cert-v0\d@openssh\.com$/, 'a certificate'],
  [/^(webauthn-)?sk-/, 'FIDO'],
  [/sntrup|mlkem/, 'post-quantum'],
];

function describe(name: string): string {
  const remark = REMARKS.find(([pattern]) => pattern.test(name))?.[1];
  return remark === undefined ? name : `${name} (${remark})`;
}

function namesOf(list: Algorithms[keyof Algorithms]): readonly string[] {
  return Array.isArray(list) ? list : [];
}
