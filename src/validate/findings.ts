import { redactUrls } from './redact.ts';
import type { Range, SourceText } from './source-text.ts';
import type { Diagnostic } from './spec.ts';

/** More than a person reads; a real spec has some 20 fields. */
const MOST_SHOWN = 50;

/** Collects what is found in one file, in any order; everything that is quoted is redacted here. */
export class Findings {
  readonly source: SourceText;
  readonly #found: Diagnostic[] = [];

  constructor(source: SourceText) {
    this.source = source;
  }

  error(rule: string, range: Range, message: string, mend: string): void {
    this.#add('error', rule, range, message, mend);
  }

  warning(rule: string, range: Range, message: string, mend: string): void {
    this.#add('warning', rule, range, message, mend);
  }

  note(rule: string, range: Range, message: string): void {
    this.#add('note', rule, range, message);
  }

  get errors(): readonly Diagnostic[] {
    return this.#found.filter((diagnostic) => diagnostic.severity === 'error');
  }

  /** All of it in the order of the file; of very many the first ones, and how many more there are. */
  list(): readonly Diagnostic[] {
    const sorted = this.#found.toSorted(byPosition);
    const next = sorted[MOST_SHOWN];
    if (next === undefined) return sorted;
    const shown = sorted.slice(0, MOST_SHOWN);
    // A warning may be left out, but never the fact that there are errors.
    const severity = this.errors.length > 0 ? 'error' : next.severity;
    const more = `${sorted.length - MOST_SHOWN} more findings are not shown`;
    return [...shown, { ...next, severity, rule: 'too-many', message: more, mend: 'mend those above first' }];
  }

  #add(severity: Diagnostic['severity'], rule: string, range: Range, message: string, mend?: string): void {
    this.#found.push({
      severity,
      rule,
      ...this.source.mark(range),
      message: redactUrls(message),
      ...(mend === undefined ? {} : { mend: redactUrls(mend) }),
    });
  }
}

const byPosition = (one: Diagnostic, other: Diagnostic): number =>
  (one.line ?? 0) - (other.line ?? 0) || (one.column ?? 0) - (other.column ?? 0);

/** A value as a message quotes it: in quotes, redacted, on one line, short. */
export function show(value: string): string {
  const safe = redactUrls(value);
  const short = safe.length > LONGEST_SHOWN ? `${safe.slice(0, LONGEST_SHOWN)}…` : safe;
  return JSON.stringify(short);
}

const LONGEST_SHOWN = 48;
