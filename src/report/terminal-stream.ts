import { stripVTControlCharacters } from 'node:util';
import type { OutputStream } from './display.ts';
import { width } from './text.ts';

/** The parts of a tty.WriteStream that move the cursor. */
export interface CursorStream extends OutputStream {
  cursorTo(column: number): boolean;
  moveCursor(columns: number, rows: number): boolean;
  clearLine(direction: -1 | 0 | 1): boolean;
  once(): void;
  removeListener(): void;
}

/**
 * A terminal that writes straight to the stream as it is now: whoever hooks the stream's own `write` later, as ora does
 * with standard error, does not see what is written here. It never asks for a drain, since a terminal's writes are
 * synchronous in Node.js.
 */
export function cursorStream(stream: OutputStream): CursorStream {
  const write = stream.write.bind(stream);
  const send = (text: string): boolean => {
    write(text);
    return true;
  };
  return {
    isTTY: true,
    get columns() {
      // 0 on a serial line, which knows no size (tty_ioctl(4)): ora would clear endless rows.
      return stream.columns || 80;
    },
    get rows() {
      return stream.rows || 24;
    },
    write: send,
    cursorTo: (column) => send(`\u001b[${column + 1}G`),
    moveCursor: (columns, rows) => send(horizontally(columns) + vertically(rows)),
    clearLine: (direction) => send(`\u001b[${{ '-1': 1, 0: 2, 1: 0 }[direction]}K`),
    once: () => undefined,
    removeListener: () => undefined,
  };
}

/** How many rows these lines take on a terminal that wraps them. */
export const reflowedRows = (lines: readonly string[], columns: number): number =>
  lines.reduce((rows, line) => rows + Math.max(1, Math.ceil(width(stripVTControlCharacters(line)) / columns)), 0);

const horizontally = (count: number): string => move(count, 'C', 'D');
const vertically = (count: number): string => move(count, 'B', 'A');

function move(count: number, forwards: string, backwards: string): string {
  if (count === 0) return '';
  return `\u001b[${Math.abs(count)}${count > 0 ? forwards : backwards}`;
}
