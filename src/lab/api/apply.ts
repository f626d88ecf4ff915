import { isDeepStrictEqual } from 'node:util';
import { isObject, type Json, type JsonObject } from './objects.ts';
import { mergePatch } from './patch.ts';
import { ApiError } from './status-errors.ts';
import { mergeKeyOf, strategicMergePatch } from './strategic.ts';

/** What each field manager applied last, by the object's uid: all that server-side apply needs to know here. */
export class AppliedConfigs {
  readonly #byUid = new Map<string, Map<string, JsonObject>>();

  of(uid: string, manager: string): JsonObject | undefined {
    return this.#byUid.get(uid)?.get(manager);
  }

  others(uid: string, manager: string): [string, JsonObject][] {
    return [...(this.#byUid.get(uid) ?? [])].filter(([name]) => name !== manager);
  }

  record(uid: string, manager: string, config: JsonObject): void {
    const managers = this.#byUid.get(uid) ?? new Map<string, JsonObject>();
    this.#byUid.set(uid, managers.set(manager, config));
  }

  forget(uid: string): void {
    this.#byUid.delete(uid);
  }
}

export interface ApplyRequest {
  /** The object as it is; empty where apply makes it. */
  current: JsonObject;
  /** What is to hold. */
  config: JsonObject;
  /** What the same manager applied before. */
  last: JsonObject | undefined;
  others: readonly (readonly [string, JsonObject])[];
  force: boolean;
  /** Custom resources have no keyed lists. */
  custom: boolean;
}

/**
 * Server-side apply in small: the config's fields are set; fields that the same manager applied before and that are
 * gone from the config are removed, unless another manager applied them too; a field that another manager applied with
 * another value is a conflict (409) without `force`.
 */
export function serverSideApply(request: ApplyRequest): Json {
  const { current, config, last, others, force, custom } = request;
  if (!force) refuseConflicts(config, others);
  const patch = removals(
    last ?? {},
    config,
    others.map(([, applied]) => applied),
    custom,
  );
  const merge = custom ? mergePatch : strategicMergePatch;
  return merge(merge(current, patch), config);
}

function refuseConflicts(config: JsonObject, others: ApplyRequest['others']): void {
  const causes = others.flatMap(([manager, applied]) =>
    leaves(config)
      .filter(([path, value]) => {
        const theirs = leafAt(applied, path);
        return theirs !== undefined && !isDeepStrictEqual(theirs, value);
      })
      .map(([path]) => ({
        reason: 'FieldManagerConflict',
        message: `conflict with "${manager}"`,
        field: `.${path.join('.')}`,
      })),
  );
  if (causes.length === 0) return;
  const what = causes.map((cause) => `${cause.message}: ${cause.field}`).join(', ');
  const count = `${causes.length} conflict${causes.length === 1 ? '' : 's'}`;
  throw new ApiError(409, 'Conflict', `Apply failed with ${count}: ${what}`, { causes });
}

/** Every value that is not a map, with its path; lists count as one value. */
function leaves(value: JsonObject, path: readonly string[] = []): [readonly string[], Json][] {
  return Object.entries(value).flatMap(([key, inner]): [readonly string[], Json][] => {
    if (inner === undefined || (path.length === 0 && (key === 'apiVersion' || key === 'kind'))) return [];
    return isObject(inner) ? leaves(inner, [...path, key]) : [[[...path, key], inner]];
  });
}

function leafAt(value: JsonObject, path: readonly string[]): Json | undefined {
  let here: Json | undefined = value;
  for (const key of path) here = isObject(here) ? here[key] : undefined;
  return isObject(here) ? undefined : here;
}

/** The patch that removes what stood in `last` and stands neither in `config` nor with another manager. */
function removals(last: JsonObject, config: JsonObject, others: readonly JsonObject[], custom: boolean): JsonObject {
  const patch: JsonObject = {};
  for (const [key, was] of Object.entries(last)) {
    const is = config[key];
    const kept = others.map((other) => other[key]).filter((value) => value !== undefined);
    if (is === undefined) {
      if (kept.length === 0) patch[key] = null;
    } else if (isObject(was) && isObject(is)) {
      const inner = removals(was, is, kept.filter(isObject), custom);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!custom && Array.isArray(was) && Array.isArray(is)) {
      const gone = removedItems(key, was, is);
      if (gone.length > 0) patch[key] = gone;
    }
  }
  return patch;
}

function removedItems(field: string, was: readonly Json[], is: readonly Json[]): Json[] {
  const mergeKey = mergeKeyOf(field);
  if (mergeKey === undefined) return [];
  const ids = is.filter(isObject).map((item) => item[mergeKey]);
  return was
    .filter(isObject)
    .filter((item) => !ids.some((id) => isDeepStrictEqual(id, item[mergeKey])))
    .map((item) => ({ [mergeKey]: item[mergeKey], $patch: 'delete' }));
}
