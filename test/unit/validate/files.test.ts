import { expect, test } from 'vitest';
import { diskSpec, dockerSpec, findingsOf, HEAD } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'empty',
    '',
    [
      'error no-os 1:1 the file is empty = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  [
    'blank',
    '\n\n  \n',
    [
      'error no-os 1:1 the file is empty = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  [
    'a comment alone',
    '# nothing\n',
    [
      'error no-os 1:1 the file holds no OS = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  ['empty documents around it', `---\n---\n${diskSpec()}---\n# end\n`, []],
  [
    'a second OS',
    `${diskSpec()}---\n${dockerSpec()}`,
    [
      'error second-os 18:7 a second OS in the file = keep one OS in each file, and give each file a command of its own',
    ],
  ],
  [
    'another kind beside it',
    `${diskSpec()}---\napiVersion: v1\nkind: Namespace\n`,
    ['error kind 18:7 kind must be OS, not "Namespace" = keep other objects in files of their own'],
  ],
  [
    'another kind alone',
    'apiVersion: apps/v1\nkind: Deployment\nspec: {}\n',
    ['error kind 2:7 kind must be OS, not "Deployment" = keep other objects in files of their own'],
  ],
  [
    'kind in small letters',
    diskSpec().replace('kind: OS', 'kind: os'),
    ['error kind 2:7 kind must be OS, not "os" = write: kind: OS'],
  ],
  ['no kind', diskSpec().replace('kind: OS\n', ''), ['error kind 1:1 kind is missing = add the line: kind: OS']],
  [
    'no apiVersion',
    diskSpec().replace(/^api.*\n/, ''),
    ['error api-version 1:1 apiVersion is missing = add the line: apiVersion: upgrade.openeuler.org/v1alpha1'],
  ],
  [
    'another apiVersion',
    diskSpec().replace('v1alpha1', 'v1'),
    [
      'error api-version 1:13 apiVersion must be upgrade.openeuler.org/v1alpha1 = write: apiVersion: upgrade.openeuler.org/v1alpha1',
    ],
  ],
  [
    'a single value',
    'hello',
    [
      'error not-an-os 1:1 this is a single value, not an OS = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  [
    'a list',
    '[1, 2]',
    [
      'error not-an-os 1:1 this is a list, not an OS = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  [
    'something else',
    'foo: bar\n',
    [
      'error not-an-os 1:1 this is not an OS: it has no kind and no spec = begin with: apiVersion: upgrade.openeuler.org/v1alpha1\nthen: kind: OS, metadata: with a name:, and spec: with the fields',
    ],
  ],
  [
    'fields alone',
    diskSpec().replace(HEAD, ''),
    [
      'error api-version 1:3 apiVersion is missing = add the line: apiVersion: upgrade.openeuler.org/v1alpha1',
      'error outside-spec 1:3 imagetype and what follows must stand inside spec = put them below spec: and indent each by two spaces',
    ],
  ],
  [
    'an empty spec',
    HEAD,
    [
      'error spec 5:1 spec is empty = below spec: give imagetype, opstype, osversion, maxunavailable, dockerimage, imageurl, checksum, flagSafe, mtls',
    ],
  ],
  [
    'fields not indented',
    diskSpec().replace(/^ {2}(?!name)/gm, ''),
    [
      'error outside-spec 6:1 imagetype and what follows must stand inside spec = put them below spec: and indent each by two spaces',
    ],
  ],
  [
    'a list for spec',
    `${HEAD}  - a\n`,
    ['error spec 6:3 spec must be a map of fields = write each field as key: value, on its own line'],
  ],
  [
    'text for spec',
    HEAD.replace('spec:', 'spec: hello'),
    ['error spec 5:7 spec must be a map of fields = write each field as key: value, on its own line'],
  ],
  [
    'no spec',
    HEAD.replace('spec:\n', ''),
    [
      'error spec 1:1 spec is missing = below spec: give imagetype, opstype, osversion, maxunavailable, dockerimage, imageurl, checksum, flagSafe, mtls',
    ],
  ],
  [
    'spec misspelt',
    diskSpec().replace('spec:', 'Spec:'),
    ['error unknown-field 5:1 unknown field Spec = did you mean spec?'],
  ],
  [
    'strays at the top',
    `${diskSpec()}osversion: x\nfoo: 1\nKind: OS\n`,
    [
      'error outside-spec 16:1 osversion must stand inside spec = move it below spec: and indent it like its other fields',
      'error unknown-field 17:1 unknown field foo = remove it; an OS has apiVersion, kind, metadata, spec, status',
      'error unknown-field 18:1 unknown field Kind = did you mean kind?',
    ],
  ],
  [
    'status and managed fields',
    diskSpec().replace(
      '  name: os-sample',
      '  uid: 1\n  annotations:\n    a: |\n      mtls:true\n  managedFields: [{a: {}}]',
    ) + 'status: {a: 1}\n',
    [],
  ],
  [
    'spec given twice',
    `${diskSpec()}spec:\n  a: 1\n`,
    ['error duplicate-key 16:1 spec is given twice (first on line 5) = keep one of the two'],
  ],
  ['a List of one', `apiVersion: v1\nkind: List\nitems:\n- ${diskSpec().trimEnd().replaceAll('\n', '\n  ')}\n`, []],
  [
    'a List of two',
    `apiVersion: v1\nkind: List\nitems:\n- ${diskSpec().trimEnd().replaceAll('\n', '\n  ')}\n- ${diskSpec().trimEnd().replaceAll('\n', '\n  ')}\n`,
    [
      'error second-os 20:9 a second OS in the file = keep one OS in each file, and give each file a command of its own',
    ],
  ],
  [
    'an empty List',
    'apiVersion: v1\nkind: List\nitems: []\n',
    [
      'error empty-list 3:1 the list holds no OS = if it comes from kubectl get os: name the namespace (-n), or -A to look everywhere',
    ],
  ],
  [
    'JSON',
    JSON.stringify({
      apiVersion: 'upgrade.openeuler.org/v1alpha1',
      kind: 'OS',
      spec: { opstype: 'rollback', osversion: 1 },
    }),
    [
      'error missing-key 1:60 imagetype is missing = add the line: imagetype: ""',
      'error missing-key 1:60 maxunavailable is missing = add the line: maxunavailable: 1',
      'error missing-key 1:60 imageurl is missing = add the line: imageurl: ""',
      'error missing-key 1:60 checksum is missing = add the line: checksum: ""',
      'error missing-key 1:60 flagSafe is missing = add the line: flagSafe: false',
      'error missing-key 1:60 mtls is missing = add the line: mtls: false',
      'error missing-key 1:60 dockerimage is missing = add the line: dockerimage: ""',
      'error type 1:101 osversion must be text, but 1 without quotes is a number = put it in quotes, as the nodes report it: osversion: "KubeOS 1"',
    ],
  ],
  [
    'an anchor and its alias',
    diskSpec({ osversion: '&v KubeOS 2', nodeselector: '*v' }),
    [
      'error nodeselector 16:17 nodeselector is the value of the label upgrade.openeuler.org/node-selector, and this is none = write no-label, all-label or such a value; other labels are selected on the command line: -l key=value',
    ],
  ],
  [
    'an alias without its anchor',
    diskSpec({ osversion: '*v' }),
    [
      'error unknown-alias 8:14 osversion refers to an anchor that is not there = name it before, at the value it stands for: &name',
    ],
  ],
  [
    'a merge',
    diskSpec({ imagetype: undefined, opstype: undefined, '<<': '*base' }).replace(
      'name: os-sample',
      'x: &base { imagetype: disk, opstype: upgrade, mtls: true }',
    ),
    [],
  ],
  [
    'a merge of itself',
    HEAD.replace('spec:', 'spec: &a') + '  <<: *a\n  opstype: rollback\n',
    [
      'error missing-key 5:1 imagetype is missing = add the line: imagetype: ""',
      'error missing-key 5:1 osversion is missing = add the line: osversion: KubeOS 2.0.0',
      'error missing-key 5:1 maxunavailable is missing = add the line: maxunavailable: 1',
      'error missing-key 5:1 imageurl is missing = add the line: imageurl: ""',
      'error missing-key 5:1 checksum is missing = add the line: checksum: ""',
      'error missing-key 5:1 flagSafe is missing = add the line: flagSafe: false',
      'error missing-key 5:1 mtls is missing = add the line: mtls: false',
      'error missing-key 5:1 dockerimage is missing = add the line: dockerimage: ""',
    ],
  ],
  [
    'explicit types',
    diskSpec({ osversion: '!!str 2', maxunavailable: '!!int "2"' }),
    [
      'warning osversion-prefix 8:20 osversion does not begin with "KubeOS ", but must equal what the nodes report = if the nodes report it so: osversion: KubeOS 2',
    ],
  ],
  ['a folded value', diskSpec({ imageurl: '>-\n    https://h/x' }), []],
  ['keys in quotes', diskSpec().replace('  mtls:', '  "mtls":'), []],
  [
    'CRLF',
    diskSpec({ maxunavailable: '0' }).replaceAll('\n', '\r\n'),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'CR alone',
    diskSpec().replaceAll('\n', '\r'),
    ['error line-end 1:43 a line ends with a carriage return alone = save the file with LF or CRLF line ends'],
  ],
  [
    'a byte order mark',
    Buffer.from(`\ufeff${diskSpec({ maxunavailable: '0' })}`),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'UTF-16',
    Buffer.from(`\ufeff${diskSpec()}`, 'utf16le'),
    ['error encoding 1:1 the file is UTF-16, not UTF-8 = save it as UTF-8 (PowerShell: Out-File -Encoding utf8)'],
  ],
  [
    'Latin-1',
    Buffer.from(diskSpec({ osversion: 'KubeOS é' }), 'latin1'),
    [
      'error encoding 8:21 the file is not UTF-8 text from here on = check that it is a YAML file, and save it as UTF-8',
    ],
  ],
  [
    'UTF-16 without a byte order mark, the low byte first',
    Buffer.from(diskSpec(), 'utf16le'),
    ['error encoding 1:1 the file is UTF-16, not UTF-8 = save it as UTF-8 (PowerShell: Out-File -Encoding utf8)'],
  ],
  [
    'UTF-16 without a byte order mark, the high byte first',
    Buffer.from(diskSpec(), 'utf16le').swap16(),
    ['error encoding 1:1 the file is UTF-16, not UTF-8 = save it as UTF-8 (PowerShell: Out-File -Encoding utf8)'],
  ],
  [
    'binary',
    Buffer.from([0x1f, 0x8b, 8, 0, 0xff]),
    ['error binary 1:1 the file is binary, not YAML = check that -f names the spec, not the image'],
  ],
  [
    'a NUL',
    diskSpec().replace('sample', '\0'),
    ['error binary 4:12 the file is binary, not YAML = check that -f names the spec, not the image'],
  ],
  [
    'an escape character',
    diskSpec().replace('sample', '\x1b[2J'),
    [
      'error control-character 4:12 an invisible control character (U+001B) = remove it; it may have come along with copied text',
    ],
  ],
  [
    'more than 256 KiB',
    diskSpec() + '#'.repeat(256 * 1024),
    [
      'error file-size 1:1 the file has more than 256 KiB, the most that a spec may have = check that -f names the spec, not the image',
    ],
  ],
  [
    'a tab',
    diskSpec().replace('  opstype', '\topstype'),
    ['error yaml-syntax 7:1 a tab is used for indentation = YAML allows spaces only: use two for each level'],
  ],
  [
    'indented too deep',
    diskSpec().replace('  opstype', '    opstype'),
    [
      'error yaml-syntax 6:14 this value runs on into the next line = indent the next line like this one, and close quotes that are open',
    ],
  ],
  [
    'not indented enough',
    diskSpec().replace('  opstype', ' opstype'),
    ['error yaml-syntax 7:1 the indentation does not fit the lines above = indent all fields of a map equally'],
  ],
  [
    'an open quote',
    diskSpec({ osversion: '"KubeOS 1' }),
    ['error yaml-syntax 8:23 the closing quote is missing = close the quote at the end of the value'],
  ],
  [
    'two fields on a line',
    diskSpec({ flagSafe: 'false mtls: true', mtls: undefined }),
    [
      'error yaml-syntax 13:13 a colon makes a key of this value = put the value in quotes, or each key on a line of its own, equally indented',
    ],
  ],
  [
    'a value that begins with %',
    diskSpec({ osversion: '%V' }),
    ['error yaml-syntax 8:14 a value may not begin with % = put the value in double quotes'],
  ],
  [
    'two broken values',
    diskSpec({ osversion: '@V', imageurl: '`x`' }),
    [
      'error yaml-syntax 8:14 a value may not begin with @ = put the value in double quotes',
      'error yaml-syntax 11:13 a value may not begin with ` = put the value in double quotes',
    ],
  ],
  [
    'fields without their spaces',
    diskSpec({ mtls: undefined, maxUnavailable: '3' }).replace('flagSafe: false', 'flagSafe:yes\n  mtls:true'),
    [
      'error missing-space 13:3 flagSafe lacks the space after its colon = write it: flagSafe: yes',
      'error type 13:12 flagSafe must be true or false, not the text "yes" = write it without quotes: flagSafe: true',
      'error missing-space 14:3 mtls lacks the space after its colon = write it: mtls: true',
      'error missing-certificate 14:3 mtls: true needs clientcert = add the line: clientcert: client.crt (a file in /etc/KubeOS/certs of each node)',
      "error missing-certificate 14:3 mtls: true needs clientkey (the client's private key) = add the line: clientkey: client.key (a file in /etc/KubeOS/certs of each node)",
      'error unknown-field 16:3 unknown field maxUnavailable = did you mean maxunavailable?',
    ],
  ],
  [
    'all fields without their spaces',
    `${HEAD}  opstype:rollback\n  osversion:1\n`,
    [
      'error missing-key 5:1 imagetype is missing = add the line: imagetype: ""',
      'error missing-key 5:1 maxunavailable is missing = add the line: maxunavailable: 1',
      'error missing-key 5:1 imageurl is missing = add the line: imageurl: ""',
      'error missing-key 5:1 checksum is missing = add the line: checksum: ""',
      'error missing-key 5:1 flagSafe is missing = add the line: flagSafe: false',
      'error missing-key 5:1 mtls is missing = add the line: mtls: false',
      'error missing-key 5:1 dockerimage is missing = add the line: dockerimage: ""',
      'error missing-space 6:3 opstype lacks the space after its colon = write it: opstype: rollback',
      'error missing-space 7:3 osversion lacks the space after its colon = write it: osversion: 1',
      'error type 7:13 osversion must be text, but 1 without quotes is a number = put it in quotes, as the nodes report it: osversion: "KubeOS 1"',
    ],
  ],
];

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
