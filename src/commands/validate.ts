import { EXIT, type ExitCode } from '../exit-codes.ts';
import { readSpecSource } from '../local/index.ts';
import { renderDiagnostics } from '../report/diagnostics.ts';
import { displayOptions, formatData, validationToJson } from '../report/index.ts';
import { validateSpec, type ValidationResult } from '../validate/index.ts';
import type { Deps, OutputStream } from './deps.ts';
import type { DisplayFlags, ValidateFlags } from './option-types.ts';

/** `kubeos validate`: every mistake of a spec at once. Exit 0 or 2. */
export async function validate(deps: Deps, flags: ValidateFlags): Promise<ExitCode> {
  const result = await readSpec(deps, flags.file);
  const valid = result.spec !== undefined;
  const exitCode = valid ? EXIT.done : EXIT.usage;
  if (flags.output === 'json') {
    deps.io.stdout.write(await formatData(validationToJson(result, exitCode), 'json'));
    return exitCode;
  }
  showDiagnostics(deps, flags, result, valid ? deps.io.stdout : deps.io.stderr);
  if (valid) deps.io.stdout.write(`${result.file} is valid\n`);
  return exitCode;
}

/** Reads and checks a spec, whatever comes of it. */
export async function readSpec(deps: Deps, file: string): Promise<ValidationResult> {
  const source = await readSpecSource(file, deps.io.stdin);
  return validateSpec(source.content, source.file);
}

/** Everything that was found in a spec, each with its place and its mending; nothing where nothing was found. */
export function showDiagnostics(deps: Deps, flags: DisplayFlags, result: ValidationResult, stream: OutputStream): void {
  if (result.diagnostics.length === 0) return;
  const display = displayOptions(deps.io.env, stream, { ascii: flags.ascii });
  stream.write(`${renderDiagnostics(result, display).join('\n')}\n`);
}
