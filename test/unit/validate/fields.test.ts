import { expect, test } from 'vitest';
import { diskSpec, dockerSpec, findingsOf, rollbackSpec } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'disk without imagetype',
    diskSpec({ imagetype: undefined }),
    ['error missing-key 5:1 imagetype is missing = add the line: imagetype: disk'],
  ],
  [
    'disk without opstype',
    diskSpec({ opstype: undefined }),
    ['error missing-key 5:1 opstype is missing = add the line: opstype: upgrade'],
  ],
  [
    'disk without osversion',
    diskSpec({ osversion: undefined }),
    ['error missing-key 5:1 osversion is missing = add the line: osversion: KubeOS 2.0.0'],
  ],
  [
    'disk without maxunavailable',
    diskSpec({ maxunavailable: undefined }),
    ['error missing-key 5:1 maxunavailable is missing = add the line: maxunavailable: 1'],
  ],
  [
    'disk without dockerimage',
    diskSpec({ dockerimage: undefined }),
    ['error missing-key 5:1 dockerimage is missing = add the line: dockerimage: ""'],
  ],
  [
    'disk without imageurl',
    diskSpec({ imageurl: undefined }),
    ['error missing-key 5:1 imageurl is missing = add the line: imageurl: https://192.168.122.15/update.img'],
  ],
  [
    'disk without checksum',
    diskSpec({ checksum: undefined }),
    [
      'error missing-key 5:1 checksum is missing = add the line: checksum: <the 64 hex digits that sha256sum prints for it>',
    ],
  ],
  [
    'disk without flagSafe',
    diskSpec({ flagSafe: undefined }),
    ['error missing-key 5:1 flagSafe is missing = add the line: flagSafe: false'],
  ],
  [
    'disk without mtls',
    diskSpec({ mtls: undefined }),
    ['error missing-key 5:1 mtls is missing = add the line: mtls: false'],
  ],
  [
    'docker without dockerimage',
    dockerSpec({ dockerimage: undefined }),
    [
      'error missing-key 5:1 dockerimage is missing = add the line: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'docker without imageurl',
    dockerSpec({ imageurl: undefined }),
    ['error missing-key 5:1 imageurl is missing = add the line: imageurl: ""'],
  ],
  [
    'docker without checksum',
    dockerSpec({ checksum: undefined }),
    ['error missing-key 5:1 checksum is missing = add the line: checksum: ""'],
  ],
  [
    'rollback without imagetype',
    rollbackSpec({ imagetype: undefined }),
    ['error missing-key 5:1 imagetype is missing = add the line: imagetype: ""'],
  ],
  [
    'rollback without osversion',
    rollbackSpec({ osversion: undefined }),
    ['error missing-key 5:1 osversion is missing = add the line: osversion: KubeOS 2.0.0'],
  ],
  [
    'rollback without maxunavailable',
    rollbackSpec({ maxunavailable: undefined }),
    ['error missing-key 5:1 maxunavailable is missing = add the line: maxunavailable: 1'],
  ],
  [
    'rollback without dockerimage',
    rollbackSpec({ dockerimage: undefined }),
    ['error missing-key 5:1 dockerimage is missing = add the line: dockerimage: ""'],
  ],
  [
    'rollback without imageurl',
    rollbackSpec({ imageurl: undefined }),
    ['error missing-key 5:1 imageurl is missing = add the line: imageurl: ""'],
  ],
  [
    'rollback without checksum',
    rollbackSpec({ checksum: undefined }),
    ['error missing-key 5:1 checksum is missing = add the line: checksum: ""'],
  ],
  [
    'rollback without flagSafe',
    rollbackSpec({ flagSafe: undefined }),
    ['error missing-key 5:1 flagSafe is missing = add the line: flagSafe: false'],
  ],
  [
    'rollback without mtls',
    rollbackSpec({ mtls: undefined }),
    ['error missing-key 5:1 mtls is missing = add the line: mtls: false'],
  ],
  [
    'imagetype without a value',
    diskSpec({ imagetype: '' }),
    ['error type 6:3 imagetype must be docker, disk or containerd = write, for example: imagetype: disk'],
  ],
  [
    'opstype without a value',
    diskSpec({ opstype: '' }),
    ['error type 7:3 opstype must be upgrade or rollback = write, for example: opstype: upgrade'],
  ],
  [
    'osversion without a value',
    diskSpec({ osversion: '' }),
    ['error type 8:3 osversion has no value = write: osversion: KubeOS 2.0.0'],
  ],
  [
    'maxunavailable without a value',
    diskSpec({ maxunavailable: '' }),
    [
      'error type 9:3 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'dockerimage without a value',
    diskSpec({ dockerimage: '' }),
    ['error type 10:3 dockerimage has no value = write: dockerimage: ""'],
  ],
  [
    'imageurl without a value',
    diskSpec({ imageurl: '' }),
    ['error type 11:3 imageurl has no value = write: imageurl: ""'],
  ],
  [
    'checksum without a value',
    diskSpec({ checksum: '' }),
    ['error type 12:3 checksum has no value = write: checksum: ""'],
  ],
  [
    'flagSafe without a value',
    diskSpec({ flagSafe: '' }),
    ['error type 13:3 flagSafe has no value = write: flagSafe: false (or true)'],
  ],
  [
    'mtls without a value',
    diskSpec({ mtls: '' }),
    ['error type 14:3 mtls has no value = write: mtls: false (or true)'],
  ],
  [
    'maxUnavailable is unknown',
    diskSpec({ maxUnavailable: 'x' }),
    ['error unknown-field 16:3 unknown field maxUnavailable = did you mean maxunavailable?'],
  ],
  [
    'imageUrl is unknown',
    diskSpec({ imageUrl: 'x' }),
    ['error unknown-field 16:3 unknown field imageUrl = did you mean imageurl?'],
  ],
  [
    'flagsafe is unknown',
    diskSpec({ flagsafe: 'x' }),
    ['error unknown-field 16:3 unknown field flagsafe = did you mean flagSafe?'],
  ],
  [
    'chekcsum is unknown',
    diskSpec({ chekcsum: 'x' }),
    ['error unknown-field 16:3 unknown field chekcsum = did you mean checksum?'],
  ],
  [
    'nodeSelector is unknown',
    diskSpec({ nodeSelector: 'x' }),
    ['error unknown-field 16:3 unknown field nodeSelector = did you mean nodeselector?'],
  ],
  [
    'evictPodForce is unknown',
    diskSpec({ evictPodForce: 'true' }),
    ['error unknown-field 16:3 unknown field evictPodForce = did you mean evictpodforce?'],
  ],
  [
    'version is unknown',
    diskSpec({ version: 'x' }),
    ['error unknown-field 16:3 unknown field version = did you mean osversion?'],
  ],
  [
    'foo is unknown',
    diskSpec({ foo: 'x' }),
    ['error unknown-field 16:3 unknown field foo = remove it; KubeOS has no such field'],
  ],
  [
    'a b is unknown',
    diskSpec({ 'a b': 'x' }),
    ['error unknown-field 16:3 unknown field "a b" = remove it; KubeOS has no such field'],
  ],
  [
    'a misspelt mandatory field is told once',
    diskSpec({ maxunavailable: undefined, maxUnavailable: '2' }),
    ['error unknown-field 15:3 unknown field maxUnavailable = did you mean maxunavailable?'],
  ],
  [
    'what a misspelt field holds is judged at the same look',
    diskSpec({ maxunavailable: undefined, maxUnavailable: 'two' }),
    [
      'error unknown-field 15:3 unknown field maxUnavailable = did you mean maxunavailable?',
      'error type 15:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'a misspelt imagetype hides nothing of the image',
    diskSpec({ imagetype: undefined, checksum: 'zz', imageType: 'disk' }),
    [
      'error checksum 11:13 checksum must be 64 hex digits, but holds "z" (character 1) = copy all 64 hex digits, and nothing else, from the output of sha256sum',
      'error unknown-field 15:3 unknown field imageType = did you mean imagetype?',
    ],
  ],
  [
    'a misspelt kind of image hides nothing of the image',
    diskSpec({ imagetype: 'diks', imageurl: 'ftp://a/b' }),
    [
      'error type 6:14 imagetype must be docker, disk or containerd, not "diks" = write: imagetype: disk',
      'error image-url 11:13 imageurl must begin with http:// or https://, not ftp: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'an unknown kind of image is judged by what the spec names: a disk',
    diskSpec({ imagetype: 'iso', imageurl: 'ftp://a/b' }),
    [
      'error type 6:14 imagetype must be docker, disk or containerd, not "iso" = write, for example: imagetype: disk',
      'error image-url 11:13 imageurl must begin with http:// or https://, not ftp: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'an unknown kind of image is judged by what the spec names: a container image',
    dockerSpec({ imagetype: 'oci', dockerimage: 'a b' }),
    [
      'error type 6:14 imagetype must be docker, disk or containerd, not "oci" = write, for example: imagetype: disk',
      'error image-reference 10:16 dockerimage is not a valid image name = write repository/name:tag, for example: dockerimage: registry.example.com/kubeos/kubeos:2.0.0',
    ],
  ],
  [
    'opstype config hides nothing of an image that is named',
    diskSpec({ opstype: 'config', imageurl: 'ftp://a/b' }),
    [
      'error opstype-config 7:12 opstype config changes settings of nodes, which kubeos does not do = leave it to the KubeOS operator in the cluster; kubeos knows upgrade and rollback',
      'error image-url 11:13 imageurl must begin with http:// or https://, not ftp: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'opstype config needs no image',
    diskSpec({ opstype: 'config', imagetype: '""', imageurl: '""', checksum: '""' }),
    [
      'error opstype-config 7:12 opstype config changes settings of nodes, which kubeos does not do = leave it to the KubeOS operator in the cluster; kubeos knows upgrade and rollback',
    ],
  ],
  [
    'a field beside its misspelt twin counts alone',
    diskSpec({ maxUnavailable: 'two' }),
    ['error unknown-field 16:3 unknown field maxUnavailable = did you mean maxunavailable?'],
  ],
  [
    'a key that is a list',
    diskSpec({ '? [a]\n  ': '1' }),
    ['error unknown-field 16:5 a key that is not plain text = remove it; KubeOS has no such field'],
  ],
  [
    'a field given twice',
    diskSpec({ maxunavailable: '2\n  maxunavailable: 3' }),
    ['error duplicate-key 10:3 maxunavailable is given twice (first on line 9) = keep one of the two'],
  ],
  [
    'both names of the image',
    dockerSpec({ containerimage: '""' }),
    [
      'error two-images 15:3 dockerimage and containerimage are two names of the same field = keep one of the two lines',
    ],
  ],
  [
    'the newer name of the image alone',
    dockerSpec({ dockerimage: undefined, containerimage: 'a/b:1', imagetype: 'containerd' }),
    [],
  ],
];

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
