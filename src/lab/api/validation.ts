import { at, isObject, numberAt, textAt, type Json, type JsonObject } from './objects.ts';
import type { ResourceKind } from './kinds.ts';
import { invalid, type StatusCause } from './status-errors.ts';

/**
 * What a real server's decoder would refuse: wrong JSON types, times in another form than the field's. Returns the
 * decoder's complaint, or undefined. Its texts stand in a 400 for an object, in a 422 for a patch.
 */
export function decodingProblem(kind: ResourceKind, object: JsonObject): string | undefined {
  for (const field of ['labels', 'annotations']) {
    const map = at(object, 'metadata', field);
    if (map === undefined || map === null) continue;
    if (!isObject(map)) return wrongType(map, `ObjectMeta.metadata.${field}`, 'map[string]string');
    const wrong = Object.values(map).find((value) => typeof value !== 'string');
    if (wrong !== undefined) return wrongType(wrong, `ObjectMeta.metadata.${field}`, 'string');
  }
  for (const [path, type] of Object.entries(TYPED[kind.plural] ?? {})) {
    const value = at(object, ...path.split('.'));
    if (value === undefined || value === null) continue;
    const problem = DECODERS[type](value as Json, `${kind.kind}.${path}`);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

type FieldType = 'boolean' | 'string' | 'integer' | 'micro-time' | 'list';

/** The fields that clients of the lab write, and what a real server's types make of them. */
const TYPED: Readonly<Record<string, Readonly<Record<string, FieldType>>>> = {
  nodes: { 'spec.unschedulable': 'boolean', 'spec.taints': 'list' },
  leases: {
    'spec.holderIdentity': 'string',
    'spec.leaseDurationSeconds': 'integer',
    'spec.leaseTransitions': 'integer',
    'spec.acquireTime': 'micro-time',
    'spec.renewTime': 'micro-time',
  },
  events: { eventTime: 'micro-time', count: 'integer', message: 'string', reason: 'string' },
  pods: { 'spec.containers': 'list', 'spec.nodeName': 'string' },
};

const MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/;

const DECODERS: Readonly<Record<FieldType, (value: Json, field: string) => string | undefined>> = {
  boolean: (value, field) => (typeof value === 'boolean' ? undefined : wrongType(value, field, 'bool')),
  string: (value, field) => (typeof value === 'string' ? undefined : wrongType(value, field, 'string')),
  integer: (value, field) => (Number.isInteger(value) ? undefined : wrongType(value, field, 'int32')),
  list: (value, field) => (Array.isArray(value) ? undefined : wrongType(value, field, 'slice')),
  // Seen on v1.34.4: three digits or none after the second are refused.
  'micro-time': (value, field) => {
    if (typeof value !== 'string') return wrongType(value, field, 'string');
    return MICRO_TIME.test(value)
      ? undefined
      : `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05.000000Z07:00": cannot parse ${JSON.stringify(value)}`;
  },
};

function wrongType(value: unknown, field: string, type: string): string {
  const is = Array.isArray(value)
    ? 'array'
    : isObject(value)
      ? 'object'
      : typeof value === 'boolean'
        ? 'bool'
        : typeof value;
  return `json: cannot unmarshal ${is} into Go struct field ${field} of type ${type}`;
}

/** Refuses (422) what a real server's validation would refuse, as far as the lab's clients can get it wrong. */
export function validate(kind: ResourceKind, object: JsonObject): void {
  const causes = [...metadataCauses(object), ...(CHECKS[kind.plural]?.(object) ?? [])];
  if (causes.length > 0) throw invalid(kind, textAt(object, 'metadata', 'name'), causes);
}

/** The name of the definition of KubeOS's own kind, OS. */
export const OS_DEFINITION = 'os.upgrade.openeuler.org';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const NAME_PART = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

const invalidValue = (field: string, value: unknown, why: string): StatusCause => ({
  reason: 'FieldValueInvalid',
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
  field,
});

const required = (field: string): StatusCause => ({ reason: 'FieldValueRequired', message: 'Required value', field });

function metadataCauses(object: JsonObject): StatusCause[] {
  const name = textAt(object, 'metadata', 'name');
  const causes: StatusCause[] = [];
  if (name === '') {
    causes.push({ ...required('metadata.name'), message: 'Required value: name or generateName is required' });
  } else if (!SUBDOMAIN.test(name) || name.length > 253) {
    causes.push(
      invalidValue(
        'metadata.name',
        name,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
      ),
    );
  }
  const entries = (field: string): [string, unknown][] => {
    const map = at(object, 'metadata', field);
    return isObject(map) ? Object.entries(map) : [];
  };
  for (const [key] of [...entries('labels'), ...entries('annotations')]) {
    if (!isQualifiedName(key))
      causes.push(
        invalidValue(
          'metadata.labels',
          key,
          "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        ),
      );
  }
  for (const [, value] of entries('labels')) {
    if (value !== '' && !NAME_PART.test(String(value)))
      causes.push(
        invalidValue(
          'metadata.labels',
          value,
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        ),
      );
  }
  return causes;
}

function isQualifiedName(key: string): boolean {
  const slash = key.indexOf('/');
  const [prefix, name] = slash < 0 ? ['', key] : [key.slice(0, slash), key.slice(slash + 1)];
  return (slash < 0 || SUBDOMAIN.test(prefix)) && NAME_PART.test(name);
}

const CHECKS: Readonly<Record<string, (object: JsonObject) => StatusCause[]>> = {
  pods: (pod) => {
    const containers = at(pod, 'spec', 'containers');
    if (!Array.isArray(containers) || containers.length === 0) return [required('spec.containers')];
    return containers.flatMap((container, index) => {
      const missing = ['name', 'image'].filter((field) => textAt(container, field) === '');
      return missing.map((field) => required(`spec.containers[${index}].${field}`));
    });
  },
  leases: (lease) => {
    const causes: StatusCause[] = [];
    const duration = numberAt(lease, 'spec', 'leaseDurationSeconds');
    if (duration !== undefined && duration <= 0) {
      causes.push(invalidValue('spec.leaseDurationSeconds', duration, 'must be greater than 0'));
    }
    const transitions = numberAt(lease, 'spec', 'leaseTransitions');
    if (transitions !== undefined && transitions < 0) {
      causes.push(invalidValue('spec.leaseTransitions', transitions, 'must be greater than or equal to 0'));
    }
    return causes;
  },
  customresourcedefinitions: ({ metadata }) => {
    const name = textAt(metadata, 'name');
    if (name === OS_DEFINITION) return [];
    return [invalidValue('metadata.name', name, `the lab serves one custom resource: ${OS_DEFINITION}`)];
  },
  poddisruptionbudgets: (budget) => {
    const both = at(budget, 'spec', 'minAvailable') !== undefined && at(budget, 'spec', 'maxUnavailable') !== undefined;
    return both ? [invalidValue('spec', budget['spec'], 'minAvailable and maxUnavailable cannot be both set')] : [];
  },
};
