import type { Command, Option } from 'commander';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Deps } from './deps.ts';
import { addImageFlags, addRolloutFlags, addRollbackGoals, specFile } from './flags.ts';
import { addExamples, ALL_EXIT_CODES } from './help-text.ts';
import type { PlanFlags } from './option-types.ts';

/** `kubeos plan`: one for upgrades and rollbacks. */
export function addPlan(program: Command, deps: Deps, finished: (code: ExitCode) => void): void {
  const command = program
    .command('plan')
    .summary('show what an upgrade or a rollback would do; change nothing')
    .description(
      'Shows which nodes an upgrade or a rollback would change, in which order, and what stands in the way. Changes ' +
        'nothing. Give one of -f, --to-previous and --to-other-slot; flags about an image are for upgrades alone.',
    )
    .usage('(-f FILE | --to-previous | --to-other-slot) [flags]')
    .addOption(specFile());
  addRollbackGoals(command);
  const before = new Set(command.options);
  addImageFlags(command);
  // What `kubeos rollback` does not know: there is no image.
  const ofImages = command.options.filter((option) => !before.has(option) && option.long !== '--allow-major');
  addRolloutFlags(command);
  command.option('--detailed-exitcode', `exit with ${EXIT.changesFound} where there are changes to make`, false);
  command.action(async (flags: PlanFlags) => {
    finished(await (await import('./plan.ts')).plan(deps, flags, typedOf(command, ofImages)));
  });
  addExamples(
    command,
    [
      ['kubeos plan -f upgrade.yaml', 'the plan of an upgrade, for reading'],
      ['kubeos plan --to-previous --nodes worker-3', 'of a rollback, on one node'],
      ['kubeos plan -f upgrade.yaml --detailed-exitcode', 'in a pipeline: 0 nothing to do, 7 changes to make'],
    ],
    ALL_EXIT_CODES.filter((code) => code <= EXIT.refused || code === EXIT.changesFound || code === EXIT.unreachable),
  );
}

/** Those of the options that the command line has; what the environment says may be meant for upgrades. */
const typedOf = (command: Command, options: readonly Option[]): readonly string[] =>
  options
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .map(({ long, flags }) => long ?? flags);
