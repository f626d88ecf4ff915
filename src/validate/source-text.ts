import { LineCounter } from 'yaml';
import { maskUrls } from './redact.ts';

/** A part of the text, as offsets: from the first up to, not including, the second. */
export type Range = readonly [start: number, end: number];

/** Where a range stands, as a Diagnostic wants it. */
export interface Mark {
  line: number;
  column: number;
  length: number;
  source?: string;
}

/** A line longer than this is no line that a person wrote: it is not quoted. */
const LONGEST_QUOTED_LINE = 8192;

/** The file's text, and where each offset stands in it. */
export class SourceText {
  readonly text: string;
  readonly #lines = new LineCounter();
  readonly #masked = new Map<number, string>();
  #spaces: readonly number[] = [];

  constructor(text: string) {
    this.text = text;
    this.#lines.addNewLine(0);
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#lines.addNewLine(at + 1);
  }

  /** From now on offsets are those of the text as it would be with a space put in at each of these, in order. */
  readWithSpacesAt(offsets: readonly number[]): void {
    this.#spaces = offsets.map((offset, index) => offset + index);
  }

  /** Marks the range, or of several lines the part on its first one. Offsets beyond the end mean the end. */
  mark([start, end]: Range): Mark {
    const from = this.#offset(start);
    const { line, col: column } = this.#lines.linePos(from);
    const lineEnd = this.#endOfLine(from);
    const length = Math.max(1, Math.min(this.#offset(end), lineEnd) - from);
    const lineStart = from - column + 1;
    const quoted = lineEnd > lineStart && lineEnd - lineStart <= LONGEST_QUOTED_LINE;
    return { line, column, length, ...(quoted ? { source: this.#maskedLine(lineStart, lineEnd) } : {}) };
  }

  /** The line, from 1, that holds the offset. */
  lineOf(offset: number): number {
    return this.#lines.linePos(this.#offset(offset)).line;
  }

  /** The text of the range as it stands in the file. */
  excerpt([start, end]: Range): string {
    return this.text.slice(this.#offset(start), this.#offset(end));
  }

  #offset(given: number): number {
    const spacesBefore = this.#spaces.filter((space) => space < given).length;
    return Math.min(Math.max(given - spacesBefore, 0), this.text.length);
  }

  #endOfLine(offset: number): number {
    const found = this.text.indexOf('\n', offset);
    const end = found < 0 ? this.text.length : found;
    return end > offset && this.text[end - 1] === '\r' ? end - 1 : end;
  }

  #maskedLine(start: number, end: number): string {
    const known = this.#masked.get(start);
    if (known !== undefined) return known;
    const masked = maskUrls(this.text.slice(start, end));
    this.#masked.set(start, masked);
    return masked;
  }
}
