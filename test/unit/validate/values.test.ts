import { expect, test } from 'vitest';
import { diskSpec, findingsOf, rollbackSpec } from './spec-texts.ts';

// Each line: what the spec has, the spec, all that is found in it.
const CASES: readonly [string, string | Uint8Array, string[]][] = [
  [
    'imagetype: Disk',
    diskSpec({ imagetype: 'Disk' }),
    ['error type 6:14 imagetype must be docker, disk or containerd, not "Disk" = write: imagetype: disk'],
  ],
  [
    'imagetype: iso',
    diskSpec({ imagetype: 'iso' }),
    ['error type 6:14 imagetype must be docker, disk or containerd, not "iso" = write, for example: imagetype: disk'],
  ],
  [
    'imagetype: docker,',
    diskSpec({ imagetype: 'docker,' }),
    ['error type 6:14 imagetype must be docker, disk or containerd, not "docker," = write: imagetype: docker'],
  ],
  [
    'imagetype: ""',
    diskSpec({ imagetype: '""' }),
    ['error type 6:14 imagetype may be empty in a rollback only = write: imagetype: disk (or docker, or containerd)'],
  ],
  [
    'imagetype: 5',
    diskSpec({ imagetype: '5' }),
    ['error type 6:14 imagetype must be docker, disk or containerd, not "5" = write, for example: imagetype: disk'],
  ],
  [
    'imagetype: [a]',
    diskSpec({ imagetype: '[a]' }),
    ['error type 6:14 imagetype must be docker, disk or containerd = write, for example: imagetype: disk'],
  ],
  [
    'opstype: Upgrade',
    diskSpec({ opstype: 'Upgrade' }),
    ['error type 7:12 opstype must be upgrade or rollback, not "Upgrade" = write: opstype: upgrade'],
  ],
  [
    'opstype: Roll back',
    diskSpec({ opstype: 'Roll back' }),
    ['error type 7:12 opstype must be upgrade or rollback, not "Roll back" = write: opstype: rollback'],
  ],
  [
    'opstype: config',
    diskSpec({ opstype: 'config' }),
    [
      'error opstype-config 7:12 opstype config changes settings of nodes, which kubeos does not do = leave it to the KubeOS operator in the cluster; kubeos knows upgrade and rollback',
    ],
  ],
  [
    'opstype: ""',
    diskSpec({ opstype: '""' }),
    ['error type 7:12 opstype must be upgrade or rollback = write, for example: opstype: upgrade'],
  ],
  [
    'osversion: 1.0',
    diskSpec({ osversion: '1.0' }),
    [
      'error type 8:14 osversion must be text, but 1.0 without quotes is a number = put it in quotes, as the nodes report it: osversion: "KubeOS 1.0"',
    ],
  ],
  [
    'osversion: true',
    diskSpec({ osversion: 'true' }),
    [
      'error type 8:14 osversion must be text, but true without quotes is true or false = put it in quotes, as the nodes report it: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: ""',
    diskSpec({ osversion: '""' }),
    [
      'error osversion 8:14 osversion is empty = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: KubeOS',
    diskSpec({ osversion: 'KubeOS' }),
    [
      'error osversion 8:14 osversion must hold a version number, not "KubeOS" = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: v1',
    diskSpec({ osversion: 'v1' }),
    [
      'warning osversion-prefix 8:14 osversion does not begin with "KubeOS ", but must equal what the nodes report = if the nodes report it so: osversion: KubeOS v1',
    ],
  ],
  ['osversion: KubeOS v1', diskSpec({ osversion: 'KubeOS v1' }), []],
  [
    'osversion: kubeos 1.0.0',
    diskSpec({ osversion: 'kubeos 1.0.0' }),
    [
      'warning osversion-prefix 8:14 osversion does not begin with "KubeOS ", but must equal what the nodes report = if the nodes report it so: osversion: KubeOS 1.0.0',
    ],
  ],
  [
    'osversion: "KubeOS 2.0.0 "',
    diskSpec({ osversion: '"KubeOS 2.0.0 "' }),
    [
      'error osversion 8:14 osversion has spaces around it, so no node will ever report it = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: "KubeOS\\u00a02.0.0"',
    diskSpec({ osversion: '"KubeOS\\u00a02.0.0"' }),
    [
      'error osversion 8:14 osversion holds a character that cannot be seen (U+00A0) = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: "KubeOS \\e[31m1"',
    diskSpec({ osversion: '"KubeOS \\e[31m1"' }),
    [
      'error osversion 8:14 osversion holds a character that cannot be seen (U+001B) = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: ${VERSION}',
    diskSpec({ osversion: '${VERSION}' }),
    [
      'error template 8:14 osversion holds a variable that was not filled in = let the tool that fills in the template run first',
    ],
  ],
  [
    'osversion: {{ version }}',
    diskSpec({ osversion: '{{ version }}' }),
    [
      'error template 8:14 osversion holds a variable that was not filled in = let the tool that fills in the template run first',
    ],
  ],
  [
    'osversion: [a]',
    diskSpec({ osversion: '[a]' }),
    ['error type 8:14 osversion must be text, not a list = write: osversion: KubeOS 2.0.0'],
  ],
  [
    'osversion: edit.os.version',
    diskSpec({ osversion: 'edit.os.version' }),
    [
      'error placeholder 8:14 osversion still holds the sample\'s placeholder "edit.os.version" = write your own value, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'osversion: KubeOS pervious version',
    diskSpec({ osversion: 'KubeOS pervious version' }),
    [
      'error placeholder 8:14 osversion still holds the sample\'s placeholder "KubeOS pervious version" = write your own value, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'a long osversion',
    diskSpec({ osversion: `KubeOS 1${'0'.repeat(200)}` }),
    [
      'error osversion 8:14 osversion is longer than 128 characters = write it as kubectl get nodes -o wide shows it, for example: osversion: KubeOS 2.0.0',
    ],
  ],
  [
    'maxunavailable: two',
    diskSpec({ maxunavailable: 'two' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: "2"',
    diskSpec({ maxunavailable: '"2"' }),
    ['error type 9:19 maxunavailable must be a whole number of at least 1, without quotes = write: maxunavailable: 2'],
  ],
  [
    'maxunavailable: 0',
    diskSpec({ maxunavailable: '0' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: -1',
    diskSpec({ maxunavailable: '-1' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: 1.5',
    diskSpec({ maxunavailable: '1.5' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: 2.0',
    diskSpec({ maxunavailable: '2.0' }),
    ['error type 9:19 maxunavailable must be written in plain digits, not 2.0 = write: maxunavailable: 2'],
  ],
  [
    'maxunavailable: 1e3',
    diskSpec({ maxunavailable: '1e3' }),
    ['error type 9:19 maxunavailable must be written in plain digits, not 1e3 = write: maxunavailable: 1000'],
  ],
  [
    'maxunavailable: 0x10',
    diskSpec({ maxunavailable: '0x10' }),
    ['error type 9:19 maxunavailable must be written in plain digits, not 0x10 = write: maxunavailable: 16'],
  ],
  [
    'maxunavailable: 010',
    diskSpec({ maxunavailable: '010' }),
    ['error type 9:19 maxunavailable must be written in plain digits, not 010 = write: maxunavailable: 10'],
  ],
  [
    'maxunavailable: +2',
    diskSpec({ maxunavailable: '+2' }),
    ['error type 9:19 maxunavailable must be written in plain digits, not +2 = write: maxunavailable: 2'],
  ],
  [
    'maxunavailable: 99999999999999999999',
    diskSpec({ maxunavailable: '99999999999999999999' }),
    [
      'error type 9:19 maxunavailable is too large = write a smaller number; one as large as the cluster means all nodes at once',
    ],
  ],
  [
    'maxunavailable: 50%',
    diskSpec({ maxunavailable: '50%' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number here, and give the share on the command line: --maxunavailable 50%',
    ],
  ],
  [
    'maxunavailable: [1]',
    diskSpec({ maxunavailable: '[1]' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: true',
    diskSpec({ maxunavailable: 'true' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: 1_000',
    diskSpec({ maxunavailable: '1_000' }),
    [
      'error type 9:19 maxunavailable must be a whole number of at least 1 = write a number, for example: maxunavailable: 2',
    ],
  ],
  [
    'maxunavailable: .inf',
    diskSpec({ maxunavailable: '.inf' }),
    [
      'error type 9:19 maxunavailable is too large = write a smaller number; one as large as the cluster means all nodes at once',
    ],
  ],
  ['maxunavailable: 1000000', diskSpec({ maxunavailable: '1000000' }), []],
  [
    'flagSafe: "true"',
    diskSpec({ flagSafe: '"true"' }),
    ['error type 13:13 flagSafe must be true or false, not the text "true" = write it without quotes: flagSafe: true'],
  ],
  [
    'flagSafe: yes',
    diskSpec({ flagSafe: 'yes' }),
    ['error type 13:13 flagSafe must be true or false, not the text "yes" = write it without quotes: flagSafe: true'],
  ],
  [
    'flagSafe: 1',
    diskSpec({ flagSafe: '1' }),
    ['error type 13:13 flagSafe must be true or false = write it without quotes: flagSafe: true'],
  ],
  [
    'flagSafe: maybe',
    diskSpec({ flagSafe: 'maybe' }),
    ['error type 13:13 flagSafe must be true or false, not the text "maybe" = write: flagSafe: false (or true)'],
  ],
  ['flagSafe: True', diskSpec({ flagSafe: 'True' }), ['note ignored 13:3 flagSafe is ignored with https']],
  [
    'flagSafe: [true]',
    diskSpec({ flagSafe: '[true]' }),
    ['error type 13:13 flagSafe must be true or false = write: flagSafe: false (or true)'],
  ],
  [
    'mtls: "false"',
    diskSpec({ mtls: '"false"' }),
    ['error type 14:9 mtls must be true or false, not the text "false" = write it without quotes: mtls: false'],
  ],
  [
    'mtls: off',
    diskSpec({ mtls: 'off' }),
    ['error type 14:9 mtls must be true or false, not the text "off" = write it without quotes: mtls: false'],
  ],
  ['evictpodforce: true', diskSpec({ evictpodforce: 'true' }), []],
  [
    'evictpodforce: "true"',
    diskSpec({ evictpodforce: '"true"' }),
    [
      'error type 16:18 evictpodforce must be true or false, not the text "true" = write it without quotes: evictpodforce: true',
    ],
  ],
  ['nodeselector: edge', diskSpec({ nodeselector: 'edge' }), []],
  [
    'nodeselector: ""',
    diskSpec({ nodeselector: '""' }),
    [
      'note nodeselector 16:3 nodeselector: "" means only nodes whose label upgrade.openeuler.org/node-selector is empty',
    ],
  ],
  ['nodeselector: no-label', diskSpec({ nodeselector: 'no-label' }), []],
  [
    'nodeselector: a=b',
    diskSpec({ nodeselector: 'a=b' }),
    [
      'error nodeselector 16:17 nodeselector is the value of the label upgrade.openeuler.org/node-selector, and this is none = write no-label, all-label or such a value; other labels are selected on the command line: -l key=value',
    ],
  ],
  [
    'nodeselector: 5',
    diskSpec({ nodeselector: '5' }),
    [
      'error type 16:17 nodeselector must be text, but 5 without quotes is a number = put it in quotes: nodeselector: "5"',
    ],
  ],
  [
    'timeinterval: 15',
    diskSpec({ timeinterval: '15' }),
    ['note timeinterval 16:3 timeinterval is ignored: kubeos watches the nodes and does not ask at intervals'],
  ],
  [
    'timeinterval: soon',
    diskSpec({ timeinterval: 'soon' }),
    ['error type 16:17 timeinterval must be a whole number = remove timeinterval; it means nothing here'],
  ],
  [
    'timewindow: {starttime: a, endtime: b}',
    diskSpec({ timewindow: '{starttime: a, endtime: b}' }),
    [
      'error timewindow 16:3 timewindow is not supported yet = remove it, and start kubeos inside the window, from cron or a scheduled pipeline',
    ],
  ],
  ['timewindow: ', diskSpec({ timewindow: '' }), []],
  [
    'executionmode: serial',
    diskSpec({ executionmode: 'serial' }),
    ['error executionmode 16:3 executionmode serial is not supported yet = remove it, and write: maxunavailable: 1'],
  ],
  ['executionmode: parallel', diskSpec({ executionmode: 'parallel' }), []],
  [
    'executionmode: Serial',
    diskSpec({ executionmode: 'Serial' }),
    ['error type 16:18 executionmode must be parallel or serial, not "Serial" = write: executionmode: parallel'],
  ],
  [
    'executionmode: serial',
    rollbackSpec({ executionmode: 'serial' }),
    ['error executionmode 15:3 executionmode serial is not supported yet = remove it, and write: maxunavailable: 1'],
  ],
  [
    'sysconfigs: {configs: [{model: kernel.sysctl}]}',
    diskSpec({ sysconfigs: '{configs: [{model: kernel.sysctl}]}' }),
    [
      'error settings 16:3 sysconfigs changes settings of nodes, which kubeos does not do = remove it, and apply the settings by the KubeOS operator, with opstype: config',
    ],
  ],
  ['sysconfigs: ', diskSpec({ sysconfigs: '' }), []],
  [
    'upgradeconfigs: {configs: [{model: kernel.sysctl}]}',
    diskSpec({ upgradeconfigs: '{configs: [{model: kernel.sysctl}]}' }),
    [
      'error settings 16:3 upgradeconfigs changes settings of nodes, which kubeos does not do = remove it, and apply the settings by the KubeOS operator, with opstype: config',
    ],
  ],
];

test.each(CASES)('%s', (_what, text, findings) => {
  expect(findingsOf(text)).toEqual(findings);
});
