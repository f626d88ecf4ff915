import { expect, test } from 'vitest';
import { diskSpec, findingsOf, SHA256 } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'imageurl: http://h/x',
    diskSpec({ imageurl: 'http://h/x' }),
    [
      'error insecure-address 11:13 http needs flagSafe: true (line 13 says false) = use https, or, on a network you trust: flagSafe: true',
      'note ignored 15:3 cacert is ignored with http',
    ],
  ],
  [
    'imageurl: HTTP://h/x',
    diskSpec({ imageurl: 'HTTP://h/x' }),
    [
      'error insecure-address 11:13 http needs flagSafe: true (line 13 says false) = use https, or, on a network you trust: flagSafe: true',
      'note ignored 15:3 cacert is ignored with http',
    ],
  ],
  [
    'imageurl: ftp://h/x',
    diskSpec({ imageurl: 'ftp://h/x' }),
    [
      'error image-url 11:13 imageurl must begin with http:// or https://, not ftp: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: h/x',
    diskSpec({ imageurl: 'h/x' }),
    [
      'error image-url 11:13 imageurl must begin with http:// or https:// = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: 10.0.0.5:8080/x',
    diskSpec({ imageurl: '10.0.0.5:8080/x' }),
    [
      'error image-url 11:13 imageurl must begin with http:// or https:// = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: http:/h/x',
    diskSpec({ imageurl: 'http:/h/x' }),
    [
      'error image-url 11:13 imageurl must have exactly two slashes after http: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: http:///h/x',
    diskSpec({ imageurl: 'http:///h/x' }),
    [
      'error image-url 11:13 imageurl must have exactly two slashes after http: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: https://',
    diskSpec({ imageurl: 'https://' }),
    [
      'error image-url 11:13 imageurl names no valid host and port = write it, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: "https://h/a b"',
    diskSpec({ imageurl: '"https://h/a b"' }),
    ['error image-url 11:13 imageurl must not hold " " = remove it, or write it percent-encoded'],
  ],
  [
    'imageurl: https://h:99999/x',
    diskSpec({ imageurl: 'https://h:99999/x' }),
    [
      'error image-url 11:13 imageurl names no valid host and port = write it, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: https://h\\x',
    diskSpec({ imageurl: 'https://h\\x' }),
    ['error image-url 11:13 imageurl must not hold "\\\\" = remove it, or write it percent-encoded'],
  ],
  [
    'imageurl: file:///x',
    diskSpec({ imageurl: 'file:///x' }),
    [
      'error image-url 11:13 imageurl must begin with http:// or https://, not file: = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  ['imageurl: https://[::1]/x', diskSpec({ imageurl: 'https://[::1]/x' }), []],
  ['imageurl: HTTPS://h/x', diskSpec({ imageurl: 'HTTPS://h/x' }), []],
  [
    'imageurl: //h/x',
    diskSpec({ imageurl: '//h/x' }),
    [
      'error image-url 11:13 imageurl must begin with http:// or https:// = write the whole address, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: ""',
    diskSpec({ imageurl: '""' }),
    [
      'error missing-value 11:13 a disk upgrade needs imageurl = write where the nodes find the image: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'imageurl: https://{{ host }}/x',
    diskSpec({ imageurl: 'https://{{ host }}/x' }),
    [
      'error template 11:13 imageurl holds a variable that was not filled in = let the tool that fills in the template run first',
    ],
  ],
  [
    'imageurl: edit.image.url',
    diskSpec({ imageurl: 'edit.image.url' }),
    [
      'error placeholder 11:13 imageurl still holds the sample\'s placeholder "edit.image.url" = write your own value, for example: imageurl: https://192.168.122.15/update.img',
    ],
  ],
  [
    'http that is said to be safe',
    diskSpec({ imageurl: 'http://h/x', flagSafe: 'true', cacert: undefined }),
    [
      'warning http 11:13 with http nobody proves who serves the image, and anyone on the way can read it = better use https, with cacert',
    ],
  ],
  [
    'http with certificates',
    diskSpec({ imageurl: 'http://h/x', flagSafe: 'true', mtls: 'true', clientcert: 'a', clientkey: 'b' }),
    [
      'warning http 11:13 with http nobody proves who serves the image, and anyone on the way can read it = better use https, with cacert',
      'note ignored 14:3 mtls is ignored with http',
      'note ignored 15:3 cacert is ignored with http',
      'note ignored 16:3 clientcert is ignored with http',
      'note ignored 17:3 clientkey is ignored with http',
    ],
  ],
  [
    'https without a certificate',
    diskSpec({ cacert: undefined }),
    [
      'error missing-certificate 11:13 https needs cacert = add the line: cacert: ca.crt (a file in /etc/KubeOS/certs of each node)',
    ],
  ],
  [
    "mtls without the client's files",
    diskSpec({ mtls: 'true' }),
    [
      'error missing-certificate 14:3 mtls: true needs clientcert = add the line: clientcert: client.crt (a file in /etc/KubeOS/certs of each node)',
      "error missing-certificate 14:3 mtls: true needs clientkey (the client's private key) = add the line: clientkey: client.key (a file in /etc/KubeOS/certs of each node)",
    ],
  ],
  [
    'mtls with empty names',
    diskSpec({ mtls: 'true', clientcert: '""', clientkey: '' }),
    [
      'error missing-certificate 16:15 mtls: true needs clientcert = write: clientcert: client.crt (a file in /etc/KubeOS/certs of each node)',
      "error missing-certificate 17:3 mtls: true needs clientkey (the client's private key) = write: clientkey: client.key (a file in /etc/KubeOS/certs of each node)",
    ],
  ],
  [
    "the client's files without mtls",
    diskSpec({ clientcert: 'a', clientkey: 'b' }),
    [
      'note ignored 16:3 clientcert is ignored with mtls: false',
      'note ignored 17:3 clientkey is ignored with mtls: false',
    ],
  ],
  [
    'cacert: ""',
    diskSpec({ cacert: '""' }),
    [
      'error missing-certificate 15:11 https needs cacert = write: cacert: ca.crt (a file in /etc/KubeOS/certs of each node)',
    ],
  ],
  [
    'cacert: /etc/KubeOS/certs/ca.crt',
    diskSpec({ cacert: '/etc/KubeOS/certs/ca.crt' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without / = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: ../ca.crt',
    diskSpec({ cacert: '../ca.crt' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without / = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: ..',
    diskSpec({ cacert: '..' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without .. = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: a..b',
    diskSpec({ cacert: 'a..b' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without .. = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: "a\\0b"',
    diskSpec({ cacert: '"a\\0b"' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without control characters = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: " ca.crt"',
    diskSpec({ cacert: '" ca.crt"' }),
    [
      'error certificate-name 15:11 cacert must be a plain file name, without spaces around it = write the name alone, of a file in /etc/KubeOS/certs of each node: cacert: ca.crt',
    ],
  ],
  [
    'cacert: 5',
    diskSpec({ cacert: '5' }),
    ['error type 15:11 cacert must be text, but 5 without quotes is a number = put it in quotes: cacert: "5"'],
  ],
  [
    'cacert: ca certificate',
    diskSpec({ cacert: 'ca certificate' }),
    [
      'error placeholder 15:11 cacert still holds the sample\'s placeholder "ca certificate" = write your own value, for example: cacert: ca.crt',
    ],
  ],
  [
    'checksum: ""',
    diskSpec({ checksum: '""' }),
    [
      'error missing-value 12:13 a disk upgrade needs the checksum = write what sha256sum prints for the image: 64 hex digits',
    ],
  ],
  [
    'checksum: abc',
    diskSpec({ checksum: 'abc' }),
    [
      'error checksum 12:13 checksum must be 64 hex digits, but has 3 = copy all 64 hex digits, and nothing else, from the output of sha256sum',
    ],
  ],
  [
    'checksum: 1111111111111111111111111111111111111111111111111111111111111111',
    diskSpec({ checksum: '1111111111111111111111111111111111111111111111111111111111111111' }),
    [
      'error type 12:13 checksum must be text, but 11111111111111111111… without quotes is a number = put it in quotes: checksum: "1111111111111111111111111111111111111111111111111111111111111111"',
    ],
  ],
  ['checksum in capitals', diskSpec({ checksum: SHA256.toUpperCase() }), []],
  [
    'checksum with sha256:',
    diskSpec({ checksum: `sha256:${SHA256}` }),
    [
      'error checksum 12:13 checksum of a disk image stands without sha256: = write the digits alone: checksum: 9f2c5d0e7b1a4c3f8e6d2b9a0c7f4e1d3b5a8c6e9f0d2b4a7c1e3f5d8b6a41aa',
    ],
  ],
  [
    'checksum of 65 digits',
    diskSpec({ checksum: `${SHA256}0` }),
    [
      'error checksum 12:13 checksum must be 64 hex digits, but has 65 = copy all 64 hex digits, and nothing else, from the output of sha256sum',
    ],
  ],
  [
    'checksum with another letter',
    diskSpec({ checksum: `${SHA256.slice(1)}g` }),
    [
      'error checksum 12:13 checksum must be 64 hex digits, but holds "g" (character 64) = copy all 64 hex digits, and nothing else, from the output of sha256sum',
    ],
  ],
  [
    'checksum as sha256sum prints it',
    diskSpec({ checksum: `${SHA256}  update.img` }),
    [
      'error checksum 12:13 checksum must be 64 hex digits, but holds " " (character 65) = copy all 64 hex digits, and nothing else, from the output of sha256sum',
    ],
  ],
  [
    'a container image beside it',
    diskSpec({ dockerimage: 'a/b:1' }),
    ['note ignored 10:3 dockerimage is ignored with imagetype disk'],
  ],
];

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
