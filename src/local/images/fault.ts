import { KubeosError } from '../../errors.ts';
import { EXIT } from '../../exit-codes.ts';

/** What went wrong with one request, in the words that the node's own ways have (lib-ways.sh). */
export class FetchFault extends Error {
  override readonly name = 'FetchFault';
  /** Another try cannot mend it. */
  readonly hopeless: boolean;
  /** The server's own answer, the same whoever asks. */
  readonly ofServer: boolean;

  constructor(message: string, { hopeless = false, ofServer = false, cause }: FaultOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.hopeless = hopeless;
    this.ofServer = ofServer;
  }
}

interface FaultOptions {
  hopeless?: boolean;
  ofServer?: boolean;
  cause?: unknown;
}

const PASSING: ReadonlySet<number> = new Set([408, 416, 425, 429]);

/** An answer that is no success. */
export function faultOfStatus(status: number): FetchFault {
  const hopeless = status < 500 && !PASSING.has(status);
  return new FetchFault(`${wordsOf(status)} (HTTP ${status})`, { hopeless, ofServer: true });
}

function wordsOf(status: number): string {
  if (status === 401 || status === 403) return 'the server refuses the request';
  if (status === 404 || status === 410) return 'the server has no such file';
  return status >= 500 ? 'the server has a problem of its own' : 'the server answers otherwise';
}

const NAME = new Set(['ENOTFOUND', 'EAI_AGAIN', 'EAI_NODATA']);
const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT', 'EADDRNOTAVAIL']);
/** X509 verdicts as Node.js names them (tls, "X509 certificate error codes"), and what each means here. */
const CERTIFICATE: ReadonlyMap<string, () => string> = new Map([
  ...[
    ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ...['DEPTH_ZERO_SELF_SIGNED_CERT', 'SELF_SIGNED_CERT_IN_CHAIN', 'CERT_SIGNATURE_FAILURE', 'CERT_UNTRUSTED'],
  ].map((code) => [code, () => 'is not signed by cacert'] as const),
  ...['HOSTNAME_MISMATCH', 'ERR_TLS_CERT_ALTNAME_INVALID'].map((code) => [code, () => 'is for another name'] as const),
  ...[
    'CERT_CHAIN_TOO_LONG',
    'CERT_REJECTED',
    'CERT_REVOKED',
    'INVALID_CA',
    'INVALID_PURPOSE',
    'PATH_LENGTH_EXCEEDED',
  ].map((code) => [code, () => `is of no use for a server (${code})`] as const),
  ['CERT_HAS_EXPIRED', () => `has expired by ${thisClock()}`],
  ['CERT_NOT_YET_VALID', () => `is not valid yet by ${thisClock()}`],
]);

/** What broke a request: told by its code alone. @param answered its answer had begun */
export function faultOf(error: unknown, answered: boolean): FetchFault {
  if (error instanceof FetchFault) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const fault = (words: string, hopeless = false): FetchFault => new FetchFault(words, { hopeless, cause: error });
  const unfit = CERTIFICATE.get(code);
  if (unfit !== undefined) return fault(`the certificate of the server ${unfit()}`, true);
  if (NAME.has(code)) return fault('the name of the server cannot be resolved');
  if (UNREACHABLE.has(code)) return fault('the server refuses the connection, or cannot be reached');
  if (/^ERR_SSL_.*CERTIFICATE/.test(code)) return fault('the server refuses the client certificate', true);
  if (/^(?:ERR_SSL|ERR_TLS|EPROTO)/.test(code)) {
    return fault('the TLS handshake failed (a client certificate that the server wants? TLS older than 1.2?)');
  }
  if (answered) return fault('the server ended the transfer too early');
  return fault('the server answered nothing, or refuses the client certificate');
}

const thisClock = (): string =>
  `this machine's clock, which says ${new Date().toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** The failure of a download as its user reads it. */
export function notFetched(shownUrl: string, reason: string, cause?: unknown): KubeosError {
  return new KubeosError('this machine does not get the image', EXIT.incomplete, {
    step: 'stage',
    reason: `${shownUrl}: ${reason}`,
    next: 'check the image server, the way to it from this machine, and the certificates in --certs-dir',
    ...(cause === undefined ? {} : { cause }),
  });
}
