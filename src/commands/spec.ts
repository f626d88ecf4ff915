import { UsageError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { formatData, validationToJson } from '../report/index.ts';
import type { OSSpec, UpgradeSpec, ValidationResult } from '../validate/index.ts';
import type { Deps } from './deps.ts';
import { fileWord } from './given-command.ts';
import type { DisplayFlags, OutputFormat } from './option-types.ts';
import { readSpec, showDiagnostics } from './validate.ts';

/** What came of reading a command's spec; its diagnostics have been shown. */
export type SpecInHand =
  | { kind: 'valid'; spec: OSSpec }
  /** The one thing wrong with it is http without flagSafe. */
  | { kind: 'insecure'; spec: UpgradeSpec; result: ValidationResult }
  | { kind: 'invalid' };

/**
 * Reads the spec that a command works with. Diagnostics go to standard error; where it cannot be used and data is
 * wanted, to standard output as data.
 */
export async function takeSpec(
  deps: Deps,
  flags: DisplayFlags & { file: string; output: OutputFormat },
): Promise<SpecInHand> {
  const result = await readSpec(deps, flags.file);
  showDiagnostics(deps, flags, result, deps.io.stderr);
  if (result.spec !== undefined) return { kind: 'valid', spec: result.spec };
  if (result.insecureSpec !== undefined) return { kind: 'insecure', spec: result.insecureSpec, result };
  await printInvalid(deps, flags, result);
  return { kind: 'invalid' };
}

/** @throws UsageError for the spec of a rollback */
export function upgradeSpec(spec: OSSpec, file: string): UpgradeSpec {
  if (spec.opstype === 'upgrade') return spec;
  throw new UsageError('this spec is a rollback (opstype: rollback)', {
    next: `kubeos rollback -f ${fileWord(file)}\nor set opstype: upgrade`,
  });
}

/** What `-o json` prints of a spec that cannot be used. */
export async function printInvalid(
  deps: Deps,
  flags: { output: OutputFormat },
  result: ValidationResult,
): Promise<void> {
  if (flags.output === 'json') deps.io.stdout.write(await formatData(validationToJson(result, EXIT.usage), 'json'));
}
