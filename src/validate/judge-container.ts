import { readDigest } from './digest.ts';
import type { Findings } from './findings.ts';
import { noteIgnored } from './ignored.ts';
import { readImageReference } from './image-reference.ts';
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
  return { type, reference: named.name, ...(checksum === '' ? {} : { digest: checksum }) };
}

function imageOf(view: SpecView, findings: Findings): { name: string; digest?: string } | undefined {
  const field = view.entry('containerimage') === undefined ? 'dockerimage' : 'containerimage';
  const value = view.values[field];
  if (value === undefined) return undefined;
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
