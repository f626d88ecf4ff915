import type { Command } from 'commander';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import type { Deps } from './deps.ts';
import {
  addClusterFlags,
  addLockFlags,
  addSelectionFlags,
  addSshFlags,
  ascii,
  outputFormat,
  specFile,
} from './flags.ts';
import { addExamples, RUN_EXIT_CODES } from './help-text.ts';
import type { ResetBootFlags } from './option-types.ts';

/** `kubeos node`: what is done to nodes beside rollouts. */
export function addNode(program: Command, deps: Deps, finished: (code: ExitCode) => void): void {
  const node = program
    .command('node')
    .summary('undo what --managed-boot left on nodes')
    .description('Commands that change single nodes, beside upgrades and rollbacks.')
    .usage('<command> [flags]')
    .helpCommand(false);
  const resetBoot = node
    .command('reset-boot')
    .summary('take the managed boot out again')
    .description(
      'Takes out what `kubeos upgrade --managed-boot` put into custom.cfg beside the grub.cfg of nodes; what others had ' +
        'written there stays, byte for byte. A node whose trial has not ended is left as it is.',
    )
    .usage('NODE... [flags]')
    .argument('[nodes...]', 'the nodes; or choose them by -f and -l')
    .addOption(specFile())
    .option('--include-control-plane', 'control-plane nodes too, where they are not named', false)
    .option('-y, --yes', 'do not ask; without a terminal nothing is asked anyway', false)
    .addOption(outputFormat(['text', 'json']));
  addLockFlags(resetBoot);
  addSelectionFlags(resetBoot);
  addSshFlags(resetBoot);
  addClusterFlags(resetBoot);
  resetBoot.addOption(ascii()).action(async (names: string[], flags: ResetBootFlags) => {
    finished(await (await import('./node.ts')).resetBoot(deps, names, flags));
  });
  addExamples(
    resetBoot,
    [
      ['kubeos node reset-boot worker-1 worker-2', 'show what it means for each, ask, do it'],
      ['kubeos node reset-boot -f upgrade.yaml -y', 'all nodes that the spec addresses'],
    ],
    RUN_EXIT_CODES.filter((code) => code !== EXIT.fellBack && code !== EXIT.needsHands),
  );
}
