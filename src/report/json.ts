import { KubeosError } from '../errors.ts';
import { EXIT, EXIT_MEANINGS, type ExitCode } from '../exit-codes.ts';
import type { BootResetResult } from '../rollout/boot-reset.ts';
import type { NodeResult, RolloutResult } from '../rollout/events.ts';
import type { Plan } from '../rollout/plan-types.ts';
import type { LockState } from '../rollout/ports.ts';
import { OUTCOMES, type Outcome } from '../rollout/steps.ts';
import { redactUrls } from '../validate/redact.ts';
import type { ValidationResult } from '../validate/spec.ts';
import { defined } from './defined.ts';
import { stackLines } from './error-screen.ts';
import { lockFacts, type LockFacts } from './lock-screen.ts';
import type { StatusReport } from './status.ts';

/** Grows when a field changes its meaning or goes away; added fields leave it alone. docs/json.md describes the fields. */
const SCHEMA_VERSION = 1;

/** `fellBack` -> `fell-back`: the stable name of an exit code, beside its number. */
export function exitName(code: ExitCode): string {
  const name = Object.entries(EXIT).find(([, value]) => value === code)?.[0] ?? 'bug';
  return name.replace(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
}

interface Exit {
  exitCode: ExitCode;
  exitName: string;
  exitMeaning: string;
}

export interface ResultJson extends Exit {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'RolloutResult';
  run: string;
  operation: RolloutResult['operation'];
  version: string;
  stopped?: string;
  joined?: readonly string[];
  tookMs: number;
  counts: Record<Outcome, number>;
  nodes: readonly NodeResult[];
  logDir?: string;
}

/** `kubeos upgrade -o json` and `kubeos rollback -o json`. */
export function resultToJson(result: RolloutResult, logDir?: string): ResultJson {
  const counts = Object.fromEntries(
    OUTCOMES.map((outcome) => [outcome, result.results.filter((one) => one.outcome === outcome).length]),
  ) as Record<Outcome, number>;
  return redacted({
    schemaVersion: SCHEMA_VERSION,
    kind: 'RolloutResult',
    run: result.run,
    operation: result.operation,
    version: result.version,
    ...exit(result.exitCode),
    ...defined({ stopped: result.stopped, joined: result.joined }),
    tookMs: result.tookMs,
    counts,
    nodes: result.results,
    ...defined({ logDir }),
  });
}

export interface PlanJson extends Exit, Plan {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'Plan';
}

/** `kubeos plan -o json`. @param exitCode what `kubeos plan` ends with */
export function planToJson(plan: Plan, exitCode: ExitCode): PlanJson {
  return redacted({ schemaVersion: SCHEMA_VERSION, kind: 'Plan', ...exit(exitCode), ...plan });
}

export interface StatusJson extends Exit, StatusReport {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'Status';
}

/** `kubeos status -o json` and `-o yaml`. */
export function statusToJson(report: StatusReport, exitCode: ExitCode = EXIT.done): StatusJson {
  return redacted({ schemaVersion: SCHEMA_VERSION, kind: 'Status', ...exit(exitCode), ...report });
}

export interface BootResetJson extends Exit, BootResetResult {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'BootReset';
}

/** `kubeos node reset-boot -o json`. */
export function bootResetToJson(result: BootResetResult): BootResetJson {
  return redacted({ schemaVersion: SCHEMA_VERSION, kind: 'BootReset', ...exit(result.exitCode), ...result });
}

export interface LockJson extends Exit, LockFacts {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'Lock';
}

/** `kubeos lock status -o json`. */
export function lockToJson(lock: LockState | undefined): LockJson {
  return redacted({ schemaVersion: SCHEMA_VERSION, kind: 'Lock', ...exit(EXIT.done), ...lockFacts(lock) });
}

export interface ValidationJson extends Exit {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'Validation';
  file: string;
  valid: boolean;
  diagnostics: ValidationResult['diagnostics'];
}

/** `kubeos validate -o json`, and what other commands print of a spec that cannot be used. */
export function validationToJson(result: ValidationResult, exitCode: ExitCode): ValidationJson {
  const { file, diagnostics, spec } = result;
  const valid = spec !== undefined;
  return redacted({
    schemaVersion: SCHEMA_VERSION,
    kind: 'Validation',
    ...exit(exitCode),
    file,
    valid,
    diagnostics,
  });
}

/** Which nodes' logs say why nothing was downloaded, and which could not be told. */
export interface InsecureAddress {
  message: string;
  told: readonly string[];
  unreached: readonly { node: string; because: string }[];
}

export interface InsecureAddressJson extends Exit, InsecureAddress {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'InsecureAddress';
}

/** `kubeos upgrade -o json` where the one thing wrong with the spec is http without flagSafe. */
export function insecureToJson(insecure: InsecureAddress): InsecureAddressJson {
  return redacted({ schemaVersion: SCHEMA_VERSION, kind: 'InsecureAddress', ...exit(EXIT.refused), ...insecure });
}

export interface ErrorJson extends Exit {
  schemaVersion: typeof SCHEMA_VERSION;
  kind: 'Error';
  kubeosVersion: string;
  error: {
    name: string;
    what: string;
    reason?: string;
    next?: string;
    node?: string;
    step?: string;
    logTail: readonly string[];
    /** It is a bug in kubeos; then `stack` is there. */
    bug: boolean;
    stack?: readonly string[];
  };
}

/** What `-o json` prints instead of a result. @param version of kubeos */
export function errorToJson(error: unknown, exitCode: ExitCode, version: string): ErrorJson {
  return redacted({
    schemaVersion: SCHEMA_VERSION,
    kind: 'Error',
    kubeosVersion: version,
    ...exit(exitCode),
    error: error instanceof KubeosError ? expected(error) : unexpected(error),
  });
}

function expected(error: KubeosError): ErrorJson['error'] {
  const { name, message, reason, next, node, step, logTail } = error;
  return {
    name,
    what: message,
    ...defined({ reason, next, node, step }),
    logTail,
    bug: false,
  };
}

function unexpected(error: unknown): ErrorJson['error'] {
  const name = error instanceof Error ? error.name : 'unknown';
  const what = error instanceof Error ? error.message : String(error);
  return { name, what, logTail: [], bug: true, stack: stackLines(error) };
}

const exit = (code: ExitCode): Exit => ({
  exitCode: code,
  exitName: exitName(code),
  exitMeaning: EXIT_MEANINGS.get(code) ?? '',
});

/** Each text in it, at any depth, with its URLs redacted; keys of the data stay as they are. */
function redacted<T>(data: T): T {
  return JSON.parse(JSON.stringify(data), (_key, value: unknown) =>
    typeof value === 'string' ? redactUrls(value) : value,
  ) as T;
}
