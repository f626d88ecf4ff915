import type { Finding } from './plan-types.ts';
import type { DrainForecast } from './ports.ts';

const MOST_PODS = 5;

const firstOf = (pods: readonly string[]): string =>
  [...pods.slice(0, MOST_PODS), ...(pods.length > MOST_PODS ? [`and ${pods.length - MOST_PODS} more`] : [])].join('\n');

/** Why a drain cannot succeed. Pods that the same keeps from being evicted share a finding, which names them all. */
export function certainFailures({ obstacles }: DrainForecast): readonly Finding[] {
  const findings = new Map<string, Finding & { pods: string[] }>();
  for (const { verdict, message, remedy, pod, owner } of obstacles) {
    if (verdict !== 'certain') continue;
    const named = `pod ${pod}${owner === undefined ? '' : ` of ${owner}`}`;
    const same = findings.get(message + remedy);
    if (same !== undefined) same.pods.push(named);
    else
      findings.set(message + remedy, { what: `its drain is certain to fail: ${message}`, next: remedy, pods: [named] });
  }
  return [...findings.values()].map(({ pods, ...finding }) => ({ ...finding, reason: firstOf(pods) }));
}
