import { Command, Option } from 'commander';
import type { Deps } from './commands/deps.ts';
import { collect, parseDuration, parseNames, parsePort, wholeNumber } from './commands/option-parsers.ts';
import { UsageError } from './errors.ts';
import { EXIT, EXIT_MEANINGS, type ExitCode } from './exit-codes.ts';

/**
 * The whole command tree: every flag, its default, its help. Commands are loaded when they are called, so that
 * `kubeos --help` starts quickly.
 * @param deps what commands work with; handed through untouched
 * @param finished gets the exit code of the command that ran
 */
export function createProgram(deps: Deps, version: string, finished: (code: ExitCode) => void): Command {
  const program = new Command('kubeos')
    .description('Upgrades and rolls back the operating systems of KubeOS nodes: from outside, over SSH, node by node.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .showHelpAfterError('(kubeos --help shows the commands and flags)')
    .configureHelp({ helpWidth: Math.min(deps.io.stdout.columns ?? 80, 100), sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => void deps.io.stdout.write(text),
      writeErr: (text) => void deps.io.stderr.write(text),
    })
    .exitOverride((error) => {
      throw error;
    });
  program.addHelpText('after', `\n${exitCodeHelp()}`);
  addValidate(program, deps, finished);
  addPlan(program, deps, finished);
  addUpgrade(program, deps, finished);
  addRollback(program, deps, finished);
  addStatus(program, deps, finished);
  addLogs(program, deps, finished);
  addLab(program, deps, finished);
  return program;
}

type Finished = (code: ExitCode) => void;

function exitCodeHelp(): string {
  return [
    'Exit codes:',
    ...[...EXIT_MEANINGS].map(([code, meaning]) => `${String(code).padStart(5)}  ${meaning}`),
  ].join('\n');
}

function addValidate(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('validate')
    .description('check a spec: every mistake at once, where it stands and how to mend it')
    .addOption(specFile())
    .addOption(outputFormat(['text', 'json']))
    .addOption(ascii());
  command.action(async (flags) => {
    finished(await (await import('./commands/validate.ts')).validate(deps, flags));
  });
}

function addPlan(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('plan')
    .description('show which nodes an upgrade would change, in which order, and what stands in the way; change nothing')
    .addOption(specFile());
  addImageFlags(command);
  addRolloutFlags(command);
  command.option('--detailed-exitcode', `exit with ${EXIT.changesFound} where there are changes to make`, false);
  command.action(async (flags) => {
    finished(await (await import('./commands/plan.ts')).plan(deps, flags));
  });
}

function addUpgrade(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('upgrade')
    .description("bring the nodes to the spec's OS version: stage, write, verify, drain, trial boot, proof, commit")
    .addOption(specFile());
  addImageFlags(command);
  addRunFlags(command);
  addRolloutFlags(command);
  command.action(async (flags) => {
    finished(await (await import('./commands/upgrade.ts')).upgrade(deps, flags));
  });
}

function addRollback(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('rollback')
    .description('bring the nodes back to what their other slot holds: no image, same proof')
    .option('--to-previous', 'the version that the latest rollout replaced', false)
    .option('--to-other-slot', 'whatever the other slot holds, newer and unknown versions included', false)
    .addOption(flag('-f, --file <file>', 'a spec with opstype: rollback; - reads standard input'))
    .option('--allow-major', 'cross a major version', false);
  addRunFlags(command);
  addRolloutFlags(command);
  command.action(async (flags) => {
    finished(await (await import('./commands/rollback.ts')).rollback(deps, flags));
  });
}

function addStatus(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('status')
    .description('show every node: version, slots, next boot, and what a run does or left behind')
    .addOption(outputFormat(['text', 'wide', 'json', 'yaml']))
    .option('--no-ssh', 'only what the cluster knows');
  addSelectionFlags(command);
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(ascii());
  command.action(async (flags) => {
    finished(await (await import('./commands/status.ts')).status(deps, flags));
  });
}

function addLogs(program: Command, deps: Deps, finished: Finished): void {
  const command = program
    .command('logs')
    .description("print what kubeos wrote to a node's log (/var/log/messages, else the journal)")
    .argument('<node>', "the node's name")
    .addOption(flag('-n, --lines <count>', 'how many of the last lines', wholeNumber(1)).default(200));
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(ascii());
  command.action(async (node: string, flags) => {
    finished(await (await import('./commands/logs.ts')).logs(deps, node, flags));
  });
}

function addLab(program: Command, deps: Deps, finished: Finished): void {
  const lab = program
    .command('lab')
    .description('a simulated cluster on this machine: rehearse a spec, a pipeline, a bad day');
  const dir = () =>
    flag('--dir <folder>', "the lab's folder")
      .env('KUBEOS_LAB')
      .default(undefined, 'kubeos-lab in the temporary folder');
  lab
    .command('start')
    .description('start a lab in the background and say what to try')
    .addOption(flag('--nodes <count>', 'how many workers', wholeNumber(1)).default(5))
    .addOption(dir())
    .action(async (flags) => {
      finished(await (await import('./commands/lab.ts')).labStart(deps, flags));
    });
  lab
    .command('fault')
    .description('make something go wrong; without a kind, list the kinds')
    .argument('[node]', 'the node')
    .argument('[kind]', 'what goes wrong there')
    .option('--clear', 'undo the fault', false)
    .addOption(dir())
    .action(async (node: string | undefined, kind: string | undefined, flags) => {
      finished(await (await import('./commands/lab.ts')).labFault(deps, node, kind, flags));
    });
  lab
    .command('status')
    .description("show the lab's machines and faults")
    .addOption(dir())
    .action(async (flags) => {
      finished(await (await import('./commands/lab.ts')).labStatus(deps, flags));
    });
  lab
    .command('stop')
    .description('end the lab and remove its folder')
    .addOption(dir())
    .action(async (flags) => {
      finished(await (await import('./commands/lab.ts')).labStop(deps, flags));
    });
  lab
    .command('run', { hidden: true })
    .addOption(flag('--nodes <count>', 'how many workers', wholeNumber(1)).default(5))
    .addOption(dir())
    .action(async (flags) => {
      finished(await (await import('./commands/lab.ts')).labRun(deps, flags));
    });
}

function addImageFlags(command: Command): void {
  command
    .addOption(
      flag('--write <when>', 'write the slot before or after the drain: after keeps the old rollback image until then')
        .choices(['before-drain', 'after-drain'])
        .default('before-drain'),
    )
    .option('--reinstall', 'also write nodes that run the version already, where the recorded image differs', false)
    .option('--retry-failed-image', 'try an image once more that failed its trial on a node', false)
    .option('--allow-major', 'cross a major version', false);
}

function addRunFlags(command: Command): void {
  command
    .option('-y, --yes', 'do not ask', false)
    .addOption(flag('--log-dir <folder>', "where this run's log folder goes").env('KUBEOS_LOG_DIR'));
}

function addRolloutFlags(command: Command): void {
  addSelectionFlags(command);
  addPaceFlags(command);
  addDrainFlags(command);
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(outputFormat(['text', 'json'])).addOption(ascii());
}

function addSelectionFlags(command: Command): void {
  command
    .optionsGroup('Which nodes:')
    .addOption(flag('-l, --selector <selector>', 'only nodes whose labels match'))
    .addOption(flag('--nodes <names>', 'only these nodes, separated by commas', parseNames))
    .addOption(flag('--exclude <names>', 'not these nodes', parseNames))
    .option('--include-control-plane', 'control-plane nodes too', false);
}

function addPaceFlags(command: Command): void {
  command
    .optionsGroup('Pace and patience:')
    .addOption(flag('--maxunavailable <count>', 'how many nodes may be unavailable at once: a number or a percentage'))
    .addOption(duration('--budget-wait <time>', 'wait so long for a budget that others have used up', '10m'))
    .addOption(flag('--canary <count>', 'how many nodes go alone, first', wholeNumber(0)).default(1))
    .addOption(flag('--max-failures <count>', 'start no further node once so many failed', wholeNumber(0)).default(1))
    .addOption(duration('--reboot-timeout <time>', 'wait so long for SSH after a reboot', '15m'))
    .addOption(duration('--health-timeout <time>', 'wait so long for the kubelet, then send the node back', '10m'));
}

function addDrainFlags(command: Command): void {
  command
    .optionsGroup('Drain, as kubectl drain knows them:')
    .addOption(duration('--drain-timeout <time>', 'give up after', '10m'))
    .addOption(
      flag('--grace-period <seconds>', "for each pod to end; -1 is the pod's own", wholeNumber(-1)).default(-1),
    )
    .option('--force', 'also evict pods that no controller brings back', false)
    .option('--delete-emptydir-data', 'also evict pods with emptyDir volumes', false)
    .option('--disable-eviction', 'delete pods, passing over their budgets', false)
    .addOption(flag('--pod-selector <selector>', 'drain only pods whose labels match'));
}

function addSshFlags(command: Command): void {
  command
    .optionsGroup('SSH:')
    .addOption(flag('--ssh-user <name>', 'sign in as').env('KUBEOS_SSH_USER'))
    .addOption(flag('--ssh-port <port>', 'connect to', parsePort).env('KUBEOS_SSH_PORT'))
    .addOption(flag('-i, --identity <file>', 'private key; may be given several times', collect).env('KUBEOS_IDENTITY'))
    .addOption(flag('--ssh-config <file>', 'instead of ~/.ssh/config').env('KUBEOS_SSH_CONFIG'))
    .addOption(flag('--known-hosts <file>', 'instead of ~/.ssh/known_hosts', collect).env('KUBEOS_KNOWN_HOSTS'))
    .option('--accept-new-host-keys', 'trust and remember a host key at first contact')
    .addOption(flag('--hosts <file>', 'YAML with name, address, port, user, identity of nodes').env('KUBEOS_HOSTS'))
    .addOption(
      flag('--address-type <type>', "which of a node's addresses").env('KUBEOS_ADDRESS_TYPE').default('InternalIP'),
    );
}

function addClusterFlags(command: Command): void {
  command
    .optionsGroup('Cluster:')
    .addOption(flag('--kubectl <path>', 'the kubectl to use').env('KUBEOS_KUBECTL').default('kubectl'))
    .addOption(flag('--kubeconfig <file>', 'as kubectl knows it; also KUBECONFIG'))
    .addOption(flag('--context <name>', 'as kubectl knows it'))
    .addOption(
      flag('--lock-namespace <name>', 'where the Lease kubeos is').env('KUBEOS_LOCK_NAMESPACE').default('kube-system'),
    );
  command.optionsGroup('Options:');
}

function specFile(): Option {
  return flag('-f, --file <file>', 'the spec; - reads standard input').makeOptionMandatory();
}

const ascii = (): Option => new Option('--ascii', 'no symbols beyond ASCII').default(false);

function outputFormat(formats: readonly string[]): Option {
  return flag('-o, --output <format>', 'how the result is printed').choices(formats).default('text');
}

function duration(flags: string, description: string, preset: string): Option {
  return flag(flags, description, parseDuration).default(parseDuration(preset), preset);
}

/** An option whose parser's complaint names the flag. */
function flag<T>(flags: string, description: string, parser?: (text: string, before?: T) => T): Option {
  const option = new Option(flags, description);
  if (parser === undefined) return option;
  return option.argParser((text: string, before: T | undefined) => {
    try {
      return parser(text, before);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(
        `${option.long ?? flags}: ${error.message}`,
        error.next === undefined ? {} : { next: error.next },
      );
    }
  });
}
