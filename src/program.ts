import { Command } from 'commander';
import type { Deps } from './commands/deps.ts';
import {
  addClusterFlags,
  addImageFlags,
  addRollbackGoals,
  addRolloutFlags,
  addRunFlags,
  addSelectionFlags,
  addSshFlags,
  ascii,
  flag,
  outputFormat,
  specFile,
} from './commands/flags.ts';
import {
  addExamples,
  ALL_EXIT_CODES,
  exitCodesText,
  helpLayout,
  LAB_EXIT_CODES,
  OF_LAB,
  OF_LOCK,
  READING_EXIT_CODES,
  RUN_EXIT_CODES,
  SHOWING,
} from './commands/help-text.ts';
import { addHelp } from './commands/help-program.ts';
import { addNode } from './commands/node-program.ts';
import { addPlan } from './commands/plan-program.ts';
import { wholeNumber } from './commands/option-parsers.ts';
import type {
  LabFaultFlags,
  LabFlags,
  LabStartFlags,
  LockReleaseFlags,
  LockStatusFlags,
  LogsFlags,
  RollbackFlags,
  StatusFlags,
  UpgradeFlags,
  ValidateFlags,
} from './commands/option-types.ts';
import { withSpec, type SpecFlags } from './commands/usage.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';

/**
 * The whole command tree: every flag, its default, its help. Commands are loaded when they are called, so that
 * `kubeos --help` starts quickly. A command line that is wrong rejects with commander's CommanderError, unprinted.
 * @param deps what commands work with; handed through untouched
 * @param finished gets the exit code of the command that ran
 */
export function createProgram(deps: Deps, version: string, finished: (code: ExitCode) => void): Command {
  const program = new Command('kubeos')
    .summary('upgrade and roll back KubeOS nodes')
    .description('Upgrades and rolls back the operating systems of KubeOS nodes: from outside, over SSH, node by node.')
    .usage('<command> [flags]')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .configureHelp(helpLayout(deps.io.stdout.columns))
    .configureOutput({
      writeOut: (text) => void deps.io.stdout.write(text),
      writeErr: (text) => void deps.io.stderr.write(text),
      outputError: () => undefined,
    })
    .exitOverride((error) => {
      throw error;
    });
  addValidate(program, deps, finished);
  addPlan(program, deps, finished);
  addUpgrade(program, deps, finished);
  addRollback(program, deps, finished);
  addStatus(program, deps, finished);
  addLogs(program, deps, finished);
  addLock(program, deps, finished);
  addNode(program, deps, finished);
  addLab(program, deps, finished);
  addHelp(program);
  program.addHelpText('after', `\n${FIRST_STEPS}\n\n${exitCodesText(ALL_EXIT_CODES)}`);
  return program;
}

type Finished = (code: ExitCode) => void;

const FIRST_STEPS = [
  'First steps:',
  '  kubeos lab start                 a simulated cluster to try everything on',
  '  kubeos status                    where the nodes of your cluster stand',
  '  kubeos plan -f upgrade.yaml      what an upgrade would do',
  '  kubeos upgrade -f upgrade.yaml   do it',
].join('\n');

function addValidate(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('validate')
    .summary('check a spec, all its mistakes at once')
    .description('Checks a spec: every mistake at once, where it stands and how to mend it. Needs no cluster.')
    .usage('-f FILE [flags]')
    .addOption(specFile())
    .addOption(outputFormat(['text', 'json']))
    .addOption(ascii());
  command.action(async (flags: SpecFlags<ValidateFlags>) => {
    finished(await (await import('./commands/validate.ts')).validate(deps, withSpec(flags, command)));
  });
  addExamples(
    command,
    [
      ['kubeos validate -f upgrade.yaml', 'every mistake, with its line and its mending'],
      ['kubectl get os my-os -o yaml | kubeos validate -f -', 'a spec from the cluster'],
    ],
    [EXIT.done, EXIT.bug, EXIT.usage],
  );
}

function addUpgrade(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('upgrade')
    .summary("bring the nodes to the spec's OS version")
    .description(
      "Brings the nodes to the spec's OS version: stage, write, verify, drain, trial boot, proof, commit. A node that " +
        'does not prove healthy in its new slot falls back to the old one. The same command, given again, carries on.',
    )
    .usage('-f FILE [flags]')
    .addOption(specFile());
  addImageFlags(command);
  addRunFlags(command);
  addRolloutFlags(command);
  command.action(async (flags: SpecFlags<UpgradeFlags>) => {
    finished(await (await import('./commands/upgrade.ts')).upgrade(deps, withSpec(flags, command)));
  });
  addExamples(
    command,
    [
      ['kubeos upgrade -f upgrade.yaml', 'show the plan, ask, do it'],
      ['kubeos upgrade -f upgrade.yaml --nodes worker-1', 'one node first'],
      ['kubeos upgrade -f upgrade.yaml -l pool=blue --maxunavailable 25%', 'a pool, a quarter of it at a time'],
      ['kubeos upgrade -f upgrade.yaml -y -o json >result.json', 'in a pipeline, with a result for programs'],
    ],
    RUN_EXIT_CODES,
  );
}

function addRollback(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('rollback')
    .summary('bring the nodes back to their other slot')
    .description(
      'Brings the nodes back to what their other slot holds: no image, same proof. Give one of --to-previous, ' +
        '--to-other-slot and -f.',
    )
    .usage('(--to-previous | --to-other-slot | -f FILE) [flags]');
  addRollbackGoals(command);
  command.addOption(specFile('a spec with opstype: rollback')).option('--allow-major', 'cross a major version', false);
  addRunFlags(command);
  addRolloutFlags(command);
  command.action(async (flags: RollbackFlags) => {
    finished(await (await import('./commands/rollback.ts')).rollback(deps, flags));
  });
  addExamples(
    command,
    [
      ['kubeos plan --to-previous', 'what it would do; changes nothing'],
      ['kubeos rollback --to-previous', 'undo the latest upgrade'],
      ['kubeos rollback --to-previous --nodes worker-3', 'on one node'],
    ],
    RUN_EXIT_CODES,
  );
}

function addStatus(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('status')
    .summary('show where every node stands')
    .description('Shows every node: version, slots, next boot, and what a run does or left behind. Changes nothing.')
    .usage('[flags]')
    .addOption(outputFormat(['text', 'wide', 'json', 'yaml']))
    .option('--no-ssh', 'only what the cluster knows');
  addSelectionFlags(command);
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(ascii());
  command.action(async (flags: StatusFlags) => {
    finished(await (await import('./commands/status.ts')).status(deps, flags));
  });
  addExamples(
    command,
    [
      ['kubeos status -o wide', 'with kernels, devices and the digests of images'],
      ["kubeos status -o json | jq -r '.nodes[] | [.node, .osVersion, .active] | @tsv'", 'for programs'],
    ],
    READING_EXIT_CODES,
    SHOWING,
  );
}

function addLogs(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('logs')
    .summary("print kubeos's lines of a node's log")
    .description("Prints what kubeos wrote to a node's log (/var/log/messages, else the journal).")
    .usage('NODE [flags]')
    .argument('<node>', "the node's name")
    .addOption(flag('-n, --lines <count>', 'how many of the last lines', wholeNumber(1)).default(200));
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(ascii());
  command.action(async (node: string, flags: LogsFlags) => {
    finished(await (await import('./commands/logs.ts')).logs(deps, node, flags));
  });
  addExamples(command, [['kubeos logs worker-3 -n 20', 'the last 20 lines']], READING_EXIT_CODES);
}

function addLock(program: Command, deps: Deps, finished: Finished): void {
  const lock = program
    .command('lock')
    .summary('show or free the lock that keeps two runs apart')
    .description('The lock that keeps two runs apart: the Lease kubeos in the cluster.')
    .usage('<command> [flags]')
    .helpCommand(false);
  const commands = () => import('./commands/lock.ts');
  const status = lock
    .command('status')
    .summary('show who holds the lock')
    .description('Shows who holds the lock, since when and for what. Changes nothing.')
    .usage('[flags]')
    .addOption(outputFormat(['text', 'json']));
  addClusterFlags(status);
  status.addOption(ascii()).action(async (flags: LockStatusFlags) => {
    finished(await (await commands()).lockStatus(deps, flags));
  });
  addExamples(
    status,
    [['kubeos lock status -o json | jq -r .standing', 'free, held or dead']],
    READING_EXIT_CODES,
    SHOWING,
  );
  const release = lock
    .command('release')
    .summary('free the lock of a dead run')
    .description(
      'Frees the lock of a run that is dead; should it live after all, it stops before its next change. The next run ' +
        'takes a dead one over by itself, once its Lease has stood still for its duration.',
    )
    .usage('[flags]')
    .option('-y, --yes', 'do not ask; needed without a terminal', false)
    .option('--force', 'also from a run that is alive', false);
  addClusterFlags(release);
  release.addOption(ascii()).action(async (flags: LockReleaseFlags) => {
    finished(await (await commands()).lockRelease(deps, flags));
  });
  addExamples(
    release,
    [['kubeos lock release', 'show who holds it, ask, free it']],
    [...READING_EXIT_CODES, EXIT.refused, EXIT.locked, EXIT.interrupted].sort((one, other) => one - other),
    OF_LOCK,
  );
}

function addLab(program: Command, deps: Deps, finished: Finished): void {
  const lab = program
    .command('lab')
    .summary('a simulated cluster on this machine, to rehearse on')
    .description('A simulated cluster on this machine: rehearse a spec, a pipeline, a bad day. Linux only.')
    .usage('<command> [flags]')
    .helpCommand(false);
  const dir = () =>
    flag('--dir <folder>', "the lab's folder")
      .env('KUBEOS_LAB')
      .default(undefined, 'kubeos-lab-UID in the temporary folder');
  const nodes = () => flag('--nodes <count>', 'how many workers', wholeNumber(1)).default(5);
  const commands = () => import('./commands/lab.ts');
  const start = lab
    .command('start')
    .summary('start a lab')
    .description('Starts a lab in the background, and says what to try in it.')
    .usage('[flags]')
    .addOption(nodes())
    .addOption(dir())
    .action(async (flags: LabStartFlags) => finished(await (await commands()).labStart(deps, flags)));
  const fault = lab
    .command('fault')
    .summary('make something go wrong on a node')
    .description('Makes something go wrong on a node; without a kind, lists the kinds.')
    .usage('[NODE KIND] [flags]')
    .argument('[node]', 'the node')
    .argument('[kind]', 'what goes wrong there')
    .option('--clear', 'undo the fault; without a kind, all faults of the node', false)
    .addOption(dir())
    .action(async (node: string | undefined, kind: string | undefined, flags: LabFaultFlags) =>
      finished(await (await commands()).labFault(deps, node, kind, flags)),
    );
  const status = lab
    .command('status')
    .summary("show the lab's machines and faults")
    .description("Shows the lab's machines and their faults. Changes nothing.")
    .usage('[flags]')
    .addOption(dir())
    .action(async (flags: LabFlags) => finished(await (await commands()).labStatus(deps, flags)));
  const stop = lab
    .command('stop')
    .summary('end the lab')
    .description('Ends the lab, and removes its folder.')
    .usage('[flags]')
    .addOption(dir())
    .action(async (flags: LabFlags) => finished(await (await commands()).labStop(deps, flags)));
  for (const [command, example, what] of [
    [start, 'kubeos lab start --nodes 3 --dir ./lab', 'three workers, in a folder of your own'],
    [fault, 'kubeos lab fault worker-2 boot-fails', 'its next trial boot fails'],
    [status, 'kubeos lab status --dir ./lab', 'which machines are up, in which slot, with which faults'],
    [stop, 'kubeos lab stop --dir ./lab', 'nothing of it is left'],
  ] as const)
    addExamples(command, [[example, what]], LAB_EXIT_CODES, OF_LAB);
  lab
    .command('run', { hidden: true })
    .addOption(nodes())
    .addOption(dir())
    .action(async (flags: LabStartFlags) => finished(await (await commands()).labRun(deps, flags)));
}
