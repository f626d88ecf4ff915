import type { Command, CommanderError } from 'commander';
import { UsageError } from '../errors.ts';
import { likelyMeant } from '../validate/names.ts';
import { shellWord } from './given-command.ts';

/** The command that a command line means, as far as its words name one. */
export function findCommand(program: Command, argv: readonly string[]): Command {
  let found = program;
  for (const word of argv) {
    const next = found.commands.find((command) => command.name() === word);
    if (next === undefined) break;
    found = next;
  }
  return found;
}

/** `kubeos lab fault`. */
export function commandPath(command: Command): string {
  const above = command.parent;
  return above === null ? command.name() : `${commandPath(above)} ${command.name()}`;
}

/** The same error with what to do next, where it does not say: the command's help. */
export function withNext(error: UsageError, command: Command): UsageError {
  if (error.next !== undefined) return error;
  const { message, reason, node, step, cause } = error;
  const context = Object.entries({ reason, node, step, cause }).filter(([, value]) => value !== undefined);
  return new UsageError(message, { ...Object.fromEntries(context), next: helpOf(command) });
}

const helpOf = (command: Command): string =>
  `${commandPath(command)} --help shows ${command.commands.length > 0 ? 'the commands' : 'the flags'}`;

/** A word where one of the commands below `command` was expected. */
export function unknownCommand(command: Command, word: string): UsageError {
  const visible = command.createHelp().visibleCommands(command);
  const meant = likelyMeant(
    word,
    visible.map((one) => one.name()),
  );
  const guess = meant === undefined ? '' : `did you mean ${meant}?\n`;
  return new UsageError(`unknown command '${word}'`, { next: `${guess}${helpOf(command)}` });
}

/** What commander found wrong with a command line, in the words and the form of every other error. */
export function usageError(error: CommanderError, command: Command): UsageError {
  const [first = '', ...more] = error.message.split('\n');
  const guess = /^\(Did you mean (.+)\?\)$/i.exec(more.join(' '))?.[1];
  const help = helpOf(command);
  if (error.code === 'commander.excessArguments') return tooMany(command, help);
  const next = guess === undefined ? help : `did you mean ${guess}?\n${help}`;
  return new UsageError(first.replace(/^error: /, ''), { next, cause: error });
}

/** A spec without its flag is the likely slip. */
function tooMany(command: Command, help: string): UsageError {
  const path = commandPath(command);
  const expected = command.registeredArguments.length;
  const extra = command.args.slice(expected);
  const takesSpec = command.options.some((option) => option.long === '--file') && extra.length === 1;
  return new UsageError(`${path} takes no argument ${JSON.stringify(extra.join(' '))}`, {
    next: takesSpec ? `if it is the spec: ${path} -f ${shellWord(extra.join(' '))}\n${help}` : help,
  });
}

/** As commander hands them over: a spec that is missing is found in the action. */
export type SpecFlags<Flags> = Omit<Flags, 'file'> & { file?: string };

/** @throws UsageError where no spec was given */
export function withSpec<Flags extends { file?: string }>(flags: Flags, command: Command): Flags & { file: string } {
  const { file } = flags;
  if (file === undefined) {
    throw new UsageError(`kubeos ${command.name()} needs a spec`, { next: `kubeos ${command.name()} -f FILE` });
  }
  return { ...flags, file };
}
