/** A container image by name. */
export interface NamedImage {
  name: string;
  /** The hex digits of its `@sha256:`. */
  digest?: string;
  /** The repository has capital letters: KubeOS's agent lets them pass, container engines do not. */
  upperCase: boolean;
}

export type ImageReference = NamedImage | { message: string; mend: string };

const LONGEST = 512;
const EXAMPLE = 'registry.example.com/kubeos/kubeos:2.0.0';

/**
 * Reads repository/name:tag or repository/name@sha256:digest. The letters are those of KubeOS's agent (its pattern in
 * manager/src/utils/container_image.rs), which refuses a tag and a digest together; a name without either would mean
 * `latest`, which says no version, and the usage instructions ask for a repository.
 */
export function readImageReference(field: string, value: string): ImageReference {
  const at = value.indexOf('@');
  const named = at < 0 ? value : value.slice(0, at);
  const components = named.split('/');
  const [name = '', ...tags] = (components.pop() ?? '').split(':');
  const problem = value.length > LONGEST ? `is longer than ${LONGEST} characters` : nameProblem(components, name, tags);
  if (problem !== undefined) {
    const mend = `write repository/name:tag, for example: ${field}: ${EXAMPLE}`;
    return { message: `${field} ${problem}`, mend };
  }
  const read = at < 0 ? tagged(field, value, tags[0]) : pinned(field, value, named, tags[0]);
  return 'message' in read ? read : { ...read, upperCase: hasCapitals([...components, name]) };
}

function nameProblem(components: readonly string[], name: string, tags: readonly string[]): string | undefined {
  if (/^[a-z]+:$/i.test(components[0] ?? '') && components[1] === '') return "is an image's name, not an address";
  if (!isComponent(name) || !components.every(isComponent)) return 'is not a valid image name';
  if (components.length === 0) return 'names no repository';
  return tags.length <= 1 && tags.every((tag) => /^\w[\w.-]{0,127}$/.test(tag)) ? undefined : 'has no valid tag';
}

/** Upstream would let a hyphen come first, too, which a container engine takes for an option. */
const isComponent = (component: string): boolean => /^\w[\w.-]*(?::\d+)?$/.test(component);

/** A registry, which may be a host's name in any case, has a dot or a port. */
const hasCapitals = (components: readonly string[]): boolean =>
  components.some((component, index) => /[A-Z]/.test(component) && (index > 0 || !/[.:]/.test(component)));

type Read = Omit<NamedImage, 'upperCase'> | { message: string; mend: string };

function tagged(field: string, value: string, tag: string | undefined): Read {
  if (tag !== undefined) return { name: value };
  const message = `${field} has neither a tag nor a digest`;
  return { message, mend: `say which version, for example: ${field}: ${value}:2.0.0` };
}

function pinned(field: string, value: string, named: string, tag: string | undefined): Read {
  const digest = /@sha256:([0-9a-f]{64})$/i.exec(value)?.[1]?.toLowerCase();
  if (digest === undefined || value.length !== named.length + '@sha256:'.length + digest.length) {
    const mend = `write: ${field}: ${named}@sha256: with the 64 hex digits`;
    return { message: `${field} has no valid digest behind the @`, mend };
  }
  if (tag === undefined) return { name: value, digest };
  const bare = named.slice(0, named.length - tag.length - 1);
  const message = `${field} has a tag and a digest, which KubeOS does not take together`;
  return { message, mend: `keep the digest, which is exact: ${field}: ${bare}@sha256:${digest}` };
}
