import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import { addExamples } from './help-text.ts';
import { unknownCommand } from './usage.ts';

/** `kubeos help`: as commander's own, which takes one word, and shows something whatever that word is. */
export function addHelp(program: Command): void {
  const help = program
    .command('help')
    .summary('show the help of a command')
    .description('Shows the help of a command, as --help behind it does.')
    .usage('[COMMAND...]')
    .argument('[command...]', 'the command')
    .action((words: string[]) => {
      let found = program;
      for (const word of words) {
        const next = found.commands.find((command) => command.name() === word);
        if (next === undefined) throw unknownCommand(found, word);
        found = next;
      }
      found.help();
    });
  addExamples(
    help,
    [['kubeos help lab start', 'what kubeos lab start --help shows']],
    [EXIT.done, EXIT.bug, EXIT.usage],
  );
}
