import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cleanLine,
  cleanLines,
  padEnd,
  padStart,
  plural,
  toAscii,
  truncate,
  width,
  wrap,
} from '../../../src/report/text.ts';
import { bytes, bytesOf, duration, percent, roughDuration, shortDigest, speed } from '../../../src/report/units.ts';

/** Every UTF-16 code unit, halves of pairs included; fast-check's own `binary` takes seconds to prepare. */
const anyCharacter = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));

describe('foreign text', () => {
  it.each([
    ['colours', '\u001b[31mred\u001b[0m', 'red'],
    ['cursor movement and wiping', 'a\u001b[2J\u001b[1;1Hb', 'ab'],
    ['a window title', '\u001b]0;evil\u0007b', 'b'],
    ['a link', '\u001b]8;;https://evil\u001b\\text\u001b]8;;\u001b\\', 'text'],
    ['a lone escape', 'a\u001bb', 'ab'],
    ['C1 controls', 'a\u009b2Jb', 'ab'],
    ['bells, NUL and backspace', 'a\u0007\u0000\bb', 'ab'],
    ['line breaks and tabs', 'a\r\nb\tc\u2028d', 'a b c d'],
    ['marks that turn the direction', 'a\u202eb\u2066c', 'abc'],
    ['zero-width spaces', 'wor\u200bker', 'worker'],
    ['tag characters', 'a\u{e0041}b', 'ab'],
    ['secrets of a URL', 'GET https://me:hunter2@host/x', 'GET https://***@host/x'],
    ['nothing unsafe', 'KubeOS 1.0.0 – größer', 'KubeOS 1.0.0 – größer'],
  ])('loses %s', (_what, text, expected) => {
    expect(cleanLine(text)).toBe(expected);
  });

  it('keeps its lines where it may have several', () => {
    expect(cleanLines('\n\na\r\n  b\u001b[1m\n\nc\n')).toEqual(['a', '  b', '', 'c']);
  });

  it('has an ASCII form', () => {
    expect(toAscii('“a” … b – c’s 日')).toBe('"a" ... b - c\'s ?');
  });

  it('is one safe line, whatever it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: anyCharacter }), (text) => {
        expect(cleanLine(text)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
        expect(toAscii(cleanLine(text))).toMatch(/^[\x20-\x7e]*$/);
      }),
    );
  });
});

describe('the width of text', () => {
  it.each([
    ['abc', 3],
    ['größer', 6],
    ['e\u0301', 1],
    ['日本', 4],
    ['✓…⠋', 3],
    ['👍', 2],
    ['❤\ufe0f', 2],
    ['', 0],
  ])('%s is %i columns', (text, columns) => {
    expect(width(text)).toBe(columns);
  });

  it('pads and cuts by columns, not by characters', () => {
    expect(padEnd('日', 4)).toBe('日  ');
    expect(padStart('日', 4)).toBe('  日');
    expect(truncate('日本語', 5, '…')).toBe('日本…');
    expect(truncate('日本語', 4, '…')).toBe('日…');
    expect(truncate('worker-1', 4, '...')).toBe('w...');
    expect(truncate('worker-1', 2, '...')).toBe('wo');
    expect(truncate('worker-1', 8, '…')).toBe('worker-1');
  });
});

describe('wrapping', () => {
  it.each([
    ['one two three', 7, ['one two', 'three']],
    ['  indented text', 10, ['  indented', 'text']],
    ['abcdefghij', 4, ['abcd', 'efgh', 'ij']],
    ['ab abcdefghij', 4, ['ab', 'abcd', 'efgh', 'ij']],
    ['a  b   c', 5, ['a  b', 'c']],
    ['', 5, ['']],
    ['fits', 4, ['fits']],
  ])('%j in %i columns', (text, columns, expected) => {
    expect(wrap(text, columns)).toEqual(expected);
  });

  it('loses no character but spaces, and is never too wide', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), fc.integer({ min: 1, max: 30 }), (text, columns) => {
        const lines = wrap(text, columns);
        expect(lines.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
        for (const line of lines) expect(width(line)).toBeLessThanOrEqual(columns);
      }),
    );
  });
});

describe('numbers with their units', () => {
  it.each([
    [-5, '0s', '0s'],
    [999, '0s', '0s'],
    [48_000, '48s', '48s'],
    [62_000, '1m 02s', '1m'],
    [600_000, '10m 00s', '10m'],
    [3_599_999, '59m 59s', '59m'],
    [7_500_000, '2h 05m', '2h'],
    [90_000_000, '1d 01h', '1d'],
  ])('%i ms is %s, roughly %s', (ms, exact, rough) => {
    expect(duration(ms)).toBe(exact);
    expect(roughDuration(ms)).toBe(rough);
  });

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 KiB'],
    [3_500, '3.4 KiB'],
    [12 * 1024 ** 2, '12 MiB'],
    [1023 * 1024 ** 2, '1.0 GiB'],
    [2 * 1024 ** 3, '2.0 GiB'],
    [9.96 * 1024 ** 3, '10 GiB'],
    [5 * 1024 ** 4, '5.0 TiB'],
  ])('%i bytes are %s', (count, text) => {
    expect(bytes(count)).toBe(text);
  });

  it('shows a part in the unit of the whole', () => {
    expect(bytesOf(300 * 1024 ** 2, 2 * 1024 ** 3)).toBe('0.3 of 2.0 GiB');
    expect(bytesOf(0, 0)).toBe('0 of 0 B');
  });

  it('rounds a share down, so that 100% means all of it', () => {
    expect([percent(999, 1000), percent(1000, 1000), percent(1, 0), percent(5, 4)]).toEqual([
      '99%',
      '100%',
      '100%',
      '100%',
    ]);
  });

  it('names speeds, counts and digests', () => {
    expect(speed(118 * 1024 ** 2)).toBe('118 MiB/s');
    expect([plural(1, 'node'), plural(2, 'node'), plural(0, 'entry', 'entries')]).toEqual([
      '1 node',
      '2 nodes',
      '0 entries',
    ]);
    expect(shortDigest('9f2c40d1'.repeat(8))).toBe('9f2c40d1…9f2c40d1');
  });
});
