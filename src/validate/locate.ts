import { isMap, isScalar, isSeq, type YAMLMap } from 'yaml';
import { show, type Findings } from './findings.ts';
import { isSpecField, likelyMeant } from './names.ts';
import { allEntries, followAliases, ownEntries, rangeOf, MERGE, type Entry, type Follow } from './nodes.ts';
import type { YamlDocument } from './parse.ts';
import type { Range } from './source-text.ts';

/** The spec as it stands in the file: its entries, and where it begins. */
export interface LocatedSpec {
  entries: ReadonlyMap<string, Entry>;
  at: Range;
}

/** A map of the file that may be an OS, with its entries. */
interface Candidate {
  map: YAMLMap;
  follow: Follow;
  entries: ReadonlyMap<string, Entry>;
}

const API_VERSION = 'upgrade.openeuler.org/v1alpha1';
const TOP_KEYS = ['apiVersion', 'kind', 'metadata', 'spec', 'status'];
const SKELETON = `begin with: apiVersion: ${API_VERSION}\nthen: kind: OS, metadata: with a name:, and spec: with the fields`;

/** Finds the one OS in the file's documents, a List of one included; reports whatever else is there. */
export function locateSpec(documents: readonly YamlDocument[], findings: Findings): LocatedSpec | undefined {
  const candidates: Candidate[] = [];
  for (const document of documents) candidates.push(...candidatesOf(document, findings));
  const systems = candidates.filter((candidate) => isOs(candidate, findings));
  for (const other of systems.slice(1)) {
    const mend = 'keep one OS in each file, and give each file a command of its own';
    findings.error('second-os', other.entries.get('kind')?.at ?? start(other), 'a second OS in the file', mend);
  }
  const os = systems[0];
  if (os !== undefined) return specOf(os, findings);
  if (findings.errors.length === 0) {
    const empty = findings.source.text.trim() === '';
    findings.error('no-os', [0, 0], empty ? 'the file is empty' : 'the file holds no OS', SKELETON);
  }
  return undefined;
}

function candidatesOf(document: YamlDocument, findings: Findings): Candidate[] {
  const contents = document.contents as unknown;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  const follow = followAliases(document);
  if (!isMap(contents)) {
    const what = isSeq(contents) ? 'a list' : 'a single value';
    findings.error('not-an-os', rangeOf(contents) ?? [0, 0], `this is ${what}, not an OS`, SKELETON);
    return [];
  }
  const candidate = { map: contents, follow, entries: allEntries(contents, follow) };
  const kind = candidate.entries.get('kind')?.value;
  return kind === 'List' || kind === 'OSList' ? itemsOf(candidate, findings) : [candidate];
}

/** What `kubectl get os -o yaml` prints, where no name was given. */
function itemsOf(list: Candidate, findings: Findings): Candidate[] {
  const items = list.entries.get('items');
  const found = isSeq(items?.node) ? items.node.items.map(list.follow).filter((item) => isMap(item)) : [];
  if (found.length === 0) {
    const mend = 'if it comes from kubectl get os: name the namespace (-n), or -A to look everywhere';
    findings.error('empty-list', items?.key ?? start(list), 'the list holds no OS', mend);
  }
  return found.map((map) => ({ map, follow: list.follow, entries: allEntries(map, list.follow) }));
}

/** A map without a kind counts as an OS where anything else says that it is meant as one. */
function isOs({ map, entries, ...rest }: Candidate, findings: Findings): boolean {
  const kind = entries.get('kind');
  const looksLikeOne = entries.has('spec') || entries.get('apiVersion')?.value === API_VERSION;
  if (kind === undefined) {
    if (looksLikeOne) findings.error('kind', firstKey(map, rest.follow), 'kind is missing', 'add the line: kind: OS');
    else if (!isListOfFields(entries)) {
      findings.error('not-an-os', start({ map }), 'this is not an OS: it has no kind and no spec', SKELETON);
    }
    return looksLikeOne || isListOfFields(entries);
  }
  if (kind.value === 'OS') return true;
  const meant = typeof kind.value === 'string' && kind.value.toLowerCase() === 'os';
  const mend = meant || kind.raw === '' ? 'write: kind: OS' : 'keep other objects in files of their own';
  findings.error('kind', kind.at, `kind must be OS, not ${show(kind.raw)}`, mend);
  return meant;
}

const isListOfFields = (entries: ReadonlyMap<string, Entry>): boolean => [...entries.keys()].some(isSpecField);

function specOf(os: Candidate, findings: Findings): LocatedSpec | undefined {
  reportTwice(ownEntries(os.map, os.follow), findings);
  reportApiVersion(os, findings);
  const spec = os.entries.get('spec');
  const strays = [...os.entries.values()].filter(({ name }) => !TOP_KEYS.includes(name));
  if (!isMap(spec?.node)) {
    reportNoSpec(os, spec, strays, findings);
    return undefined;
  }
  for (const stray of strays) reportStray(stray, findings);
  reportTwice(ownEntries(spec.node, os.follow), findings);
  return { entries: allEntries(spec.node, os.follow), at: spec.key };
}

function reportApiVersion(os: Candidate, findings: Findings): void {
  const apiVersion = os.entries.get('apiVersion');
  if (apiVersion?.value === API_VERSION) return;
  const message = apiVersion === undefined ? 'apiVersion is missing' : `apiVersion must be ${API_VERSION}`;
  const mend = `${apiVersion === undefined ? 'add the line' : 'write'}: apiVersion: ${API_VERSION}`;
  findings.error('api-version', apiVersion?.at ?? firstKey(os.map, os.follow), message, mend);
}

function reportNoSpec(os: Candidate, spec: Entry | undefined, strays: readonly Entry[], findings: Findings): void {
  const misspelt = strays.find(({ name }) => likelyMeant(name, TOP_KEYS) === 'spec');
  if (spec === undefined && misspelt !== undefined) {
    reportStray(misspelt, findings);
    return;
  }
  const outside = strays.find(({ name }) => isSpecField(name));
  if (outside !== undefined) {
    const message = `${outside.name} and what follows must stand inside spec`;
    findings.error('outside-spec', outside.key, message, 'put them below spec: and indent each by two spaces');
  } else if (spec !== undefined && spec.value !== null) {
    findings.error('spec', spec.at, 'spec must be a map of fields', 'write each field as key: value, on its own line');
  } else {
    const message = spec === undefined ? 'spec is missing' : 'spec is empty';
    const fields = 'imagetype, opstype, osversion, maxunavailable, dockerimage, imageurl, checksum, flagSafe, mtls';
    findings.error('spec', spec?.key ?? firstKey(os.map, os.follow), message, `below spec: give ${fields}`);
  }
}

function reportStray({ name, key }: Entry, findings: Findings): void {
  if (isSpecField(name)) {
    const mend = 'move it below spec: and indent it like its other fields';
    findings.error('outside-spec', key, `${name} must stand inside spec`, mend);
    return;
  }
  const meant = likelyMeant(name, TOP_KEYS);
  const mend = meant === undefined ? `remove it; an OS has ${TOP_KEYS.join(', ')}` : `did you mean ${meant}?`;
  findings.error('unknown-field', key, `unknown field ${nameToShow(name)}`, mend);
}

/** A plain word as it is, anything else in quotes. */
export const nameToShow = (name: string): string => (/^[\w.-]{1,48}$/.test(name) ? name : show(name));

function reportTwice(entries: readonly Entry[], findings: Findings): void {
  const first = new Map<string, Entry>();
  for (const entry of entries) {
    const before = first.get(entry.name);
    if (before === undefined) first.set(entry.name, entry);
    else if (entry.name !== MERGE) {
      const message = `${nameToShow(entry.name)} is given twice (first on line ${findings.source.lineOf(before.key[0])})`;
      findings.error('duplicate-key', entry.key, message, 'keep one of the two');
    }
  }
}

const start = ({ map }: Pick<Candidate, 'map'>): Range => rangeOf(map) ?? [0, 0];

const firstKey = (map: YAMLMap, follow: Follow): Range => ownEntries(map, follow)[0]?.key ?? start({ map });
