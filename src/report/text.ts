import { stripVTControlCharacters } from 'node:util';
import { redactUrls } from '../validate/redact.ts';

/**
 * Text from a node, a cluster or a spec as one safe line: escape sequences, control characters and marks that change the
 * direction of writing are gone, so that nothing foreign can move the cursor or disguise itself; URLs are redacted.
 */
export function cleanLine(text: string): string {
  return redactUrls(stripVTControlCharacters(text))
    .replace(/[\t\n\r\v\f\u2028\u2029]+/g, ' ')
    .replace(UNSAFE, '')
    .trimEnd();
}

/** The same for text of several lines; empty lines at either end are left out. */
export function cleanLines(text: string): string[] {
  const lines = text.split(/\r\n|\n|\r|\u2028|\u2029/).map(cleanLine);
  while (lines.at(-1) === '') lines.pop();
  while (lines[0] === '') lines.shift();
  return lines;
}

/** Typographic characters in their plain form; anything else beyond ASCII becomes `?`. */
export function toAscii(text: string): string {
  return text.replace(/[^\x20-\x7e\n]/gu, (character) => PLAIN.get(character) ?? '?');
}

/** How many columns of a terminal the text takes. Errs on the wide side, so that a line never overflows. */
export function width(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += characterWidth(character);
  return columns;
}

export const padEnd = (text: string, columns: number): string => text + ' '.repeat(Math.max(0, columns - width(text)));

export const padStart = (text: string, columns: number): string =>
  ' '.repeat(Math.max(0, columns - width(text))) + text;

/** At most `columns` wide; what is cut off is replaced by the ellipsis. */
export function truncate(text: string, columns: number, ellipsis: string): string {
  if (width(text) <= columns) return text;
  const end = width(ellipsis) <= columns ? ellipsis : '';
  return takeColumns(text, columns - width(end)).head + end;
}

/**
 * Breaks a line at spaces so that each part is at most `columns` wide; a longer word is broken where it must be. Spaces
 * at the start and between words that stay together are kept. Always at least one part.
 */
export function wrap(text: string, columns: number): string[] {
  const room = Math.max(1, columns);
  if (width(text) <= room) return [text];
  const lines: string[] = [];
  let line = '';
  for (const [, gap = '', word = ''] of text.matchAll(/( *)([^ ]+)/g)) {
    if (width(line + gap + word) <= room) {
      line += gap + word;
      continue;
    }
    if (line !== '') lines.push(line);
    const start = lines.length === 0 && gap.length < room ? gap : '';
    const parts = breakWord(start + word, room);
    lines.push(...parts.slice(0, -1));
    line = parts.at(-1) ?? '';
  }
  return [...lines, line];
}

/** `1 node`, `4 nodes`. */
export const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

// Controls, and what shows nothing itself: zero-width, bidirectional and tag marks, soft hyphens, the byte order mark.
const UNSAFE = /[\p{Cc}\p{Cf}]/gu;

const PLAIN: ReadonlyMap<string, string> = new Map([
  ['…', '...'],
  ['–', '-'],
  ['—', '-'],
  ['‘', "'"],
  ['’', "'"],
  ['“', '"'],
  ['”', '"'],
  ['×', 'x'],
  ['→', '->'],
  ['\u00a0', ' '],
]);

function breakWord(word: string, room: number): string[] {
  const parts: string[] = [];
  let rest = word;
  while (width(rest) > room) {
    const { head, tail } = takeColumns(rest, room);
    parts.push(head);
    rest = tail;
  }
  return [...parts, rest];
}

/** As much of the start as fits, but at least one character where `columns` is at least 1, so that loops end. */
function takeColumns(text: string, columns: number): { head: string; tail: string } {
  let head = '';
  let used = 0;
  for (const character of text) {
    const next = characterWidth(character);
    if (used + next > columns && (head !== '' || columns < 1)) break;
    head += character;
    used += next;
  }
  return { head, tail: text.slice(head.length) };
}

/** Unicode's East Asian Width (UAX #11) in coarse ranges; emoji and what a variation selector turns into one are wide. */
function characterWidth(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x7f) return 1;
  if (code === 0xfe0f) return 1;
  if (/^[\p{Mn}\p{Me}\p{Cf}]$/u.test(character)) return 0;
  if (/^\p{Emoji_Presentation}$/u.test(character)) return 2;
  return WIDE.some(([from, to]) => code >= from && code <= to) ? 2 : 1;
}

const WIDE: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f],
  [0x2e80, 0x303e],
  [0x3041, 0x33ff],
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xa000, 0xa4cf],
  [0xa960, 0xa97f],
  [0xac00, 0xd7a3],
  [0xf900, 0xfaff],
  [0xfe30, 0xfe6f],
  [0xff00, 0xff60],
  [0xffe0, 0xffe6],
  [0x16fe0, 0x18dff],
  [0x1b000, 0x1b2ff],
  [0x1d300, 0x1d35f],
  [0x1f200, 0x1f2ff],
  [0x1f300, 0x1faff],
  [0x20000, 0x3fffd],
];
