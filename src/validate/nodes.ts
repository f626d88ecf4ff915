import {
  isAlias,
  isCollection,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  type Alias,
  type Node,
  type YAMLMap,
} from 'yaml';
import type { YamlDocument } from './parse.ts';
import type { Range } from './source-text.ts';

/** One entry of a map in the file, aliases and merges (`<<`) already followed. */
export interface Entry {
  name: string;
  key: Range;
  /** Where its value stands; the key where it has none. */
  at: Range;
  /** A scalar's value; for collections an empty array or object, since no field that is read has one. */
  value: unknown;
  /** A scalar as it is written, without its quotes. */
  raw: string;
  node: Node | undefined;
}

/** What an alias stands for; undefined where its anchor is not there. */
export type Follow = (node: unknown) => Node | undefined;

/** One walk over the document, since asking each alias by itself would be a walk each; deep nesting costs no stack. */
export function followAliases(document: YamlDocument): Follow {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node | undefined>();
  const waiting: unknown[] = [document.contents];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (isPair(next)) waiting.push(next.value, next.key);
    else if (isAlias(next)) targets.set(next, anchors.get(next.source));
    else if (isNode(next)) {
      if (next.anchor !== undefined) anchors.set(next.anchor, next);
      if (isCollection(next)) waiting.push(...next.items.toReversed());
    }
  }
  return (node) => {
    if (isAlias(node)) return targets.get(node);
    return isNode(node) ? node : undefined;
  };
}

/** The entries that the map has itself, in the order of the file; keys that are no plain text have no name. */
export function ownEntries(map: YAMLMap, follow: Follow): Entry[] {
  return map.items.map(({ key, value }) => {
    const keyRange = rangeOf(key) ?? rangeOf(map) ?? NOWHERE;
    const node = follow(value);
    const missing = isScalar(value) && value.value === null && value.source === '';
    const at = missing ? keyRange : (rangeOf(value) ?? keyRange);
    return { name: nameOf(key), key: keyRange, at, value: valueOf(node, value), raw: rawOf(node), node };
  });
}

/**
 * The map's entries with those that it merges, which come second to its own, and among themselves first come, first
 * served (https://yaml.org/type/merge.html). No map is merged twice, so neither loops nor bombs matter.
 */
export function allEntries(map: YAMLMap, follow: Follow): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  const seen = new Set<unknown>();
  const waiting: unknown[] = [map];
  while (waiting.length > 0) {
    const next = follow(waiting.pop());
    if (next === undefined || seen.has(next)) continue;
    seen.add(next);
    if (isSeq(next)) waiting.push(...next.items.toReversed());
    if (!isMap(next)) continue;
    const own = ownEntries(next, follow);
    for (const entry of own) if (entry.name !== MERGE && !entries.has(entry.name)) entries.set(entry.name, entry);
    for (const entry of own.toReversed())
      if (entry.name === MERGE && entry.node !== undefined) waiting.push(entry.node);
  }
  return entries;
}

export const MERGE = '<<';

export function rangeOf(node: unknown): Range | undefined {
  return isNode(node) && node.range ? [node.range[0], node.range[1]] : undefined;
}

const NOWHERE: Range = [0, 0];

function nameOf(key: unknown): string {
  if (!isScalar(key)) return '';
  if (typeof key.value === 'symbol') return MERGE;
  return typeof key.value === 'string' ? key.value : (key.source ?? '');
}

function valueOf(node: Node | undefined, written: unknown): unknown {
  if (node === undefined) return isAlias(written) ? undefined : null;
  if (isScalar(node)) return node.value;
  return isSeq(node) ? [] : {};
}

const rawOf = (node: Node | undefined): string => (isScalar(node) ? (node.source ?? '') : '');
