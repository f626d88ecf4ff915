import type { Command, CommanderError } from 'commander';
import { UsageError } from '../errors.ts';
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

/** What commander found wrong with a command line, in the words and the form of every other error. */
export function usageError(error: CommanderError, command: Command): UsageError {
  const [first = '', ...more] = error.message.split('\n');
  const guess = /^\(Did you mean (.+)\?\)$/i.exec(more.join(' '))?.[1];
  const help = `${commandPath(command)} --help shows ${command.commands.length > 0 ? 'the commands' : 'the flags'}`;
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
