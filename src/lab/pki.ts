import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';

/** A private key and its certificate, as PEM text and as the files that hold them. */
export interface KeyPair {
  key: string;
  cert: string;
  keyFile: string;
  certFile: string;
}

/** What to issue: a certificate for a server or a client. */
export interface CertificateRequest {
  /** The file names' stem and the subject's common name. */
  name: string;
  purpose: 'server' | 'client';
  /** IP addresses and DNS names of a server. */
  addresses?: readonly string[];
  /** Valid in the past only. */
  expired?: boolean;
  /** Valid from tomorrow on. */
  early?: boolean;
}

/** A certificate authority of the lab's own, with one server and one client certificate to begin with. */
export interface Pki {
  /** The CA's certificate: PEM text, and its file. */
  ca: string;
  caFile: string;
  /** For 127.0.0.1, ::1, localhost and the addresses given to `makePki`. */
  server: KeyPair;
  client: KeyPair;
  /** Issues one more certificate; calls may overlap. */
  issue(request: CertificateRequest): Promise<KeyPair>;
}

const LOCAL = ['127.0.0.1', '::1', 'localhost'];
const DAY_MS = 86_400_000;

/**
 * Makes a certificate authority in `dir` (made where it is missing): `ca.crt`, `ca.key`, `server.crt`, `server.key`,
 * `client.crt`, `client.key`; keys are readable by their owner only. Rejects with a KubeosError where openssl is
 * missing or fails.
 */
export async function makePki(dir: string, addresses: readonly string[] = []): Promise<Pki> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await writeFile(join(dir, 'openssl.cnf'), CONFIG);
  await writeFile(join(dir, 'index.txt'), '');
  const caFile = join(dir, 'ca.crt');
  await makeKey(dir, 'ca');
  const ownCa = ['-x509', '-days', '3650', '-extensions', 'authority'];
  await openssl(dir, ['req', '-new', ...ownCa, ...subject('kubeos lab CA', 'ca'), '-out', 'ca.crt']);
  // `openssl ca` keeps an index of what it issued, which two processes must not write at once.
  let last: Promise<unknown> = Promise.resolve();
  const issue = (request: CertificateRequest): Promise<KeyPair> => {
    const next = last.then(() => issueOne(dir, request));
    last = next.catch(() => undefined);
    return next;
  };
  const server = await issue({ name: 'server', purpose: 'server', addresses: [...LOCAL, ...addresses] });
  const client = await issue({ name: 'client', purpose: 'client' });
  return { ca: await readFile(caFile, 'utf8'), caFile, server, client, issue };
}

async function issueOne(dir: string, request: CertificateRequest): Promise<KeyPair> {
  const { name } = request;
  await makeKey(dir, name);
  await openssl(dir, ['req', '-new', ...subject(name, name), '-out', `${name}.csr`]);
  await writeFile(join(dir, `${name}.ext`), extensions(request));
  // The command that can set both ends of the validity in every openssl since 1.1.1.
  const now = Date.now();
  const from = now + (request.expired === true ? -30 : request.early === true ? 1 : -1) * DAY_MS;
  const to = now + (request.expired === true ? -1 : 3650) * DAY_MS;
  const validity = ['-startdate', generalizedTime(from), '-enddate', generalizedTime(to)];
  const files = ['-in', `${name}.csr`, '-extfile', `${name}.ext`, '-out', `${name}.crt`];
  await openssl(dir, ['ca', '-config', 'openssl.cnf', '-batch', '-notext', ...validity, ...files]);
  const [keyFile, certFile] = [join(dir, `${name}.key`), join(dir, `${name}.crt`)];
  const [key, cert] = await Promise.all([readFile(keyFile, 'utf8'), readFile(certFile, 'utf8')]);
  return { key, cert, keyFile, certFile };
}

async function makeKey(dir: string, stem: string): Promise<void> {
  await writeFile(join(dir, `${stem}.key`), '', { mode: 0o600 });
  await openssl(dir, ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${stem}.key`]);
}

const subject = (commonName: string, stem: string): string[] => [
  ...['-config', 'openssl.cnf', '-subj', `/O=kubeos lab/CN=${commonName}`],
  ...['-key', `${stem}.key`, '-sha256'],
];

function extensions(request: CertificateRequest): string {
  const names = (request.addresses ?? []).map((address) => (isIP(address) === 0 ? `DNS:${address}` : `IP:${address}`));
  return [
    'basicConstraints = critical, CA:FALSE',
    'keyUsage = critical, digitalSignature',
    `extendedKeyUsage = ${request.purpose}Auth`,
    ...(names.length === 0 ? [] : [`subjectAltName = ${[...new Set(names)].join(', ')}`]),
    '',
  ].join('\n');
}

/** Every path is relative to the folder, so that no folder name can break it. */
const CONFIG = `[req]
prompt = no
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = lab
[lab]
database = index.txt
new_certs_dir = .
certificate = ca.crt
private_key = ca.key
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
organizationName = optional
commonName = supplied
`;

/** ASN.1 GeneralizedTime, as openssl's -startdate takes it: 20261123083000Z. */
const generalizedTime = (ms: number): string => new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '');

async function openssl(dir: string, args: readonly string[]): Promise<void> {
  try {
    await promisify(execFile)('openssl', [...args], { cwd: dir });
  } catch (error) {
    throw new KubeosError(`openssl ${args[0] ?? ''} failed`, EXIT.refused, {
      reason: error instanceof Error ? error.message : String(error),
      next: 'the lab makes its certificates with openssl 1.1.1 or newer: install it, then give the same command again',
      cause: error,
    });
  }
}
