import type { Core } from './core.ts';
import { isObject, textAt, type Json } from './objects.ts';
import { badRequest, forbidden, type Attempt } from './status-errors.ts';

/** Throws the 403 of a real server where the lab's rights refuse the attempt. */
export function authorize(core: Core, attempt: Attempt): void {
  if (isDenied(core, attempt)) throw forbidden(attempt);
}

const isDenied = (core: Core, { user, verb, resource, subresource, namespace }: Attempt): boolean =>
  core.deny(user, verb, subresource === '' ? resource : `${resource}/${subresource}`, namespace);

/** POST …/selfsubjectaccessreviews: what `kubectl auth can-i` asks. Its answer is what `authorize` would do. */
export function accessReview(core: Core, user: string, body: Json): object {
  const spec = isObject(body) && isObject(body['spec']) ? body['spec'] : {};
  const asked = spec['resourceAttributes'];
  if (asked === undefined && spec['nonResourceAttributes'] === undefined) {
    throw badRequest('exactly one of nonResourceAttributes or resourceAttributes must be specified');
  }
  const attempt: Attempt = {
    user,
    verb: textAt(asked, 'verb'),
    group: textAt(asked, 'group'),
    resource: textAt(asked, 'resource'),
    subresource: textAt(asked, 'subresource'),
    namespace: textAt(asked, 'namespace'),
    name: textAt(asked, 'name'),
  };
  const allowed = asked === undefined || !isDenied(core, attempt);
  return {
    ...{ kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', metadata: {}, spec },
    status: { allowed, ...(allowed ? {} : { reason: `the lab denies ${user} this right` }) },
  };
}

const VERBS = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];

/** POST …/selfsubjectrulesreviews: what `kubectl auth can-i --list` asks. */
export function rulesReview(core: Core, user: string, body: Json): object {
  const namespace = textAt(body, 'spec', 'namespace');
  const rules = core.catalog.kinds.flatMap((kind) => {
    const subresources = ['', ...(kind.hasStatus ? ['/status'] : []), ...(kind.plural === 'pods' ? ['/eviction'] : [])];
    return subresources.flatMap((subresource) => {
      const resource = kind.plural + subresource;
      const scope = kind.namespaced ? namespace : '';
      const verbs = VERBS.filter((verb) => !core.deny(user, verb, resource, scope));
      return verbs.length === 0 ? [] : [{ verbs, apiGroups: [kind.group], resources: [resource] }];
    });
  });
  return {
    ...{ kind: 'SelfSubjectRulesReview', apiVersion: 'authorization.k8s.io/v1', metadata: {}, spec: { namespace } },
    status: { resourceRules: rules, nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['*'] }], incomplete: false },
  };
}

/** POST …/selfsubjectreviews: what `kubectl auth whoami` asks. */
export const selfReview = (user: string): object => ({
  ...{ kind: 'SelfSubjectReview', apiVersion: 'authentication.k8s.io/v1', metadata: {} },
  status: { userInfo: { username: user, groups: ['system:authenticated'] } },
});
