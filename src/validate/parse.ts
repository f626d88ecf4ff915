import { Lexer, parseAllDocuments, type Document, type YAMLError } from 'yaml';
import type { Findings } from './findings.ts';
import { SPEC_FIELDS } from './names.ts';
import type { Range, SourceText } from './source-text.ts';
import { syntaxMessage } from './syntax-messages.ts';

export type YamlDocument = Document.Parsed;

/** A real spec has some 200; `yaml` takes seconds for some inputs of many more. */
const MOST_TOKENS = 20_000;
const MOST_SYNTAX_ERRORS = 3;
/** Errors inside one value; after any other the parser guesses how the lines belong together. */
const HARMLESS_TO_THE_REST: ReadonlySet<string> = new Set([
  'BAD_SCALAR_START',
  'BAD_DQ_ESCAPE',
  'BLOCK_AS_IMPLICIT_KEY',
]);
/** So many known keys on one line that is no flow map are no accident. */
const ENTRIES_OF_ONE_LINE = 3;
/** No more fields than an OS has. */
const MOST_GLUED = 30;
/** The keys that an OS is known by. */
const KNOWN_KEYS = ['apiVersion', 'kind', 'metadata', 'name', 'spec', ...SPEC_FIELDS];

/**
 * The YAML documents of the file; nothing where its syntax is broken, with the reason among the findings. A field
 * glued to its value (`mtls:true`) is reported and read as if the space were there, so that one look shows all mistakes.
 */
export function parseYaml(source: SourceText, findings: Findings): readonly YamlDocument[] | undefined {
  if (hasTooManyTokens(source.text)) {
    findings.error('too-complex', [0, 0], 'the file holds far more than a spec can', 'keep one OS alone in the file');
    return undefined;
  }
  const documents = parse(source.text);
  const errors = documents.flatMap((document) => document.errors);
  const broken = errors.length > 0 || documents.some(hasTextForSpec);
  if (broken && reportOneLine(source, findings)) return undefined;
  const glued = broken ? gluedFields(source.text) : [];
  if (glued.length > 0 && glued.length <= MOST_GLUED) return parseSpaced(source, glued, findings);
  return reportSyntax(errors, findings) ? undefined : documents;
}

/** A document without the complaint about keys given twice, which are looked for where they matter. */
function parse(text: string): YamlDocument[] {
  const options = { prettyErrors: false, uniqueKeys: false, merge: true, logLevel: 'silent' } as const;
  const documents = parseAllDocuments(text, options);
  return 'empty' in documents ? [] : documents;
}

function hasTooManyTokens(text: string): boolean {
  // The lexer does not look into quotes, where each wrong escape costs the parser as much as a token.
  if (text.split('\\', MOST_TOKENS).length === MOST_TOKENS) return true;
  const tokens = new Lexer().lex(text);
  for (let count = 0; count <= MOST_TOKENS; count += 1) if (tokens.next().done === true) return false;
  return true;
}

/** `spec:` whose fields all lack their space is one long text to YAML, not an error. */
const hasTextForSpec = (document: YamlDocument): boolean => typeof document.get('spec') === 'string';

interface GluedField {
  name: string;
  /** Offset behind the colon. */
  at: number;
  field: Range;
  mended: string;
}

const GLUED = new RegExp(String.raw`^[ \t]*(?:- )?((?:${KNOWN_KEYS.join('|')}):)([^\s:/].*)$`, 'gm');

function gluedFields(text: string): GluedField[] {
  return [...text.matchAll(GLUED)].map((match) => {
    const [line, key = '', value = ''] = match;
    const start = match.index + line.length - key.length - value.length;
    return {
      name: key.slice(0, -1),
      at: start + key.length,
      field: [start, match.index + line.trimEnd().length],
      mended: `${key} ${value}`,
    };
  });
}

function parseSpaced(
  source: SourceText,
  glued: readonly GluedField[],
  findings: Findings,
): readonly YamlDocument[] | undefined {
  for (const { name, field, mended } of glued) {
    findings.error('missing-space', field, `${name} lacks the space after its colon`, `write it: ${mended.trimEnd()}`);
  }
  const offsets = glued.map(({ at }) => at);
  source.readWithSpacesAt(offsets);
  const pieces = [0, ...offsets].map((start, index) => source.text.slice(start, offsets[index]));
  const documents = parse(pieces.join(' '));
  const errors = documents.flatMap((document) => document.errors);
  return reportSyntax(errors, findings) ? undefined : documents;
}

function reportSyntax(errors: readonly YAMLError[], findings: Findings): boolean {
  const lines = new Set<number>();
  for (const error of errors.toSorted(byPosition)) {
    const line = findings.source.lineOf(error.pos[0]);
    if (lines.has(line)) continue;
    lines.add(line);
    if (lines.size > MOST_SYNTAX_ERRORS) break;
    const { message, mend } = syntaxMessage(error, findings.source);
    findings.error('yaml-syntax', error.pos, message, mend);
    if (!HARMLESS_TO_THE_REST.has(error.code)) break;
  }
  return errors.length > 0;
}

const NAMED = new RegExp(String.raw`(?:^|\s)(?:${KNOWN_KEYS.join('|')}):(?=\s)`, 'g');

/** Of two at one place, the one that tells more. */
const byPosition = (one: YAMLError, other: YAMLError): number =>
  one.pos[0] - other.pos[0] ||
  Number(other.code === 'MULTILINE_IMPLICIT_KEY') - Number(one.code === 'MULTILINE_IMPLICIT_KEY');

/** The usage instructions' samples as their page prints them: every line break became a space. */
function reportOneLine(source: SourceText, findings: Findings): boolean {
  let start = 0;
  for (const line of source.text.split('\n')) {
    const entries = line.trimStart().startsWith('#') ? [] : [...line.matchAll(NAMED)];
    const second = entries[1];
    if (second !== undefined && entries.length >= ENTRIES_OF_ONE_LINE) {
      const at = start + second.index + second[0].length - second[0].trimStart().length;
      const message = 'the line breaks are lost: each field needs its own line';
      const mend = 'begin a new line here and at each further key; indent the fields of spec by two spaces';
      findings.error('one-line', [at, start + second.index + second[0].length], message, mend);
      return true;
    }
    start += line.length + 1;
  }
  return false;
}
