import type { Pen } from './pen.ts';
import { padEnd, width, wrap } from './text.ts';
import { wrapUnbroken } from './unbroken.ts';

/** A label and what it says; `text` is made safe here. Text of several lines keeps them. */
export interface Field {
  label: string;
  text: string | readonly string[];
}

export interface Cell {
  text: string;
  paint?: (text: string) => string;
}

export interface TableColumn {
  header: string;
  align?: 'start' | 'end';
}

const GAP = '  ';
const NARROWEST_CELL = 8;

/** A line that is to be copied, and so stays in one piece: it is indented, or begins with a program that is told to run. */
const COMMAND = /^(?: |(?:kubectl|kubeos|ssh|ssh-keygen|ssh-keyscan) )/;

/**
 * Text behind a prefix, the following lines below its start. The first line of a text is wrapped; of the others only
 * those that are no command.
 */
export function hanging(prefix: string, text: string | readonly string[], pen: Pen): string[] {
  const indent = ' '.repeat(width(prefix));
  const lines = typeof text === 'string' ? pen.lines(text) : text.flatMap((part) => pen.lines(part));
  const room = pen.columns - indent.length;
  const wrapped = lines.flatMap((line, index) => (index > 0 && COMMAND.test(line) ? [line] : wrapUnbroken(line, room)));
  return wrapped.map((line, index) => (index === 0 ? prefix : indent) + line).map((line) => line.trimEnd());
}

const CONTINUED = '  ';

/** One line of text; where it is wrapped, the following lines are a little indented. */
export function paragraph(text: string, pen: Pen): string[] {
  const [first = '', ...rest] = wrapUnbroken(pen.line(text), pen.columns);
  const others = rest.length === 0 ? [] : wrapUnbroken(rest.join(' '), pen.columns - CONTINUED.length);
  return [first, ...others.map((line) => CONTINUED + line)];
}

/** A command to be copied, behind what leads to it: on a line of its own, never broken, where both do not fit on one. */
export function commandLines(lead: string, command: string, pen: Pen): string[] {
  const safe = pen.line(command);
  const together = `${lead} ${safe}`;
  return width(together) <= pen.columns ? [together] : [lead, CONTINUED + safe];
}

/** The label of the field whose commands people copy. */
const ADVICE = 'next';

/** `label  text` lines, one below the other, indented; fields without text are left out. */
export function fields(entries: readonly (Field | undefined)[], indent: number, pen: Pen): string[] {
  const present = entries.filter((entry) => entry !== undefined).filter((entry) => entry.text.length > 0);
  const labelWidth = Math.max(0, ...present.map((entry) => entry.label.length));
  return present.flatMap(({ label, text }) => {
    const shown = label === ADVICE ? [text].flat().map(pen.advice) : text;
    return hanging(`${' '.repeat(indent)}${padEnd(label, labelWidth)}${GAP}`, shown, pen);
  });
}

/** A field, or nothing where there is no text. */
export const field = (label: string, text: string | readonly string[] | undefined): Field | undefined =>
  text === undefined || text.length === 0 ? undefined : { label, text };

/**
 * A table with its headers. Where it is wider than the screen the widest columns become narrower and their cells are
 * wrapped: nothing is cut. A last column without any text is left out.
 */
export function table(
  columns: readonly TableColumn[],
  rows: readonly (readonly Cell[])[],
  pen: Pen,
  indent = 0,
): string[] {
  const last = columns.length - 1;
  const used = rows.some((row) => (row[last]?.text ?? '') !== '') ? columns : columns.slice(0, last);
  const safe = rows.map((row) => row.map((cell) => ({ ...cell, text: pen.line(cell.text) })));
  const widths = columnWidths(used, safe, pen.columns - indent);
  const header = used.map((column): Cell => ({ text: column.header, paint: pen.dim }));
  return [header, ...safe].flatMap((row) => tableRow(used, row, widths, ' '.repeat(indent)));
}

function columnWidths(columns: readonly TableColumn[], rows: readonly (readonly Cell[])[], room: number): number[] {
  const widths = columns.map((column, index) =>
    Math.max(width(column.header), ...rows.map((row) => width(row[index]?.text ?? ''))),
  );
  const gaps = GAP.length * (columns.length - 1);
  let excess = sum(widths) + gaps - room;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    const present = widths[widest] ?? 0;
    if (present <= NARROWEST_CELL) break;
    widths[widest] = present - 1;
    excess -= 1;
  }
  return widths;
}

function tableRow(
  columns: readonly TableColumn[],
  row: readonly Cell[],
  widths: readonly number[],
  indent: string,
): string[] {
  const cells = columns.map((_, index) => wrap(row[index]?.text ?? '', widths[index] ?? 0));
  const height = Math.max(...cells.map((lines) => lines.length));
  return Array.from({ length: height }, (_, lineNumber) => {
    const lastUsed = cells.findLastIndex((lines) => (lines[lineNumber] ?? '') !== '');
    const parts = cells.slice(0, lastUsed + 1).map((lines, index) => {
      const text = lines[lineNumber] ?? '';
      const paint = row[index]?.paint ?? ((plain: string) => plain);
      const room = ' '.repeat(Math.max(0, (widths[index] ?? 0) - width(text)));
      const painted = text === '' ? '' : paint(text);
      if (columns[index]?.align === 'end') return room + painted;
      return index === lastUsed ? painted : painted + room;
    });
    return (indent + parts.join(GAP)).trimEnd();
  });
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
