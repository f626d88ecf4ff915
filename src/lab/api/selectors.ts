import { badRequest } from './status-errors.ts';
import type { ResourceKind } from './kinds.ts';
import { at, isObject, type KubeObject } from './objects.ts';

export type Matcher = (object: KubeObject) => boolean;
type LabelTest = (labels: Readonly<Record<string, string>>) => boolean;

/** Reads `?labelSelector=`; throws the 400 of a real server where it cannot be read. */
export function labelMatcher(text: string): Matcher {
  const tests = splitTopLevel(text).map(labelTest);
  return (object) => {
    const labels = object.metadata.labels ?? {};
    return tests.every((test) => test(labels));
  };
}

/** Reads `?fieldSelector=` for a kind; an unknown field is refused, as by a real server. */
export function fieldMatcher(kind: ResourceKind, text: string): Matcher {
  const tests = text
    .split(',')
    .filter((term) => term !== '')
    .map((term) => fieldTest(kind, term));
  return (object) => tests.every((test) => test(object));
}

/**
 * Reads a LabelSelector as objects carry it (matchLabels, matchExpressions). An empty selector matches everything, a
 * missing one nothing, which is how policy/v1 budgets read it.
 */
export function selectorMatcher(selector: unknown): Matcher {
  if (!isObject(selector)) return () => false;
  const labels = Object.entries(isObject(selector['matchLabels']) ? selector['matchLabels'] : {});
  const expressions = Array.isArray(selector['matchExpressions']) ? selector['matchExpressions'] : [];
  const tests = [
    ...labels.map(
      ([key, value]): LabelTest =>
        (has) =>
          has[key] === value,
    ),
    ...expressions.map((expression): LabelTest => {
      const key = String(at(expression, 'key'));
      const values = at(expression, 'values');
      return setTest(
        key,
        String(at(expression, 'operator')).toLowerCase(),
        Array.isArray(values) ? values.map(String) : [],
      );
    }),
  ];
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

/** Commas inside parentheses belong to a set. */
function splitTopLevel(text: string): string[] {
  if (text.trim() === '') return [];
  const terms: string[] = [];
  let [depth, start] = [0, 0];
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '(') depth++;
    if (text[i] === ')') depth--;
    if (text[i] === ',' && depth === 0) {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  return [...terms, text.slice(start)].map((term) => term.trim());
}

const KEY = String.raw`[A-Za-z0-9](?:[A-Za-z0-9_./-]*[A-Za-z0-9])?`;
const VALUE = String.raw`[A-Za-z0-9_.-]*`;
const EQUALITY = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*(${VALUE})$`);
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const PRESENCE = new RegExp(`^(!?)\\s*(${KEY})$`);

function labelTest(term: string): LabelTest {
  const equality = EQUALITY.exec(term);
  if (equality !== null) {
    const [, key = '', operator, value = ''] = equality;
    return setTest(key, operator === '!=' ? 'notin' : 'in', [value]);
  }
  const set = SET.exec(term);
  if (set !== null) {
    const [, key = '', operator = '', values = ''] = set;
    const wanted = values.split(',').map((value) => value.trim());
    return setTest(key, operator, wanted);
  }
  const presence = PRESENCE.exec(term);
  if (presence !== null) return setTest(presence[2] ?? '', presence[1] === '!' ? 'doesnotexist' : 'exists', []);
  throw badRequest(`unable to parse requirement: found '${term}', expected: a label selector`);
}

function setTest(key: string, operator: string, values: readonly string[]): LabelTest {
  switch (operator) {
    case 'in':
      return (labels) => labels[key] !== undefined && values.includes(labels[key]);
    case 'notin':
      return (labels) => labels[key] === undefined || !values.includes(labels[key]);
    case 'exists':
      return (labels) => labels[key] !== undefined;
    case 'doesnotexist':
      return (labels) => labels[key] === undefined;
    default:
      throw badRequest(`"${operator}" is not a valid label selector operator`);
  }
}

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  pods: [
    ...['spec.nodeName', 'spec.restartPolicy', 'spec.schedulerName', 'spec.serviceAccountName'],
    ...['status.phase', 'status.podIP', 'status.nominatedNodeName'],
  ],
  nodes: ['spec.unschedulable'],
  namespaces: ['status.phase'],
  events: [
    ...['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(
      (name) => `involvedObject.${name}`,
    ),
    ...['reason', 'reportingComponent', 'source', 'type'],
  ],
};

function fieldTest(kind: ResourceKind, term: string): Matcher {
  const parts = /^([^=!]+)(==|=|!=)(.*)$/s.exec(term);
  if (parts === null) throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
  const [, field = '', operator, value = ''] = parts;
  const known = ['metadata.name', 'metadata.namespace', ...(FIELDS[kind.plural] ?? [])];
  if (!known.includes(field)) throw badRequest(`field label not supported: ${field}`);
  const path = field.split('.');
  return (object) => {
    const found = at(object, ...path);
    const text = typeof found === 'string' || typeof found === 'boolean' ? String(found) : '';
    const missing = field === 'spec.unschedulable' && text === '' ? 'false' : text;
    return (missing === value) === (operator !== '!=');
  };
}
