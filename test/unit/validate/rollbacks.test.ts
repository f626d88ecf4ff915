import { expect, test } from 'vitest';
import { diskSpec, findingsOf, rollbackSpec } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'two fields changed in an upgrade',
    diskSpec({ opstype: 'rollback' }),
    ['note ignored 7:3 a rollback ignores imagetype, imageurl, checksum, cacert'],
  ],
  [
    'what it ignores is not judged',
    rollbackSpec({
      imagetype: 'iso',
      imageurl: 'ftp://x',
      checksum: 'zz',
      flagSafe: '"no"',
      mtls: 'maybe',
      cacert: '5',
    }),
    ['note ignored 7:3 a rollback ignores imagetype, imageurl, checksum, flagSafe, mtls, cacert'],
  ],
  [
    'a placeholder where it is ignored',
    rollbackSpec({ imageurl: 'edit.image.url' }),
    ["note ignored 11:3 a rollback ignores imageurl (still the sample's placeholder)"],
  ],
  ['no values where it ignores them', rollbackSpec({ imagetype: '', imageurl: '', mtls: '' }), []],
  [
    'osversion is judged',
    rollbackSpec({ osversion: 'KubeOS pervious version' }),
    [
      'error placeholder 8:14 osversion still holds the sample\'s placeholder "KubeOS pervious version" = write your own value, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'maxunavailable is judged',
    rollbackSpec({ maxunavailable: '0' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'nodeselector is judged',
    rollbackSpec({ nodeselector: '5' }),
    [
      'error type 15:17 nodeselector must be text, but 5 without quotes is a number = put it in quotes: nodeselector: "5"',
    ],
  ],
  [
    'timewindow is refused',
    rollbackSpec({ timewindow: '{starttime: a, endtime: b}' }),
    [
      'error timewindow 15:3 timewindow is not supported yet = remove it, and start kubeos inside the window, from cron or a scheduled pipeline',
    ],
  ],
];

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
