import type { Findings } from './findings.ts';
import type { SpecField } from './names.ts';
import { isPlaceholder } from './placeholders.ts';
import type { SpecView } from './shape.ts';

/** A note for each of the fields that says something which this kind of spec does not ask for. */
export function noteIgnored(view: SpecView, fields: readonly SpecField[], kind: string, findings: Findings): void {
  for (const field of fields) {
    if (view.values[field] === undefined || saysNothing(view.values[field])) continue;
    findings.note('ignored', view.whole(field), `${field} is ignored with ${kind}`);
  }
}

const NOT_FOR_ROLLBACK: readonly SpecField[] = [
  'imagetype',
  'dockerimage',
  'containerimage',
  'imageurl',
  'checksum',
  'flagSafe',
  'mtls',
  'cacert',
  'clientcert',
  'clientkey',
];

/** One note for all that a rollback ignores: users change two fields and leave the rest. A single one is pointed at. */
export function noteIgnoredByRollback(view: SpecView, findings: Findings): void {
  const entries = NOT_FOR_ROLLBACK.map((field) => ({ field, value: view.entry(field)?.value }));
  const ignored = entries.filter(({ value }) => !saysNothing(value));
  const [first, second] = ignored;
  if (first === undefined) return;
  const names = ignored.map(({ field, value }) =>
    isPlaceholder(value) ? `${field} (still the sample's placeholder)` : field,
  );
  const where = view.whole(second === undefined ? first.field : 'opstype');
  findings.note('ignored', where, `a rollback ignores ${names.join(', ')}`);
}

/** Values with which the mandatory fields say that they are not used. */
const saysNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || value === false;
