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
  meanings: Meanings = EXIT_MEANINGS,
): void {
  command.addHelpText('after', `\n${examplesText(examples)}\n\n${exitCodesText(exitCodes, meanings)}`);
}

export const ALL_EXIT_CODES: readonly ExitCode[] = [...EXIT_MEANINGS.keys()];
/** What a command that only reads ends with. */
export const READING_EXIT_CODES: readonly ExitCode[] = [EXIT.done, EXIT.bug, EXIT.usage, EXIT.unreachable];
/** What a run ends with. */
export const RUN_EXIT_CODES: readonly ExitCode[] = ALL_EXIT_CODES.filter((code) => code !== EXIT.changesFound);

type Meanings = ReadonlyMap<ExitCode, string>;

/** Of a command that shows the cluster: what it shows, unreachable nodes included, is no failure of its own. */
export const SHOWING: Meanings = new Map([
  ...EXIT_MEANINGS,
  [EXIT.done, 'shown, whatever it shows'],
  [EXIT.unreachable, "the cluster's API cannot be reached or refuses the login"],
]);

/** Of a command that changes the lock alone. */
export const OF_LOCK: Meanings = new Map([
  ...SHOWING,
  [EXIT.done, 'the lock is free'],
  [EXIT.usage, 'wrong usage; nothing was changed'],
  [EXIT.refused, 'refused, or the question was answered with no; nothing was changed'],
  [EXIT.locked, 'the run that holds the lock is alive; nothing was changed'],
]);

/** Of a command that works on the lab alone. */
export const OF_LAB: Meanings = new Map([
  ...EXIT_MEANINGS,
  [EXIT.done, 'done'],
  [EXIT.usage, 'wrong usage'],
  [EXIT.refused, 'there is no such lab, or this machine cannot run one'],
]);
export const LAB_EXIT_CODES: readonly ExitCode[] = [EXIT.done, EXIT.bug, EXIT.usage, EXIT.refused];

export const exitCodesText = (codes: readonly ExitCode[], meanings: Meanings = EXIT_MEANINGS): string =>
  ['Exit codes:', ...codes.map((code) => `${String(code).padStart(5)}  ${meanings.get(code) ?? ''}`)].join('\n');

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
