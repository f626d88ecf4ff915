import { expect, test } from 'vitest';
import { validateSpec } from '../../../src/validate/index.ts';
import { HEAD, diskSpec } from './spec-texts.ts';

const ROOM = 255 * 1024;
const fill = (part: string): string => part.repeat(Math.floor(ROOM / part.length));
const numbered = (line: (index: number) => string, count: number): string =>
  Array.from({ length: count }, (_, index) => line(index)).join('');
const nested = (open: string, close: string, depth: number): string =>
  diskSpec().replace('name: os-sample', `x: ${open.repeat(depth)}${close.repeat(depth)}`);

/** Texts that made, or could make, a parser slow, deep or talkative. */
const TEXTS: readonly [string, string][] = [
  ['a flat map', numbered((index) => `k${index}: v\n`, 20_000)],
  ['a flat flow map', `{${numbered((index) => `k${index}: v, `, 20_000)}}`],
  ['a map of unknown fields', HEAD + numbered((index) => `  maxunavail${index}: 1\n`, 3000)],
  ['one field thousands of times', HEAD + fill('  osversion: KubeOS 1\n')],
  ['open brackets', fill('[')],
  ['closed brackets', fill(']')],
  ['open maps', fill('{a: ')],
  ['dashes', fill('- ')],
  ['question marks', fill('? ')],
  ['colons', fill(':\n')],
  ['commas', `[${fill(',')}`],
  ['quotes', fill('"')],
  ['unknown escapes', `"${fill('\\q')}"`],
  ['tabs', fill('a:\n\tb\n')],
  ['document markers', fill('---\n')],
  ['aliases without anchors', `[${fill('*a,')}]`],
  ['anchors', fill('&a ')],
  ['tags', fill('!')],
  ['blank lines', fill('\n')],
  ['comments', fill('# x\n')],
  ['one long word', fill('a')],
  ['one long key', `${fill('a')}: 1`],
  ['a long number', `${HEAD}  maxunavailable: ${fill('9')}`],
  ['a long address', diskSpec({ imageurl: `https://${'a'.repeat(200_000)}` })],
  ['an address of at signs', diskSpec({ imageurl: 'https://@:'.repeat(20_000) })],
  ['an address of parameters', diskSpec({ imageurl: `https://h/x${'?a=1&'.repeat(40_000)}` })],
  ['a long image', diskSpec({ imagetype: 'docker', dockerimage: 'a/'.repeat(100_000) })],
  ['a long version', diskSpec({ osversion: 'a '.repeat(100_000) })],
  ['a long checksum', diskSpec({ checksum: 'a'.repeat(200_000) })],
  ['a long path', diskSpec({ cacert: '../'.repeat(60_000) })],
  ['a long selector', diskSpec({ nodeselector: 'a.'.repeat(100_000) })],
  ['fields without spaces', HEAD + fill('  mtls:true\n')],
  ['sequences nested deep', nested('[', ']', 5000)],
  ['maps nested deep', nested('{a: ', '}', 3000)],
];

test.each(TEXTS)('%s: a short answer', (_what, text) => {
  const { spec, diagnostics } = validateSpec(text, 'os.yaml');
  expect(spec).toBeUndefined();
  expect(diagnostics.length).toBeGreaterThan(0);
  expect(diagnostics.length).toBeLessThanOrEqual(51);
  for (const { message, mend = '' } of diagnostics) expect((message + mend).length).toBeLessThan(400);
});

const bomb = (line: (index: number) => string): string =>
  `apiVersion: upgrade.openeuler.org/v1alpha1\nkind: OS\nmetadata:\n  x0: &x0 {k: [lol, lol]}\n` +
  numbered((index) => line(index + 1), 40);

test('a bomb of aliases where nobody looks is harmless', () => {
  const text = bomb((index) => `  x${index}: &x${index} [${`*x${index - 1}, `.repeat(9)}]\n`);
  expect(validateSpec(text + diskSpec().slice(diskSpec().indexOf('spec:')), 'os.yaml').spec).toBeDefined();
});

test('a bomb of aliases for the spec is no map of fields', () => {
  const text = bomb((index) => `  x${index}: &x${index} [${`*x${index - 1}, `.repeat(9)}]\n`);
  expect(validateSpec(`${text}spec: *x40\n`, 'os.yaml').diagnostics).toMatchObject([{ rule: 'spec' }]);
});

test('a bomb of merges is merged once', () => {
  const text = bomb((index) => `  x${index}: &x${index} {<<: [${`*x${index - 1}, `.repeat(9)}]}\n`);
  const { diagnostics } = validateSpec(`${text}spec:\n  <<: *x40\n`, 'os.yaml');
  expect(diagnostics.filter(({ rule }) => rule === 'unknown-field')).toMatchObject([{ message: 'unknown field k' }]);
});

test('moderate nesting in what is ignored is no matter', () => {
  expect(validateSpec(nested('[', ']', 50), 'os.yaml').spec).toBeDefined();
});

test('a file of 10 MB is refused unread', () => {
  const { diagnostics } = validateSpec(Buffer.alloc(10 * 1024 * 1024, 'a: b\n'), 'os.yaml');
  expect(diagnostics).toMatchObject([{ rule: 'file-size', line: 1, column: 1 }]);
});

test('256 KiB exactly is read', () => {
  const spec = diskSpec();
  const whole = `${spec}#${'x'.repeat(256 * 1024 - spec.length - 2)}\n`;
  expect(Buffer.byteLength(whole)).toBe(256 * 1024);
  expect(validateSpec(whole, 'os.yaml').spec).toBeDefined();
  expect(validateSpec(`${whole}\n`, 'os.yaml').diagnostics).toMatchObject([{ rule: 'file-size' }]);
});
