/** One kind of object that the lab's API serves. */
export interface ResourceKind {
  /** Empty for the core group. */
  group: string;
  /** The versions it is served in, the preferred one first. */
  versions: readonly [string, ...string[]];
  plural: string;
  singular: string;
  kind: string;
  shortNames: readonly string[];
  namespaced: boolean;
  categories: readonly string[];
  /** Has the subresource `status`, so that the object's own endpoint leaves the status alone. */
  hasStatus: boolean;
  /** Has the subresource `scale`. */
  hasScale: boolean;
  /** Counts changes of its spec in metadata.generation. */
  hasGeneration: boolean;
  /** Not built into kubectl: no strategic merge patch, as for every custom resource. */
  custom: boolean;
  /** A PUT may make it. */
  createOnUpdate: boolean;
}

/** All that one server of a certain version serves. */
export interface Catalog {
  /** `1.20` is 20. */
  minor: number;
  gitVersion: string;
  /** Those that are served now. */
  readonly kinds: readonly ResourceKind[];
  /** Begins or ceases to serve a custom kind, as its definition comes and goes. */
  serve(kind: ResourceKind, served: boolean): void;
  /** Any kind, served or not. */
  byName(plural: string): ResourceKind;
  find(group: string, version: string, plural: string): ResourceKind | undefined;
}

type Names = Pick<ResourceKind, 'plural' | 'singular' | 'kind'>;
type Traits = Partial<Omit<ResourceKind, keyof Names | 'group' | 'versions'>>;

/** What a server of this version (`v1.34.4`) serves; the verbs and short names are those of a real one. */
export function catalogOf(gitVersion: string): Catalog {
  const minor = Number(/^v1\.(\d+)\./.exec(gitVersion)?.[1]);
  if (!Number.isInteger(minor)) throw new Error(`not a Kubernetes version: ${gitVersion} (expected v1.N.N)`);
  const all = builtIn(minor);
  const hidden = new Set(all.filter((kind) => kind.custom));
  const find: Catalog['find'] = (group, version, plural) =>
    all.find(
      (kind) => kind.group === group && kind.plural === plural && kind.versions.includes(version) && !hidden.has(kind),
    );
  const byName = (plural: string): ResourceKind => {
    const found = all.find((kind) => kind.plural === plural);
    if (found === undefined) throw new Error(`the lab serves no ${plural}`);
    return found;
  };
  const serve = (kind: ResourceKind, served: boolean): void => {
    if (served) hidden.delete(kind);
    else hidden.add(kind);
  };
  return {
    ...{ minor, gitVersion, find, byName, serve },
    get kinds() {
      return all.filter((kind) => !hidden.has(kind));
    },
  };
}

function builtIn(minor: number): ResourceKind[] {
  return [
    define('', 'v1', names('Namespace'), { shortNames: ['ns'], namespaced: false, hasStatus: true }),
    define('', 'v1', names('Node'), { shortNames: ['no'], namespaced: false, hasStatus: true }),
    define('', 'v1', names('Pod'), { shortNames: ['po'], categories: ['all'], hasStatus: true }),
    define('', 'v1', names('Event'), { shortNames: ['ev'], createOnUpdate: true }),
    ...['DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'].map((kind) =>
      define('apps', 'v1', names(kind), {
        shortNames: [APPS_SHORT[kind] ?? ''],
        categories: ['all'],
        hasStatus: true,
        hasScale: kind !== 'DaemonSet',
        hasGeneration: true,
      }),
    ),
    define('coordination.k8s.io', 'v1', names('Lease'), { createOnUpdate: true }),
    define('policy', policyVersions(minor), names('PodDisruptionBudget'), {
      shortNames: ['pdb'],
      hasStatus: true,
      hasGeneration: true,
    }),
    define('apiextensions.k8s.io', 'v1', names('CustomResourceDefinition'), {
      shortNames: ['crd', 'crds'],
      namespaced: false,
      hasStatus: true,
      hasGeneration: true,
    }),
    define(
      'upgrade.openeuler.org',
      'v1alpha1',
      { plural: 'os', singular: 'os', kind: 'OS' },
      {
        hasStatus: true,
        hasGeneration: true,
        custom: true,
      },
    ),
  ];
}

/** Verbs of a kind, in the order in which discovery lists them. */
export const verbsOf = (kind: ResourceKind): string[] =>
  ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'].filter(
    (verb) => verb !== 'deletecollection' || kind.plural !== 'namespaces',
  );

export const apiVersionOf = (kind: ResourceKind, version: string = kind.versions[0]): string =>
  kind.group === '' ? version : `${kind.group}/${version}`;

/** `pods`, `deployments.apps`: how messages name a resource. */
export const qualified = (name: string, group: string): string => (group === '' ? name : `${name}.${group}`);

/** Seen on real servers: 1.20 has only v1beta1, 1.21 to 1.24 have both, newer ones only v1. */
function policyVersions(minor: number): readonly [string, ...string[]] {
  if (minor < 21) return ['v1beta1'];
  return minor < 25 ? ['v1', 'v1beta1'] : ['v1'];
}

const APPS_SHORT: Readonly<Record<string, string>> = {
  DaemonSet: 'ds',
  Deployment: 'deploy',
  ReplicaSet: 'rs',
  StatefulSet: 'sts',
};

function names(kind: string): Names {
  const singular = kind.toLowerCase();
  return { plural: `${singular}s`, singular, kind };
}

function define(
  group: string,
  versions: string | readonly [string, ...string[]],
  name: Names,
  traits: Traits,
): ResourceKind {
  return {
    ...name,
    group,
    versions: typeof versions === 'string' ? [versions] : versions,
    shortNames: [],
    namespaced: true,
    categories: [],
    hasStatus: false,
    hasScale: false,
    hasGeneration: false,
    custom: false,
    createOnUpdate: false,
    ...traits,
  };
}
