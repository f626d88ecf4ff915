import { kindsByVersion } from './discovery.ts';
import { apiVersionOf, type Catalog, type ResourceKind } from './kinds.ts';
import { field, message } from './protobuf.ts';

/**
 * kubectl asks the OpenAPI documents one thing before it creates or applies: does the PATCH of this kind take
 * `fieldValidation` and `dryRun`? (query_param_verifier in kubectl's resource package, by the extension
 * x-kubernetes-group-version-kind.) These documents answer that and describe no fields, so that kubectl falls back to
 * its built-in types for merges.
 */
const PARAMETERS = ['dryRun', 'fieldManager', 'fieldValidation', 'force'];

const PATCH_TYPES = ['application/apply-patch+yaml', 'application/json-patch+json', 'application/merge-patch+json'];

/** GET /openapi/v3: where each version's document is. */
export const openapiIndex = (catalog: Catalog): object => ({
  paths: Object.fromEntries(
    [...kindsByVersion(catalog).keys()].map((apiVersion) => {
      const path = pathOf(apiVersion);
      return [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${encodeURIComponent(catalog.gitVersion)}` }];
    }),
  ),
});

/** GET /openapi/v3/PATH; undefined where there is no such version. */
export function openapiV3(catalog: Catalog, path: string): object | undefined {
  const found = [...kindsByVersion(catalog)].find(([apiVersion]) => pathOf(apiVersion) === path);
  if (found === undefined) return undefined;
  const [apiVersion, kinds] = found;
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: catalog.gitVersion },
    paths: Object.fromEntries(
      kinds.map((kind) => [objectPath(kind, apiVersion), { patch: patchV3(kind, apiVersion) }]),
    ),
    components: { schemas: {} },
  };
}

const pathOf = (apiVersion: string): string => (apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`);

const objectPath = (kind: ResourceKind, apiVersion: string): string =>
  `/${pathOf(apiVersion)}/${kind.namespaced ? 'namespaces/{namespace}/' : ''}${kind.plural}/{name}`;

const versionOf = (apiVersion: string): string => apiVersion.split('/').at(-1) ?? apiVersion;

const patchV3 = (kind: ResourceKind, apiVersion: string): object => ({
  operationId: `patch${kind.kind}`,
  parameters: PARAMETERS.map((name) => ({
    name,
    in: 'query',
    schema: { type: name === 'force' ? 'boolean' : 'string' },
  })),
  requestBody: { content: Object.fromEntries(PATCH_TYPES.map((type) => [type, { schema: { type: 'object' } }])) },
  responses: { '200': { description: 'OK' } },
  'x-kubernetes-action': 'patch',
  'x-kubernetes-group-version-kind': { group: kind.group, version: versionOf(apiVersion), kind: kind.kind },
});

/** GET /openapi/v2, which kubectl reads as protobuf only (gnostic's OpenAPIv2 messages). */
export function openapiV2(catalog: Catalog): Buffer {
  const paths = catalog.kinds.flatMap((kind) =>
    kind.versions.map((version) => {
      const item = field(8, patchV2(kind, version));
      return field(2, message(field(1, objectPath(kind, apiVersionOf(kind, version))), field(2, item)));
    }),
  );
  const info = message(field(1, 'Kubernetes'), field(2, catalog.gitVersion));
  return message(field(1, '2.0'), field(2, info), field(8, message(...paths)));
}

function patchV2(kind: ResourceKind, version: string): Buffer {
  const parameters = PARAMETERS.map((name) => {
    const query = message(field(2, 'query'), field(4, name), field(6, 'string'));
    // Wrapped thrice: a parameter, that is no body, that is a query parameter.
    return field(8, field(1, field(2, field(3, query))));
  });
  const yaml = `group: "${kind.group}"\nkind: ${kind.kind}\nversion: ${version}\n`;
  const extension = message(field(1, 'x-kubernetes-group-version-kind'), field(2, field(2, yaml)));
  return message(field(5, `patch${kind.kind}`), ...parameters, field(13, extension));
}
