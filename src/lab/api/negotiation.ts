import { notAcceptable } from './status-errors.ts';

/** In which form a client wants its answer. */
export type Form =
  { as: 'object' } | { as: 'table'; apiVersion: 'meta.k8s.io/v1' | 'meta.k8s.io/v1beta1' } | { as: 'aggregated' };

/**
 * Picks the first form of an Accept header that the lab serves, as real servers do: JSON, a Table of JSON, aggregated
 * discovery. Throws the 406 of a real server where there is none.
 */
export function formOf(accept: string | undefined, aggregatedServed: boolean): Form {
  if (accept === undefined || accept.trim() === '') return { as: 'object' };
  for (const clause of accept.split(',')) {
    const form = formOfClause(clause, aggregatedServed);
    if (form !== undefined) return form;
  }
  throw notAcceptable();
}

function formOfClause(clause: string, aggregatedServed: boolean): Form | undefined {
  const [type = '', ...rest] = clause.split(';').map((part) => part.trim());
  if (!['application/json', '*/*', 'application/*'].includes(type)) return undefined;
  const parameters = new Map(
    rest.map((part): [string, string] => {
      const [name = '', value = ''] = part.split('=');
      return [name.trim(), value.trim()];
    }),
  );
  const [as, group, version] = ['as', 'g', 'v'].map((name) => parameters.get(name));
  if (as === undefined) return { as: 'object' };
  if (as === 'Table' && group === 'meta.k8s.io' && (version === 'v1' || version === 'v1beta1')) {
    return { as: 'table', apiVersion: `meta.k8s.io/${version}` };
  }
  const isDiscovery = as === 'APIGroupDiscoveryList' && group === 'apidiscovery.k8s.io' && version === 'v2';
  return isDiscovery && aggregatedServed ? { as: 'aggregated' } : undefined;
}
