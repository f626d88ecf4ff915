import { RECORD_ANNOTATION } from '../../../src/cluster/node-facts.ts';
import type { Passing } from '../../../src/lab/gate.ts';
import { SCRIPTS, type StepScript } from '../../../src/remote/scripts/index.ts';
import type { Step } from '../../../src/rollout/steps.ts';

/** What a run asks of a node, or writes on its Node: as the steps of a node's way are told apart from outside. */
export interface Call {
  node: string;
  what: StepScript | `launch ${'stage' | 'write' | 'verify'}` | 'cordon' | 'release' | `record ${Step}`;
  kind: Passing['kind'];
}

/** Undefined for what belongs to no node's way: reads of the API, the lock, evictions, a command that was cut off. */
export const callOf = (passing: Passing): Call | undefined =>
  passing.kind === 'command' ? commandCall(passing) : requestCall(passing);

function commandCall({ node, input }: Extract<Passing, { kind: 'command' }>): Call | undefined {
  const script = (Object.keys(SCRIPTS) as StepScript[]).find((name) => input.startsWith(SCRIPTS[name]));
  if (script === undefined) return undefined;
  if (script !== 'launch') return { node, what: script, kind: 'command' };
  const step = /'step=(stage|write|verify)' 'payload=/.exec(input.slice(SCRIPTS.launch.length))?.[1] as
    'stage' | 'write' | 'verify' | undefined;
  return step === undefined ? undefined : { node, what: `launch ${step}`, kind: 'command' };
}

function requestCall({ method, path, body }: Extract<Passing, { kind: 'request' }>): Call | undefined {
  const node = /^\/api\/v1\/nodes\/([^/]+)$/.exec(path)?.[1];
  if (node === undefined || method !== 'PATCH') return undefined;
  const patch = JSON.parse(body) as {
    spec?: { unschedulable?: boolean | null };
    metadata?: { annotations?: Record<string, string | null> };
  };
  const record = patch.metadata?.annotations?.[RECORD_ANNOTATION];
  if (record === undefined) return undefined;
  if (record === null) return { node, what: 'release', kind: 'request' };
  const { step, cordon } = JSON.parse(record) as { step: Step; cordon: string };
  // The step's own record comes before its cordon, and says nothing of one unless an earlier run left it.
  const isCordon = patch.spec?.unschedulable === true || (step === 'drain' && cordon === 'found');
  return { node, what: isCordon ? 'cordon' : `record ${step}`, kind: 'request' };
}
