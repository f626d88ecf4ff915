import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { RIGHTS } from '../../../src/cluster/rights.ts';

const roleSchema = z.object({
  kind: z.enum(['ClusterRole', 'Role']),
  metadata: z.object({ namespace: z.string().optional() }),
  rules: z.array(
    z.object({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      resourceNames: z.array(z.string()).optional(),
      verbs: z.array(z.string()),
    }),
  ),
});

test('examples/rbac.yaml grants what kubeos asks for, and nothing else', () => {
  const text = readFileSync(new URL('../../../examples/rbac.yaml', import.meta.url), 'utf8');
  const documents = parseAllDocuments(text).map((document) => document.toJS() as unknown);
  const roles = documents.flatMap((document) => {
    const role = roleSchema.safeParse(document);
    return role.success ? [role.data] : [];
  });
  const granted = roles.flatMap(({ metadata, rules }) =>
    rules.flatMap(({ apiGroups, resources, resourceNames = [undefined], verbs }) =>
      verbs.map((verb) => {
        const right = [verb, ...apiGroups, ...resources, metadata.namespace, ...resourceNames];
        return right.filter((part) => part !== undefined).join(' ');
      }),
    ),
  );
  const asked = RIGHTS.filter(({ purpose }) => purpose !== 'delete').map(
    ({ verb, group, resource, namespace, name }) => {
      const right = [verb, group, resource, namespace === 'lock' ? 'kube-system' : namespace, name];
      return right.filter((part) => part !== undefined).join(' ');
    },
  );
  expect(granted.sort()).toEqual(asked.sort());
});
