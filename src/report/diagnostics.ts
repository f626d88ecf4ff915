import type { Diagnostic, ValidationResult } from '../validate/spec.ts';
import type { Display } from './display.ts';
import { penFor, type Pen } from './pen.ts';
import { plural, toAscii, truncate, width, wrap } from './text.ts';

/**
 * What was found in a spec, as lines: for each finding its place, what is wrong, the line with a caret below it and how
 * to mend it; then how many there are. No lines where nothing was found.
 */
export function renderDiagnostics(result: Pick<ValidationResult, 'file' | 'diagnostics'>, display: Display): string[] {
  const { file, diagnostics } = result;
  if (diagnostics.length === 0) return [];
  const pen = penFor(display);
  const blocks = diagnostics.flatMap((diagnostic) => [...block(file, diagnostic, display, pen), '']);
  return [...blocks, ...wrap(counts(diagnostics), display.columns)];
}

const SMALLEST_ROOM = 20;

function block(file: string, diagnostic: Diagnostic, display: Display, pen: Pen): string[] {
  const number = diagnostic.source === undefined ? '' : String(diagnostic.line ?? '');
  const bar = ' '.repeat(number === '' ? 2 : number.length + 3);
  return [...header(file, diagnostic, pen), ...quoted(diagnostic, number, display, pen), ...mend(diagnostic, bar, pen)];
}

const CONTINUED = '    ';

/** `file:line:column: error: message`, as compilers print it and editors jump to. */
function header(file: string, { severity, line, column, message }: Diagnostic, pen: Pen): string[] {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const start = pen.line(`${place}:`);
  const label = `${severity}:`;
  const [first = '', ...others] = wrap(pen.line(`${start} ${label} ${message}`), room(pen.columns, ''));
  const rest = others.length === 0 ? [] : wrap(others.join(' '), room(pen.columns, CONTINUED));
  const plain = `${start} ${label}`;
  const painted = first.startsWith(plain)
    ? `${pen.bold(start)} ${painter(severity, pen)(label)}${first.slice(plain.length)}`
    : first;
  return [painted, ...rest.map((text) => CONTINUED + text)];
}

/** The file's line and, below it, the caret; a line wider than the screen is shortened around the caret. */
function quoted(diagnostic: Diagnostic, number: string, display: Display, pen: Pen): string[] {
  const { source, column = 1, length = 1, severity } = diagnostic;
  if (source === undefined) return [];
  const safe = (text: string): string => visible(text, display.ascii);
  const parts = around(
    safe(source.slice(0, column - 1)),
    safe(source.slice(column - 1, column - 1 + length)),
    safe(source.slice(column - 1 + length)),
    room(display.columns, `  ${number} | `),
    pen.symbols.ellipsis,
  );
  const caret = ' '.repeat(width(parts.before)) + painter(severity, pen)('^'.repeat(Math.max(1, width(parts.marked))));
  const text = (parts.before + parts.marked + parts.after).trimEnd();
  return [`  ${number} | ${text}`, `  ${' '.repeat(number.length)} | ${caret}`];
}

function mend(diagnostic: Diagnostic, bar: string, pen: Pen): string[] {
  if (diagnostic.mend === undefined) return [];
  const prefix = `${bar}= `;
  const lines = pen.lines(diagnostic.mend).flatMap((line) => {
    // What is to be copied is not broken in the middle of a word.
    const longest = Math.max(...line.split(' ').map(width));
    return wrap(line, Math.max(room(pen.columns, prefix), longest));
  });
  return lines.map((line, index) => (index === 0 ? prefix : ' '.repeat(prefix.length)) + line);
}

interface Parts {
  before: string;
  marked: string;
  after: string;
}

function around(before: string, marked: string, after: string, columns: number, ellipsis: string): Parts {
  if (width(before + marked + after) <= columns) return { before, marked, after };
  const head = width(before) > columns / 2 ? ellipsis + lastColumns(before, Math.floor(columns / 3)) : before;
  const shownMark = truncate(marked, columns - width(head), ellipsis);
  const left = columns - width(head) - width(shownMark);
  return { before: head, marked: shownMark, after: truncate(after, left, ellipsis) };
}

function lastColumns(text: string, columns: number): string {
  let kept = '';
  let used = 0;
  // Far more characters than fit on any screen are not even looked at.
  for (const character of Array.from(text.slice(-4 * columns)).reverse()) {
    used += width(character);
    if (used > columns) break;
    kept = character + kept;
  }
  return kept;
}

/** Every character that is there stays visible, in one column at least, so that the caret stands where it should. */
function visible(text: string, ascii: boolean): string {
  const shown = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => (character === '\t' ? ' ' : '\ufffd'));
  return ascii ? toAscii(shown) : shown;
}

/** `3 errors, 1 warning. Nothing was touched.` */
function counts(diagnostics: readonly Diagnostic[]): string {
  const count = (severity: Diagnostic['severity']): number =>
    diagnostics.filter((diagnostic) => diagnostic.severity === severity).length;
  const errors = count('error');
  const parts = (['error', 'warning', 'note'] as const)
    .filter((severity) => count(severity) > 0)
    .map((severity) => plural(count(severity), severity));
  return errors > 0 ? `${parts.join(', ')}. Nothing was touched.` : `No errors, ${parts.join(', ')}.`;
}

function painter(severity: Diagnostic['severity'], pen: Pen): (text: string) => string {
  switch (severity) {
    case 'error':
      return pen.bad;
    case 'warning':
      return pen.warn;
    case 'note':
      return pen.dim;
  }
}

const room = (columns: number, prefix: string): number => Math.max(SMALLEST_ROOM, columns - prefix.length);
