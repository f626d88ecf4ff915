import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { renderDiagnostics } from '../../../src/report/diagnostics.ts';
import { width } from '../../../src/report/text.ts';
import { validateSpec } from '../../../src/validate/index.ts';
import { diskSpec, dockerSpec, HEAD, type Fields } from './spec-texts.ts';

const PLAIN = { colour: false, ascii: false, columns: 80 };
const shown = (text: string, display = PLAIN, file = 'upgrade.yaml'): string =>
  renderDiagnostics(validateSpec(text, file), display).join('\n');
const quotedLines = (text: string): string[] => text.split('\n').filter((line) => line.includes(' | '));
/** The first line that is quoted and the one with its caret. */
const quoted = (text: string): string[] => quotedLines(text).slice(0, 2);
const disk = (changes: Fields): string => shown(diskSpec(changes));

describe('diagnostics on a screen', () => {
  test('each has its place, the line, a caret and its mending; the count comes last', () => {
    const text = disk({
      maxunavailable: 'two',
      imageurl: 'http://10.0.0.5/update.img',
      cacert: undefined,
      maxUnavailable: '2',
    });
    expect(text).toBe(`upgrade.yaml:9:19: error: maxunavailable must be a whole number of at least 1
  9 |   maxunavailable: two
    |                   ^^^
    = write a number, for example: maxunavailable: 2

upgrade.yaml:11:13: error: http needs flagSafe: true (line 13 says false)
  11 |   imageurl: http://10.0.0.5/update.img
     |             ^^^^^^^^^^^^^^^^^^^^^^^^^^
     = use https, or, on a network you trust: flagSafe: true

upgrade.yaml:15:3: error: unknown field maxUnavailable
  15 |   maxUnavailable: 2
     |   ^^^^^^^^^^^^^^
     = did you mean maxunavailable?

3 errors. Nothing was touched.`);
  });

  test('nothing found, nothing shown', () => {
    expect(renderDiagnostics(validateSpec(diskSpec(), 'x'), PLAIN)).toEqual([]);
  });

  test('warnings and notes alone do not say that nothing was touched', () => {
    expect(disk({ osversion: 'v2', flagSafe: 'true' })).toMatch(/\n\nNo errors, 1 warning, 1 note\.$/);
    expect(shown(dockerSpec({ mtls: 'true', maxunavailable: '0' }))).toMatch(
      /\n\n1 error, 1 note\. Nothing was touched\.$/,
    );
  });

  test('a long line is shortened around the caret', () => {
    const comment = `two # ${'because '.repeat(30)}`;
    expect(quoted(disk({ maxunavailable: comment }))).toEqual([
      '  9 |   maxunavailable: two # because because because because because because b…',
      '    |                   ^^^',
    ]);
    const json = JSON.stringify({
      apiVersion: 'upgrade.openeuler.org/v1alpha1',
      metadata: 'x'.repeat(300),
      kind: 'os',
      status: 'y'.repeat(300),
    });
    const [source = '', caret = ''] = quotedLines(shown(json)).slice(-2);
    expect(source.slice(caret.indexOf('^'), caret.lastIndexOf('^') + 1)).toBe('"os"');
  });

  test('credentials are hidden, and the caret still stands below its text', () => {
    const [source, caret] = quoted(disk({ imageurl: 'ftp://user:secret@h/x' }));
    expect(source).toBe('  11 |   imageurl: ftp://***********@h/x');
    expect(caret).toBe('     |             ^^^^^^^^^^^^^^^^^^^^^');
  });

  test('wide characters, tabs and control characters do not shift the caret', () => {
    expect(quoted(disk({ osversion: '"版本 \\u00a0" # 说明' }))).toEqual([
      '  8 |   osversion: "版本 \\u00a0" # 说明',
      '    |              ^^^^^^^^^^^^^',
    ]);
    expect(quoted(shown(diskSpec().replace('sample', '\x1b[2J')))).toEqual([
      '  4 |   name: os-\ufffd[2J',
      '    |            ^',
    ]);
    expect(quoted(shown(diskSpec().replace('  opstype', '\topstype')))).toEqual(['  7 |  opstype: upgrade', '    | ^']);
  });

  test('a file as a whole has no line to show', () => {
    expect(shown('')).toBe(`upgrade.yaml:1:1: error: the file is empty
  = begin with: apiVersion: upgrade.openeuler.org/v1alpha1
    then: kind: OS, metadata: with a name:, and spec: with the fields

1 error. Nothing was touched.`);
  });

  test('a name of a file cannot move the cursor', () => {
    expect(shown('', PLAIN, 'a\x1b[2Jb\nc.yaml')).toMatch(/^ab c\.yaml:1:1: error/);
  });

  test.each([40, 60, 80, 120])('no line is wider than %d columns, but for words that must not be broken', (columns) => {
    const spec = diskSpec({
      checksum: 'abc',
      osversion: 'v2',
      nodeselector: 'a=b',
      clientkey: '版本'.repeat(60),
      foo: '1',
    });
    for (const line of shown(spec, { ...PLAIN, columns }).split('\n')) {
      const longest = Math.max(...line.trim().split(' ').map(width));
      expect(width(line)).toBeLessThanOrEqual(Math.max(columns, longest + 8));
    }
  });

  test('a digest to be copied stays in one piece', () => {
    const digest = 'ab'.repeat(32);
    expect(shown(diskSpec({ checksum: `sha256:${digest}` }), { ...PLAIN, columns: 50 })).toContain(` ${digest}\n`);
  });

  test('in ASCII nothing else is shown', () => {
    const text = shown(diskSpec({ osversion: '"版本"', maxunavailable: `two # ${'…'.repeat(90)}` }), {
      ...PLAIN,
      ascii: true,
    });
    expect(text).toMatch(/^[\x20-\x7e\n]*$/);
  });

  test('colours repeat what words say', () => {
    const spec = `${HEAD}  osversion: 1\n`;
    const coloured = shown(spec, { ...PLAIN, colour: true });
    expect(coloured).not.toBe(shown(spec));
    expect(stripVTControlCharacters(coloured)).toBe(shown(spec));
  });
});
