import { isDeepStrictEqual } from 'node:util';
import { isObject, type Json, type JsonObject } from './objects.ts';
import { badRequest, unprocessable } from './status-errors.ts';

/** A JSON merge patch (RFC 7396): null removes, lists are replaced. Changes neither argument. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null || value === undefined) Reflect.deleteProperty(result, key);
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** A JSON patch (RFC 6902). A test that fails, or a path that is not there, is the 422 of a real server. */
export function jsonPatch(target: Json, operations: Json): Json {
  if (!Array.isArray(operations)) {
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  }
  let result = structuredClone(target);
  for (const operation of operations) {
    if (!isObject(operation)) throw unprocessable();
    result = applyOperation(result, operation);
  }
  return result;
}

function applyOperation(target: Json, operation: JsonObject): Json {
  const path = pointer(operation['path']);
  switch (operation['op']) {
    case 'add':
      return change(target, path, 'add', given(operation));
    case 'replace':
      read(target, path);
      return change(target, path, 'replace', given(operation));
    case 'remove':
      read(target, path);
      return change(target, path, 'remove');
    case 'move': {
      const from = pointer(operation['from']);
      const value = read(target, from);
      return change(change(target, from, 'remove'), path, 'add', value);
    }
    case 'copy':
      return change(target, path, 'add', structuredClone(read(target, pointer(operation['from']))));
    case 'test':
      if (!isDeepStrictEqual(lookUp(target, path) ?? null, operation['value'] ?? null)) throw unprocessable();
      return target;
    default:
      throw unprocessable();
  }
}

function given(operation: JsonObject): Json {
  if (operation['value'] === undefined) throw unprocessable();
  return operation['value'];
}

function pointer(path: Json | undefined): string[] {
  if (typeof path !== 'string' || (path !== '' && !path.startsWith('/'))) throw unprocessable();
  return path
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function lookUp(target: Json, path: readonly string[]): Json | undefined {
  let here: Json | undefined = target;
  for (const key of path) {
    if (Array.isArray(here)) here = here[indexIn(here, key)];
    else here = isObject(here) ? here[key] : undefined;
  }
  return here;
}

function read(target: Json, path: readonly string[]): Json {
  const found = lookUp(target, path);
  if (found === undefined) throw unprocessable();
  return found;
}

/** `target` is a copy of our own by now, so it may be changed in place. */
function change(target: Json, path: readonly string[], how: 'add' | 'replace' | 'remove', value: Json = null): Json {
  const key = path.at(-1);
  if (key === undefined) {
    if (how === 'remove') throw unprocessable();
    return value;
  }
  const parent = read(target, path.slice(0, -1));
  if (Array.isArray(parent)) {
    const index = how === 'add' && key === '-' ? parent.length : indexIn(parent, key);
    if (index > parent.length) throw unprocessable();
    parent.splice(index, how === 'add' ? 0 : 1, ...(how === 'remove' ? [] : [value]));
  } else if (isObject(parent)) {
    if (how === 'remove') Reflect.deleteProperty(parent, key);
    else parent[key] = value;
  } else throw unprocessable();
  return target;
}

function indexIn(list: readonly Json[], key: string): number {
  if (!/^(0|[1-9]\d*)$/.test(key)) throw unprocessable();
  const index = Number(key);
  if (index > list.length) throw unprocessable();
  return index;
}
