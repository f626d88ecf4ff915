import { apiVersionOf, verbsOf, type Catalog, type ResourceKind } from './kinds.ts';

interface ResourceEntry {
  name: string;
  singularName: string;
  namespaced: boolean;
  group?: string;
  version?: string;
  kind: string;
  verbs: string[];
  shortNames?: readonly string[];
  categories?: readonly string[];
}

/** Kinds that are only ever asked (created), never kept. */
const REVIEWS: Readonly<Record<string, readonly string[]>> = {
  'authorization.k8s.io/v1': ['SelfSubjectAccessReview', 'SelfSubjectRulesReview'],
  'authentication.k8s.io/v1': ['SelfSubjectReview'],
};

/** All groups but the core one, with their versions, the preferred one first. */
export function groupsOf(catalog: Catalog): Map<string, readonly string[]> {
  const groups = new Map<string, readonly string[]>();
  for (const kind of catalog.kinds) if (kind.group !== '') groups.set(kind.group, kind.versions);
  groups.set('authorization.k8s.io', ['v1']);
  // Seen on v1.27: `kubectl auth whoami` came with it; v1 of its group is served since 1.28.
  if (catalog.minor >= 28) groups.set('authentication.k8s.io', ['v1']);
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** GET /api */
export const coreVersions = (address: string): object => ({
  kind: 'APIVersions',
  versions: ['v1'],
  serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: address }],
});

/** GET /apis */
export const groupList = (catalog: Catalog): object => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: [...groupsOf(catalog)].map(([name, versions]) => group(name, versions)),
});

/** GET /apis/GROUP; undefined where there is no such group. */
export function groupOf(catalog: Catalog, name: string): object | undefined {
  const versions = groupsOf(catalog).get(name);
  return versions === undefined ? undefined : { kind: 'APIGroup', apiVersion: 'v1', ...group(name, versions) };
}

function group(name: string, versions: readonly string[]): object {
  const listed = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: listed, preferredVersion: listed[0] };
}

/** GET /api/v1 and /apis/GROUP/VERSION; undefined where there is no such version. */
export function resourceList(catalog: Catalog, groupName: string, version: string): object | undefined {
  const groupVersion = groupName === '' ? version : `${groupName}/${version}`;
  const resources = entries(catalog, groupName, version);
  if (resources.length === 0) return undefined;
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
}

function entries(catalog: Catalog, groupName: string, version: string): ResourceEntry[] {
  const kinds = catalog.kinds.filter((kind) => kind.group === groupName && kind.versions.includes(version));
  const reviews = REVIEWS[`${groupName}/${version}`] ?? [];
  return [
    ...kinds.flatMap((kind) => [entry(kind), ...subresources(catalog, kind)]),
    ...reviews.map((kind) => ({
      ...{ name: `${kind.toLowerCase()}s`, singularName: kind.toLowerCase(), namespaced: false, kind },
      verbs: ['create'],
    })),
  ].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const entry = (kind: ResourceKind): ResourceEntry => ({
  ...{ name: kind.plural, singularName: kind.singular, namespaced: kind.namespaced, kind: kind.kind },
  verbs: verbsOf(kind),
  ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
  ...(kind.categories.length === 0 ? {} : { categories: kind.categories }),
});

function subresources(catalog: Catalog, kind: ResourceKind): ResourceEntry[] {
  const under = (name: string, verbs: string[], of: Partial<ResourceEntry> = {}): ResourceEntry => ({
    ...{ name: `${kind.plural}/${name}`, singularName: '', namespaced: kind.namespaced, kind: kind.kind },
    ...of,
    verbs,
  });
  const evictionVersion = catalog.minor < 22 ? 'v1beta1' : 'v1';
  return [
    ...(kind.hasStatus ? [under('status', ['get', 'patch', 'update'])] : []),
    ...(kind.hasScale
      ? [under('scale', ['get', 'patch', 'update'], { group: 'autoscaling', version: 'v1', kind: 'Scale' })]
      : []),
    ...(kind.plural === 'pods'
      ? [under('eviction', ['create'], { group: 'policy', version: evictionVersion, kind: 'Eviction' })]
      : []),
  ];
}

/** GET /api or /apis for clients that ask for everything at once (APIGroupDiscoveryList, since 1.30 as v2). */
export function aggregated(catalog: Catalog, core: boolean): object {
  const groups: [string, readonly string[]][] = core ? [['', ['v1']]] : [...groupsOf(catalog)];
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map(([name, versions]) => ({
      metadata: name === '' ? {} : { name },
      versions: versions.map((version) => ({
        version,
        resources: aggregatedResources(entries(catalog, name, version)),
        freshness: 'Current',
      })),
    })),
  };
}

const kindOf = (one: ResourceEntry): object => ({ group: one.group ?? '', version: one.version ?? '', kind: one.kind });

function aggregatedResources(all: readonly ResourceEntry[]): object[] {
  return all
    .filter(({ name }) => !name.includes('/'))
    .map((one) => {
      const inner = all.filter(({ name }) => name.startsWith(`${one.name}/`));
      const subs = inner.map((sub) => ({
        subresource: sub.name.slice(one.name.length + 1),
        responseKind: kindOf(sub),
        verbs: sub.verbs,
      }));
      return {
        ...{ resource: one.name, responseKind: kindOf(one), scope: one.namespaced ? 'Namespaced' : 'Cluster' },
        ...{ singularResource: one.singularName, verbs: one.verbs, shortNames: one.shortNames },
        ...{ categories: one.categories, subresources: subs.length === 0 ? undefined : subs },
      };
    });
}

/** All apiVersions with the kinds that they hold. */
export const kindsByVersion = (catalog: Catalog): Map<string, ResourceKind[]> => {
  const found = new Map<string, ResourceKind[]>();
  for (const kind of catalog.kinds) {
    for (const version of kind.versions) {
      const apiVersion = apiVersionOf(kind, version);
      found.set(apiVersion, [...(found.get(apiVersion) ?? []), kind]);
    }
  }
  return found;
};
