import type { Command, HelpConfiguration, Option } from 'commander';
import { EXIT, EXIT_MEANINGS, type ExitCode } from '../exit-codes.ts';

/** Helps are read on screens of this width at most: longer lines are hard to read. */
const WIDEST = 100;

/** How helps are laid out, by every command alike. */
export const helpLayout = (columns: number | undefined): HelpConfiguration => ({
  helpWidth: Math.min(columns ?? 80, WIDEST),
  optionDescription,
  subcommandTerm: (command) => command.name(),
});

/** Behind the flags: what to type, and what the command ends with. */
export function addExamples(
  command: Command,
  examples: readonly (readonly [command: string, what: string])[],
  exitCodes: readonly ExitCode[],
): void {
  command.addHelpText('after', `\n${examplesText(examples)}\n\n${exitCodesText(exitCodes)}`);
}

export const ALL_EXIT_CODES: readonly ExitCode[] = [...EXIT_MEANINGS.keys()];
/** What a command that only reads ends with. */
export const READING_EXIT_CODES: readonly ExitCode[] = [EXIT.done, EXIT.bug, EXIT.usage, EXIT.unreachable];
/** What a run ends with. */
export const RUN_EXIT_CODES: readonly ExitCode[] = ALL_EXIT_CODES.filter((code) => code !== EXIT.changesFound);

export const exitCodesText = (codes: readonly ExitCode[]): string =>
  ['Exit codes:', ...codes.map((code) => `${String(code).padStart(5)}  ${EXIT_MEANINGS.get(code) ?? ''}`)].join('\n');

function examplesText(examples: readonly (readonly [string, string])[]): string {
  const lines = examples.flatMap(([command, what]) => [`  # ${what}`, `  ${command}`]);
  return ['Examples:', ...lines].join('\n');
}

/** `how the result is printed: text, json (default: text)`; that a switch is off unless it is given says nothing. */
function optionDescription(option: Option): string {
  const { description, argChoices, defaultValueDescription, envVar } = option;
  const preset = defaultValueDescription ?? defaultText(option.defaultValue);
  const remarks = [
    ...(preset === undefined ? [] : [`default: ${preset}`]),
    ...(envVar === undefined ? [] : [`env: ${envVar}`]),
  ];
  const choices = argChoices === undefined ? '' : `: ${argChoices.join(', ')}`;
  return `${description}${choices}${remarks.length === 0 ? '' : ` (${remarks.join('; ')})`}`;
}

const defaultText = (value: unknown): string | undefined =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
