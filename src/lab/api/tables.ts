import type { ResourceKind } from './kinds.ts';
import type { KubeObject } from './objects.ts';
import { COLUMNS, PLAIN_COLUMNS } from './table-cells.ts';

/** How much of each object stands in its row: `?includeObject=`. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

export interface TableRequest {
  /** `meta.k8s.io/v1`, or v1beta1 for old clients. */
  apiVersion: string;
  include: IncludeObject;
  now: number;
}

/** The Table that `kubectl get` prints. Without headings for all but the first event of a watch, as real servers do. */
export function asTable(
  kind: ResourceKind,
  objects: readonly KubeObject[],
  meta: object,
  request: TableRequest,
  headings = true,
): object {
  const columns = COLUMNS[kind.plural] ?? PLAIN_COLUMNS;
  const definitions = columns.map(({ name, type, priority }) => ({
    ...{ name, type, format: name === 'Name' ? 'name' : '', description: `${name} of the ${kind.kind}` },
    priority,
  }));
  return {
    kind: 'Table',
    apiVersion: request.apiVersion,
    metadata: meta,
    columnDefinitions: headings ? definitions : null,
    rows: objects.map((object) => ({
      cells: columns.map((column) => column.cell(object, request.now)),
      object: rowObject(object, request),
    })),
  };
}

function rowObject(object: KubeObject, request: TableRequest): object | null {
  if (request.include === 'None') return null;
  if (request.include === 'Object') return object;
  return { kind: 'PartialObjectMetadata', apiVersion: request.apiVersion, metadata: object.metadata };
}
