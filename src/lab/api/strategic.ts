import { isDeepStrictEqual } from 'node:util';
import { isObject, type Json, type JsonObject } from './objects.ts';
import { badRequest } from './status-errors.ts';

/**
 * By which key the built-in kinds merge a list, from the patchMergeKey marks in Kubernetes' API types. Lists that are
 * not named here are replaced whole: a node's taints, for one, and a pod's tolerations.
 */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  addresses: 'type',
  conditions: 'type',
  containers: 'name',
  initContainers: 'name',
  ephemeralContainers: 'name',
  env: 'name',
  volumes: 'name',
  volumeMounts: 'mountPath',
  volumeDevices: 'devicePath',
  ports: 'containerPort',
  imagePullSecrets: 'name',
  hostAliases: 'ip',
  podIPs: 'ip',
  ownerReferences: 'uid',
  topologySpreadConstraints: 'topologyKey',
};

/** Lists of plain values that are merged as a set. */
const MERGED_VALUES: ReadonlySet<string> = new Set(['finalizers']);

const ORDER = '$setElementOrder/';
const DELETE_VALUES = '$deleteFromPrimitiveList/';

/** By which key a list of this name is merged; undefined where it is replaced whole. */
export const mergeKeyOf = (field: string): string | undefined => MERGE_KEYS[field];

/** A strategic merge patch, as kubectl sends it for built-in kinds. Changes neither argument. */
export function strategicMergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) {
    throw badRequest(
      'error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}',
    );
  }
  return mergeMap(isObject(target) ? target : {}, patch);
}

function mergeMap(target: JsonObject, patch: JsonObject): JsonObject {
  if (patch['$patch'] === 'delete') return {};
  const base = patch['$patch'] === 'replace' ? {} : retained(target, patch['$retainKeys']);
  const result: JsonObject = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith('$') || value === undefined) continue;
    if (value === null) Reflect.deleteProperty(result, key);
    else result[key] = mergeValue(key, result[key], value);
  }
  for (const [key, value] of Object.entries(patch)) {
    if (!Array.isArray(value)) continue;
    if (key.startsWith(DELETE_VALUES)) dropValues(result, key.slice(DELETE_VALUES.length), value);
    if (key.startsWith(ORDER)) reorder(result, key.slice(ORDER.length), value);
  }
  return result;
}

function mergeValue(field: string, target: Json | undefined, patch: Json): Json {
  if (isObject(patch)) return mergeMap(isObject(target) ? target : {}, patch);
  if (!Array.isArray(patch)) return patch;
  const old = Array.isArray(target) ? target : [];
  const mergeKey = MERGE_KEYS[field];
  if (mergeKey !== undefined) return mergeList(old, patch, mergeKey);
  if (MERGED_VALUES.has(field)) return [...old, ...patch.filter((value) => !old.includes(value))];
  return patch;
}

function mergeList(target: readonly Json[], patch: readonly Json[], mergeKey: string): Json[] {
  const replaces = patch.some((item) => isObject(item) && item['$patch'] === 'replace');
  const result: Json[] = replaces ? [] : [...target];
  for (const item of patch) {
    if (!isObject(item)) throw badRequest('unable to merge a list of objects with a list of values');
    if (item['$patch'] === 'replace') continue;
    const id = item[mergeKey];
    if (id === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    const index = result.findIndex((old) => isObject(old) && isDeepStrictEqual(old[mergeKey], id));
    const old = result[index];
    if (item['$patch'] === 'delete') {
      if (index >= 0) result.splice(index, 1);
    } else if (isObject(old)) result[index] = mergeMap(old, item);
    else result.push(mergeMap({}, item));
  }
  return result;
}

function retained(target: JsonObject, keep: Json | undefined): JsonObject {
  if (!Array.isArray(keep)) return target;
  return Object.fromEntries(Object.entries(target).filter(([key]) => keep.includes(key)));
}

function dropValues(result: JsonObject, field: string, values: readonly Json[]): void {
  const list = result[field];
  if (Array.isArray(list)) result[field] = list.filter((value) => !values.includes(value));
}

/** Named elements come in the given order; those that it does not name keep their place behind them. */
function reorder(result: JsonObject, field: string, order: readonly Json[]): void {
  const list = result[field];
  if (!Array.isArray(list)) return;
  const mergeKey = MERGE_KEYS[field];
  const idOf = (item: Json): Json | undefined => (mergeKey !== undefined && isObject(item) ? item[mergeKey] : item);
  const rank = (item: Json): number => {
    const found = order.findIndex((wanted) => isDeepStrictEqual(idOf(wanted), idOf(item)));
    return found < 0 ? order.length : found;
  };
  result[field] = [...list].sort((a, b) => rank(a) - rank(b));
}
