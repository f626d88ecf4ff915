import { stripVTControlCharacters } from 'node:util';
import type { OutputStream } from '../../../src/report/display.ts';

/**
 * A terminal small enough to trust: it understands the sequences that the report and ora send, fails on any other, and
 * scrolls. `scrolled` are the lines that left at the top.
 */
export class FakeTerminal implements OutputStream {
  readonly isTTY = true;
  readonly scrolled: string[] = [];
  columns: number;
  rows: number;
  cursorShown = true;
  #cells: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  /** All lines ever shown, as they stand now, without trailing empty ones. */
  get lines(): string[] {
    const lines = [...this.scrolled, ...this.#cells].map((line) => line.trimEnd());
    while (lines.at(-1) === '') lines.pop();
    return lines;
  }

  readonly write = (text: string): boolean => {
    for (const part of text.match(/\u001b\[\??[0-9;]*[A-Za-z]|\n|[^\u001b\n]+/g) ?? []) this.#take(part);
    return true;
  };

  #take(part: string): void {
    if (part === '\n') this.#lineFeed();
    else if (part.startsWith('\u001b[')) this.#control(part);
    else this.#print(stripVTControlCharacters(part));
  }

  #lineFeed(): void {
    this.#column = 0;
    this.#row += 1;
    this.#cells[this.#row] ??= '';
    if (this.#cells.length > this.rows) {
      this.scrolled.push(this.#cells.shift() ?? '');
      this.#row -= 1;
    }
  }

  #print(text: string): void {
    for (const character of text) {
      if (this.#column >= this.columns) this.#lineFeed();
      const line = (this.#cells[this.#row] ?? '').padEnd(this.#column);
      this.#cells[this.#row] = line.slice(0, this.#column) + character + line.slice(this.#column + 1);
      this.#column += 1;
    }
  }

  #control(sequence: string): void {
    const [, argument = '', command = ''] = /^\u001b\[(\??[0-9;]*)([A-Za-z])$/.exec(sequence) ?? [];
    const count = Number(argument);
    const line = this.#cells[this.#row] ?? '';
    if (argument === '?25') this.cursorShown = command === 'h';
    else if (argument === '?2026' || command === 'm') return;
    else if (command === 'G') this.#column = count - 1;
    else if (command === 'A') this.#row = Math.max(0, this.#row - count);
    else if (command === 'K' && count === 0) this.#cells[this.#row] = line.slice(0, this.#column);
    else if (command === 'J' && count === 0)
      this.#cells = [...this.#cells.slice(0, this.#row), line.slice(0, this.#column)];
    else throw new Error(`a sequence that this terminal does not know: ${JSON.stringify(sequence)}`);
  }
}
