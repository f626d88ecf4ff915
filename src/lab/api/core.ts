import { AppliedConfigs } from './apply.ts';
import type { ApiClock } from './clock.ts';
import type { Catalog } from './kinds.ts';
import type { Store } from './store.ts';

/** Whether a user may not do something. `resource` is `pods` or `pods/eviction`; `namespace` is empty where there is none. */
export type Deny = (user: string, verb: string, resource: string, namespace: string) => boolean;

/** What the parts of one API server share. */
export interface Core {
  readonly catalog: Catalog;
  readonly store: Store;
  readonly clock: ApiClock;
  readonly applied: AppliedConfigs;
  readonly deny: Deny;
}

export const makeCore = (parts: Omit<Core, 'applied'>): Core => ({ ...parts, applied: new AppliedConfigs() });
