import type { Findings } from './findings.ts';
import { readDigest } from './digest.ts';
import { noteIgnored } from './ignored.ts';
import { readImageUrl } from './image-url.ts';
import type { SpecView } from './shape.ts';
import type { DiskImage } from './spec.ts';
import { EXAMPLES } from './type-messages.ts';

const CERTIFICATES = ['cacert', 'clientcert', 'clientkey'] as const;
type Certificate = (typeof CERTIFICATES)[number];

/** Where the certificates lie on each node, as the usage instructions say. */
const CERTIFICATE_FOLDER = '/etc/KubeOS/certs';

/** The disk image that the spec names, as far as what is known allows; whatever is wrong is among the findings. */
export function judgeDisk(view: SpecView, findings: Findings): DiskImage | undefined {
  noteIgnored(view, ['dockerimage', 'containerimage'], 'imagetype disk', findings);
  const sha256 = checksumOf(view, findings);
  const address = addressOf(view, findings);
  if (address === undefined) return undefined;
  const flagSafe = view.values.flagSafe === true;
  const certificates = address.scheme === 'https' ? judgeHttps(view, findings) : judgeHttp(view, findings);
  return sha256 === undefined ? undefined : { type: 'disk', url: address.url, sha256, flagSafe, ...certificates };
}

function checksumOf(view: SpecView, findings: Findings): string | undefined {
  const { checksum } = view.values;
  if (checksum === undefined) return undefined;
  if (checksum === '') {
    const mend = 'write what sha256sum prints for the image: 64 hex digits';
    findings.error('missing-value', view.at('checksum'), 'a disk upgrade needs the checksum', mend);
    return undefined;
  }
  const digest = readDigest('checksum', checksum, 'refused');
  if ('hex' in digest) return digest.hex;
  findings.error('checksum', view.at('checksum'), digest.message, digest.mend);
  return undefined;
}

function addressOf(view: SpecView, findings: Findings): { url: string; scheme: 'http' | 'https' } | undefined {
  const { imageurl } = view.values;
  if (imageurl === undefined) return undefined;
  if (imageurl === '') {
    const mend = `write where the nodes find the image: imageurl: ${EXAMPLES.imageurl ?? ''}`;
    findings.error('missing-value', view.at('imageurl'), 'a disk upgrade needs imageurl', mend);
    return undefined;
  }
  const read = readImageUrl(imageurl);
  if ('url' in read) return read;
  findings.error('image-url', view.at('imageurl'), read.message, read.mend);
  return undefined;
}

/** Where this is the only error, nodes' logs are told (ValidationResult.insecureSpec). */
export const INSECURE_ADDRESS = 'insecure-address';

function judgeHttp(view: SpecView, findings: Findings): Record<string, never> {
  noteIgnored(view, [...CERTIFICATES, 'mtls'], 'http', findings);
  if (view.values.flagSafe === false) {
    const message = `http needs flagSafe: true (line ${view.lineOf('flagSafe', findings)} says false)`;
    const mend = 'use https, or, on a network you trust: flagSafe: true';
    findings.error(INSECURE_ADDRESS, view.at('imageurl'), message, mend);
  } else if (view.values.flagSafe === true) {
    const message = 'with http nobody proves who serves the image, and anyone on the way can read it';
    findings.warning('http', view.at('imageurl'), message, 'better use https, with cacert');
  }
  return {};
}

function judgeHttps(view: SpecView, findings: Findings): Partial<Record<Certificate, string>> {
  noteIgnored(view, ['flagSafe'], 'https', findings);
  const { mtls } = view.values;
  if (mtls === false) noteIgnored(view, ['clientcert', 'clientkey'], 'mtls: false', findings);
  const needed = mtls === true ? CERTIFICATES : (['cacert'] as const);
  const names: Partial<Record<Certificate, string>> = {};
  for (const field of needed) {
    const name = certificateOf(field, view, findings);
    if (name !== undefined) names[field] = name;
  }
  return names;
}

function certificateOf(field: Certificate, view: SpecView, findings: Findings): string | undefined {
  const name = view.values[field];
  const entry = view.entry(field);
  if (name === undefined && entry !== undefined) return undefined;
  if (name === undefined || name === null || name === '') {
    reportMissing(field, view, findings);
    return undefined;
  }
  const problem = nameProblem(name);
  if (problem === undefined) return name;
  const mend = `write the name alone, of a file in ${CERTIFICATE_FOLDER} of each node: ${field}: ${plainName(name, field)}`;
  findings.error('certificate-name', view.at(field), `${field} must be a plain file name, ${problem}`, mend);
  return undefined;
}

function reportMissing(field: Certificate, view: SpecView, findings: Findings): void {
  const entry = view.entry(field);
  const because = field === 'cacert' ? 'https' : 'mtls: true';
  const what = field === 'clientkey' ? " (the client's private key)" : '';
  const where = entry?.at ?? (field === 'cacert' ? view.at('imageurl') : view.whole('mtls'));
  const verb = entry === undefined ? 'add the line' : 'write';
  const mend = `${verb}: ${field}: ${EXAMPLES[field] ?? ''} (a file in ${CERTIFICATE_FOLDER} of each node)`;
  findings.error('missing-certificate', where, `${because} needs ${field}${what}`, mend);
}

const LONGEST_NAME_BYTES = 255;

/** Upstream's agent joins folder and name as they are, so a path could name any file of the node. */
function nameProblem(name: string): string | undefined {
  if (name.includes('/')) return 'without /';
  if (name.includes('..') || name === '.') return 'without ..';

  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'without control characters';
  if (name.trim() !== name) return 'without spaces around it';
  return Buffer.byteLength(name) > LONGEST_NAME_BYTES ? `of at most ${LONGEST_NAME_BYTES} bytes` : undefined;
}

function plainName(name: string, field: Certificate): string {
  const last = (name.split('/').at(-1) ?? '').trim();
  return /^[\w-][\w.-]{0,60}$/.test(last) && !last.includes('..') ? last : (EXAMPLES[field] ?? '');
}
