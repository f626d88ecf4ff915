import { expect, test } from 'vitest';
import { validateSpec } from '../../../src/validate/index.ts';
import { dockerSpec, findingsOf, SHA256 } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'dockerimage: ""',
    dockerSpec({ dockerimage: '""' }),
    [
      'error missing-value 10:16 this upgrade needs dockerimage = write: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: kubeos:1',
    dockerSpec({ dockerimage: 'kubeos:1' }),
    [
      'error image-reference 10:16 dockerimage names no repository = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: a/b',
    dockerSpec({ dockerimage: 'a/b' }),
    [
      'error image-reference 10:16 dockerimage has neither a tag nor a digest = say which version, for example: dockerimage: a/b:2.0.0',
    ],
  ],
  ['dockerimage: a/b:latest', dockerSpec({ dockerimage: 'a/b:latest' }), []],
  ['dockerimage: localhost:5000/a/b:1', dockerSpec({ dockerimage: 'localhost:5000/a/b:1' }), []],
  [
    'dockerimage: a/b@sha256:abc',
    dockerSpec({ dockerimage: 'a/b@sha256:abc' }),
    [
      'error image-reference 10:16 dockerimage has no valid digest behind the @ = write: dockerimage: a/b@sha256: with the 64 hex digits',
    ],
  ],
  [
    'dockerimage: a/b@',
    dockerSpec({ dockerimage: 'a/b@' }),
    [
      'error image-reference 10:16 dockerimage has no valid digest behind the @ = write: dockerimage: a/b@sha256: with the 64 hex digits',
    ],
  ],
  [
    'dockerimage: https://u:secret@h/b:1',
    dockerSpec({ dockerimage: 'https://u:secret@h/b:1' }),
    [
      "error image-reference 10:16 dockerimage is an image's name, not an address = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0",
    ],
  ],
  [
    'dockerimage: a//b:1',
    dockerSpec({ dockerimage: 'a//b:1' }),
    [
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: a/b:1:2',
    dockerSpec({ dockerimage: 'a/b:1:2' }),
    [
      'error image-reference 10:16 dockerimage has no valid tag = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: a b/c:1',
    dockerSpec({ dockerimage: 'a b/c:1' }),
    [
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: /a/b:1',
    dockerSpec({ dockerimage: '/a/b:1' }),
    [
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: -v/b:1',
    dockerSpec({ dockerimage: '-v/b:1' }),
    [
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: h:x/b:1',
    dockerSpec({ dockerimage: 'h:x/b:1' }),
    [
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'dockerimage: A/B:1',
    dockerSpec({ dockerimage: 'A/B:1' }),
    [
      'warning image-reference 10:16 dockerimage has capital letters, which container engines refuse in a repository = write the repository as the registry lists it',
    ],
  ],
  ['dockerimage: R.example/b:1', dockerSpec({ dockerimage: 'R.example/b:1' }), []],
  [
    'dockerimage: dockerimage like repository/name:tag',
    dockerSpec({ dockerimage: 'dockerimage like repository/name:tag' }),
    [
      'error placeholder 10:16 dockerimage still holds the sample\'s placeholder "dockerimage like repository/name:tag" = write your own value, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  ['a digest', dockerSpec({ dockerimage: `a/b@sha256:${SHA256}` }), []],
  [
    'a tag and a digest',
    dockerSpec({ dockerimage: `a/b:1@sha256:${SHA256}` }),
    [
      'error image-reference 10:16 dockerimage has a tag and a digest, which KubeOS does not take together = keep the digest, which is exact: dockerimage: a/b@sha256:9f2c5d0e7b1a4c3f8e6d2b9a0c7f4e1d3b5a8c6e9f0d2b4a7c1e3f5d8b6a41aa',
    ],
  ],
  [
    'a very long name',
    dockerSpec({ dockerimage: `${'a/'.repeat(300)}b:1` }),
    [
      'error image-reference 10:16 dockerimage is longer than 512 characters = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  ['a checksum', dockerSpec({ checksum: SHA256 }), []],
  ['a checksum with its prefix', dockerSpec({ checksum: `SHA256:${SHA256.toUpperCase()}` }), []],
  [
    'a broken checksum',
    dockerSpec({ checksum: 'abc' }),
    [
      'error checksum 12:13 checksum must be 64 hex digits, but has 3 = write the digest of the image (64 hex digits), or checksum: ""',
    ],
  ],
  [
    'two different digests',
    dockerSpec({ dockerimage: `a/b@sha256:${SHA256}`, checksum: '1a'.repeat(32) }),
    [
      'error checksum 12:13 checksum is another digest than the image\'s own = write: checksum: "" (the digest in the name is enough)',
    ],
  ],
  [
    "a checksum that may be a disk image's",
    dockerSpec({ imageurl: 'https://h/x', checksum: SHA256 }),
    [
      'note ignored 11:3 imageurl is ignored with imagetype docker',
      'warning checksum 12:13 checksum must be the digest of the container image; with imageurl still there, it may be that of a disk = write its digest, or checksum: "" to trust the tag',
    ],
  ],
  [
    'what belongs to disk images',
    dockerSpec({
      imageurl: 'https://h/x',
      flagSafe: 'true',
      mtls: 'true',
      cacert: 'a',
      clientcert: 'b',
      clientkey: 'c',
    }),
    [
      'note ignored 11:3 imageurl is ignored with imagetype docker',
      'note ignored 13:3 flagSafe is ignored with imagetype docker',
      'note ignored 14:3 mtls is ignored with imagetype docker',
      'note ignored 15:3 cacert is ignored with imagetype docker',
      'note ignored 16:3 clientcert is ignored with imagetype docker',
      'note ignored 17:3 clientkey is ignored with imagetype docker',
    ],
  ],
  [
    'fields out of scope are type-checked',
    dockerSpec({ imageurl: '[a]', cacert: '5' }),
    [
      'error type 11:13 imageurl must be text, not a list = write: imageurl: https://192.168.122.15/update.img',
      'error type 15:11 cacert must be text, but 5 without quotes is a number = put it in quotes: cacert: "5"',
    ],
  ],
];

test('an image is called by its digest, be it of the checksum or of the name, else by its reference', () => {
  const imageOf = (fields: Record<string, string>): unknown => {
    const { spec } = validateSpec(dockerSpec(fields), 'x.yaml');
    return spec?.opstype === 'upgrade' ? spec.image : undefined;
  };
  const named = { type: 'docker', digest: SHA256, sha256: SHA256 };
  expect(imageOf({ checksum: SHA256 })).toMatchObject(named);
  expect(imageOf({ dockerimage: `a/b@sha256:${SHA256}` })).toMatchObject(named);
  const byTag = imageOf({ dockerimage: 'a/b:1' });
  expect(byTag).toEqual({
    type: 'docker',
    reference: 'a/b:1',
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
  });
  expect(imageOf({ dockerimage: 'a/b:2' })).not.toMatchObject({ sha256: (byTag as { sha256: string }).sha256 });
});

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
