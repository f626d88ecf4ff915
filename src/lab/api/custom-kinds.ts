import type { Core } from './core.ts';
import { OS_DEFINITION } from './validation.ts';
import { createObject } from './writes.ts';

const DEFINITIONS = 'customresourcedefinitions';

/** Makes the kind OS known to the server; `kubectl delete crd` takes it away again, with all its objects. */
export function defineOs(core: Core): void {
  createObject(
    core,
    { kind: core.catalog.byName(DEFINITIONS), namespace: '' },
    {
      metadata: { name: OS_DEFINITION },
      spec: {
        group: 'upgrade.openeuler.org',
        scope: 'Namespaced',
        names: { kind: 'OS', listKind: 'OSList', plural: 'os', singular: 'os' },
        versions: [
          {
            ...{ name: 'v1alpha1', served: true, storage: true, subresources: { status: {} } },
            schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
          },
        ],
      },
    },
  );
}

/** Keeps what is served in step with the definitions. Returns the way to stop it. */
export const followDefinitions = (core: Core): (() => void) =>
  core.store.subscribe(({ type, kind, object }) => {
    if (kind.plural !== DEFINITIONS || object.metadata.name !== OS_DEFINITION || type === 'MODIFIED') return;
    const os = core.catalog.byName('os');
    core.catalog.serve(os, type === 'ADDED');
    if (type === 'ADDED') return;
    for (const { metadata } of core.store.list(os)) core.store.remove(os, metadata.namespace ?? '', metadata.name);
  });
