import { createHash } from 'node:crypto';
import { readDigest } from './digest.ts';
import type { Findings } from './findings.ts';
import { noteIgnored } from './ignored.ts';
import { readImageReference, type NamedImage } from './image-reference.ts';
import type { SpecView } from './shape.ts';
import type { ContainerImage } from './spec.ts';
import { EXAMPLES } from './type-messages.ts';

/** The container image that the spec names; whatever is wrong is among the findings. */
export function judgeContainer(
  type: ContainerImage['type'],
  view: SpecView,
  findings: Findings,
): ContainerImage | undefined {
  const others = ['imageurl', 'flagSafe', 'mtls', 'cacert', 'clientcert', 'clientkey'] as const;
  noteIgnored(view, others, `imagetype ${type}`, findings);
  const named = imageOf(view, findings);
  const checksum = checksumOf(view, findings);
  if (named === undefined || checksum === undefined) return undefined;
  if (named.digest !== undefined && checksum !== '' && named.digest !== checksum) {
    const message = "checksum is another digest than the image's own";
    findings.error('checksum', view.at('checksum'), message, 'write: checksum: "" (the digest in the name is enough)');
  }
  noteDiskChecksum(view, checksum, findings);
  const digest = checksum === '' ? named.digest : checksum;
  const sha256 = digest ?? createHash('sha256').update(named.name).digest('hex');
  return { type, reference: named.name, sha256, ...(digest === undefined ? {} : { digest }) };
}

/** Who turns a disk spec into one of a container image forgets the checksum as easily as the address. */
function noteDiskChecksum(view: SpecView, checksum: string, findings: Findings): void {
  const { imageurl } = view.values;
  if (checksum === '' || imageurl === undefined || imageurl === '') return;
  const message =
    'checksum must be the digest of the container image; with imageurl still there, it may be that of a disk';
  findings.warning('checksum', view.at('checksum'), message, 'write its digest, or checksum: "" to trust the tag');
}

function imageOf(view: SpecView, findings: Findings): NamedImage | undefined {
  const { dockerimage, containerimage } = view.values;
  const field = containerimage === undefined ? 'dockerimage' : 'containerimage';
  const value = containerimage ?? dockerimage;
  // Both at once is an error that has been reported already.
  if (value === undefined || (dockerimage !== undefined && containerimage !== undefined)) return undefined;
  if (value === '') {
    const mend = `write: ${field}: ${EXAMPLES[field] ?? ''}`;
    findings.error('missing-value', view.at(field), `this upgrade needs ${field}`, mend);
    return undefined;
  }
  const read = readImageReference(field, value);
  if ('message' in read) {
    findings.error('image-reference', view.at(field), read.message, read.mend);
    return undefined;
  }
  if (read.upperCase) {
    const message = `${field} has capital letters, which container engines refuse in a repository`;
    findings.warning('image-reference', view.at(field), message, 'write the repository as the registry lists it');
  }
  return read;
}

/** Empty where the spec gives no digest, undefined where it is wrong. */
function checksumOf(view: SpecView, findings: Findings): string | undefined {
  const { checksum } = view.values;
  if (checksum === undefined || checksum === '') return checksum;
  const digest = readDigest('checksum', checksum, 'allowed');
  if ('hex' in digest) return digest.hex;
  const mend = 'write the digest of the image (64 hex digits), or checksum: ""';
  findings.error('checksum', view.at('checksum'), digest.message, mend);
  return undefined;
}
