import { expect, test } from 'vitest';
import { likelyMeant, SPEC_FIELDS } from '../../../src/validate/names.ts';

test.each([
  ['maxUnavailable', 'maxunavailable'],
  ['max_unavailable', 'maxunavailable'],
  ['max-unavailable', 'maxunavailable'],
  ['maxunavailble', 'maxunavailable'],
  ['unavailable', 'maxunavailable'],
  ['FLAGSAFE', 'flagSafe'],
  ['flagSave', 'flagSafe'],
  ['mtsl', 'mtls'],
  ['tls', 'mtls'],
  ['osVersion', 'osversion'],
  ['version', 'osversion'],
  ['sha256', 'checksum'],
  ['url', 'imageurl'],
  ['imageType', 'imagetype'],
  ['opsType', 'opstype'],
  ['optype', 'opstype'],
  ['caCert', 'cacert'],
  ['clientCert', 'clientcert'],
  ['clientkeys', 'clientkey'],
  ['evictPodForce', 'evictpodforce'],
  ['executionMode', 'executionmode'],
  ['sysconfig', 'sysconfigs'],
])('%s was likely meant to be %s', (word, field) => {
  expect(likelyMeant(word, SPEC_FIELDS)).toBe(field);
});

test.each(['image', 'client', 'x', '', 'drainTimeout', 'replicas', 'a'.repeat(100_000)])(
  '%s has no likely meaning',
  (word) => {
    expect(likelyMeant(word, SPEC_FIELDS)).toBeUndefined();
  },
);
