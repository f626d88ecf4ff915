import { nameToShow } from './locate.ts';
import { show, type Findings } from './findings.ts';
import type { LocatedSpec } from './locate.ts';
import { isSpecField, likelyMeant, SPEC_FIELDS, type SpecField } from './names.ts';
import type { Entry } from './nodes.ts';
import { isPlaceholder, isTemplateVariable } from './placeholders.ts';
import { specSchema, type SpecValues } from './schema.ts';
import type { Range } from './source-text.ts';
import { EXAMPLES, isOddlyWritten, oddNumberMessage, typeMessage } from './type-messages.ts';

/** The spec's fields, each found to be of the right type, with the place of each. */
export class SpecView {
  /** The fields that are there and of the right type; in a rollback only those that it heeds. */
  readonly values: SpecValues;
  readonly #located: LocatedSpec;

  constructor(values: SpecValues, located: LocatedSpec) {
    this.values = values;
    this.#located = located;
  }

  entry(field: SpecField): Entry | undefined {
    return this.#located.entries.get(field);
  }

  /** Where the field's value stands; where there is no such field, the spec itself. */
  at(field: SpecField): Range {
    return this.entry(field)?.at ?? this.#located.at;
  }

  /** The whole entry, `key: value`. */
  whole(field: SpecField): Range {
    const entry = this.entry(field);
    return entry === undefined ? this.#located.at : [entry.key[0], Math.max(entry.key[1], entry.at[1])];
  }

  lineOf(field: SpecField, findings: Findings): number {
    return findings.source.lineOf(this.at(field)[0]);
  }
}

/** In a rollback users change two fields and leave the rest, so of the rest only what it heeds is judged. */
const HEEDED_IN_ROLLBACK: ReadonlySet<SpecField> = new Set([
  'opstype',
  'osversion',
  'maxunavailable',
  'evictpodforce',
  'nodeselector',
  'executionmode',
]);

/** Optional fields: a missing one is no finding. The names of the image are looked at by themselves. */
const MANDATORY: readonly SpecField[] = [
  'imagetype',
  'opstype',
  'osversion',
  'maxunavailable',
  'imageurl',
  'checksum',
  'flagSafe',
  'mtls',
];

/** Judges each field by itself: its name, its presence, its type. What a misspelt one holds is judged as what was meant. */
export function readShape({ entries, at }: LocatedSpec, findings: Findings): SpecView {
  const located = { entries: new Map([...reportUnknown(entries, findings), ...entries]), at };
  reportMissing(located, findings);
  const given = Object.fromEntries(SPEC_FIELDS.map((field) => [field, located.entries.get(field)?.value]));
  const rollback = given['opstype'] === 'rollback';
  const values: Record<string, unknown> = { ...given };
  const wrong = wrongFields(given);
  for (const field of SPEC_FIELDS) {
    const entry = located.entries.get(field);
    const ignored = rollback && !HEEDED_IN_ROLLBACK.has(field);
    if (entry === undefined || ignored || reportField(field, entry, wrong.has(field), findings)) {
      // eslint-disable-next-line @typescript-eslint/no-dynamic-delete -- an absent key is what the rules ask for
      delete values[field];
    }
  }
  return new SpecView(values, located);
}

function wrongFields(given: Readonly<Record<string, unknown>>): ReadonlySet<PropertyKey | undefined> {
  const result = specSchema.safeParse(given);
  return new Set(result.success ? [] : result.error.issues.map((issue) => issue.path[0]));
}

/** Reports what is wrong with one field, at most one thing; tells whether there was something. */
function reportField(field: SpecField, entry: Entry, wrongType: boolean, findings: Findings): boolean {
  if (entry.value === undefined) {
    const mend = 'name it before, at the value it stands for: &name';
    findings.error('unknown-alias', entry.at, `${field} refers to an anchor that is not there`, mend);
  } else if (isPlaceholder(entry.value)) {
    const mend = `write your own value, for example: ${field}: ${EXAMPLES[field] ?? '""'}`;
    findings.error('placeholder', entry.at, `${field} still holds the sample's placeholder ${show(entry.raw)}`, mend);
  } else if (isTemplateVariable(entry.value) || startsTemplate(entry, findings)) {
    const mend = 'let the tool that fills in the template run first';
    findings.error('template', entry.at, `${field} holds a variable that was not filled in`, mend);
  } else if (field === 'opstype' && entry.value === 'config') {
    const mend = 'leave it to the KubeOS operator in the cluster; kubeos knows upgrade and rollback';
    findings.error(
      'opstype-config',
      entry.at,
      'opstype config changes settings of nodes, which kubeos does not do',
      mend,
    );
  } else if (wrongType) {
    const { message, mend } = typeMessage(field, entry);
    findings.error('type', entry.at, message, mend);
  } else if (field === 'maxunavailable' && isOddlyWritten(entry)) {
    const { message, mend } = oddNumberMessage(entry);
    findings.error('type', entry.at, message, mend);
  } else {
    return false;
  }
  return true;
}

/** `{{ version }}` without quotes is a map of a map to YAML. */
const startsTemplate = (entry: Entry, findings: Findings): boolean =>
  typeof entry.value === 'object' && findings.source.excerpt(entry.at).startsWith('{{');

/** Returns the fields that the unknown ones were likely meant to be. */
function reportUnknown(entries: LocatedSpec['entries'], findings: Findings): ReadonlyMap<SpecField, Entry> {
  const meantFields = new Map<SpecField, Entry>();
  for (const entry of entries.values()) {
    const { name, key } = entry;
    if (isSpecField(name)) continue;
    const meant = likelyMeant(name, SPEC_FIELDS);
    if (meant !== undefined && !meantFields.has(meant)) meantFields.set(meant, entry);
    const shown = name === '' ? 'a key that is not plain text' : `unknown field ${nameToShow(name)}`;
    const mend = meant === undefined ? 'remove it; KubeOS has no such field' : `did you mean ${meant}?`;
    findings.error('unknown-field', key, shown, mend);
  }
  return meantFields;
}

function reportMissing({ entries, at }: LocatedSpec, findings: Findings): void {
  const imagetype = entries.get('opstype')?.value === 'rollback' ? '' : entries.get('imagetype')?.value;
  const report = (field: SpecField): void => {
    const line = `${field}: ${lineValue(field, imagetype)}`;
    findings.error('missing-key', at, `${field} is missing`, `add the line: ${line}`);
  };
  for (const field of MANDATORY) if (!entries.has(field)) report(field);
  const names = [entries.get('dockerimage'), entries.get('containerimage')].filter((entry) => entry !== undefined);
  if (names.length === 0) report('dockerimage');
  const later = names.toSorted((one, other) => one.key[0] - other.key[0])[1];
  if (later !== undefined) {
    const message = 'dockerimage and containerimage are two names of the same field';
    findings.error('two-images', later.key, message, 'keep one of the two lines');
  }
}

/** What the missing line should say: `""` for what this kind of image does not need. */
function lineValue(field: SpecField, imagetype: unknown): string {
  const isImage = field === 'imageurl' || field === 'checksum';
  if (isImage && imagetype !== 'disk') return '""';
  if (field === 'dockerimage' && imagetype !== 'docker' && imagetype !== 'containerd') return '""';
  if (field === 'imagetype' && imagetype === '') return '""';
  return EXAMPLES[field] ?? '""';
}
