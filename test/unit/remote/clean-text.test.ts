import { describe, expect, it } from 'vitest';
import { cleanText } from '../../../src/remote/clean-text.ts';

describe('text of another machine', () => {
  it.each([
    ['keeps its line breaks and tabs', 'a\r\n\tb\n', 'a\n\tb\n'],
    ['loses controls', 'a\u001b[2Jb\u0007\u009bc', 'a[2Jbc'],
    ['loses marks that turn the direction of writing', 'a\u202eb\u2066c\u2069d\u200fe', 'abcde'],
    ['loses what is invisible, and line breaks that are none', 'a\u200bb\ufeffc\u2028d', 'abcd'],
    ['loses credentials in URLs', 'https://ann:secret@host/x', 'https://***@host/x'],
  ])('%s', (_what, text, expected) => {
    expect(cleanText(text)).toBe(expected);
  });
});
