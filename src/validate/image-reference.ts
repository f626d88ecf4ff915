/** A container image by name, or what is wrong with it. `digest` are the hex digits of its `@sha256:`. */
export type ImageReference = { name: string; digest?: string } | { message: string; mend: string };

const LONGEST = 512;
const EXAMPLE = 'registry.example.com/kubeos/kubeos:2.0.0';

/**
 * Reads repository/name:tag or repository/name@sha256:digest. The letters are those of KubeOS's agent (its pattern in
 * manager/src/utils/container_image.rs), which refuses a tag and a digest together; a name without either would mean
 * `latest`, which says no version, and the usage instructions ask for a repository.
 */
export function readImageReference(field: string, value: string): ImageReference {
  const mend = `write repository/name:tag, for example: ${field}: ${EXAMPLE}`;
  if (value.length > LONGEST) return { message: `${field} is longer than ${LONGEST} characters`, mend };
  if (/^[a-z]+:\/\//i.test(value)) return { message: `${field} is an image's name, not an address`, mend };
  const at = value.indexOf('@');
  const named = at < 0 ? value : value.slice(0, at);
  const components = named.split('/');
  const last = components.pop() ?? '';
  const colon = last.indexOf(':');
  const name = colon < 0 ? last : last.slice(0, colon);
  const tag = colon < 0 ? undefined : last.slice(colon + 1);
  if (!/^[\w.-]+$/.test(name) || !components.every(isComponent)) {
    return { message: `${field} is not a valid image name`, mend };
  }
  if (components.length === 0) return { message: `${field} names no repository`, mend };
  if (!isTag(tag)) return { message: `${field} has no valid tag`, mend };
  return at < 0 ? tagged(field, value, tag) : pinned(field, value, named, tag);
}

const isTag = (tag: string | undefined): boolean => tag === undefined || /^\w[\w.-]{0,127}$/.test(tag);

const isComponent = (component: string): boolean => /^[\w.-]+(?::\d+)?$/.test(component);

function tagged(field: string, value: string, tag: string | undefined): ImageReference {
  if (tag !== undefined) return { name: value };
  const message = `${field} has neither a tag nor a digest`;
  return { message, mend: `say which version, for example: ${field}: ${value}:2.0.0` };
}

function pinned(field: string, value: string, named: string, tag: string | undefined): ImageReference {
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
