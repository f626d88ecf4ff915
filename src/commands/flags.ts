import { Option, type Command } from 'commander';
import { UsageError } from '../errors.ts';
import {
  collect,
  oneOf,
  parseDuration,
  parseIdentity,
  parseJumpHosts,
  parseNames,
  parsePort,
  parseProxy,
  parseRate,
  parseReadableFile,
  parseSpecFile,
  wholeNumber,
} from './option-parsers.ts';

/** The spec. Not mandatory for commander, which would complain of it before it looks at anything else. */
export const specFile = (what = 'the spec'): Option =>
  flag('-f, --file <file>', `${what}; - reads standard input`, parseSpecFile);

export const ascii = (): Option => new Option('--ascii', 'no symbols beyond ASCII').default(false);

export function outputFormat(formats: readonly string[]): Option {
  return choice('-o, --output <format>', 'how the result is printed', formats).default('text');
}

/** What a rollback leads to, where no spec says so. */
export function addRollbackGoals(command: Command): void {
  command
    .option('--to-previous', 'a rollback to the version that the latest rollout replaced', false)
    .option(
      '--to-other-slot',
      'a rollback to whatever the other slot holds, newer and unknown versions included; given again once done, it ' +
        'flips back',
      false,
    );
}

/** What changes how an image is brought to a node. */
export function addImageFlags(command: Command): void {
  command
    .addOption(
      choice(
        '--write <when>',
        'write the slot before the drain, or after it, which keeps the old rollback image until then',
        ['before-drain', 'after-drain'],
      ).default('before-drain'),
    )
    .addOption(flag('--write-rate <rate>', 'bytes a second at most with which a slot is written, as 50M', parseRate))
    .option('--reinstall', 'also write nodes that run the version already, where the recorded image differs', false)
    .option('--retry-failed-image', 'try an image once more that failed its trial on a node', false)
    .option(
      '--managed-boot',
      'add to custom.cfg on each node what leads back from a slot that GRUB cannot load, and from an initramfs that halts',
      false,
    )
    .option('--allow-major', 'cross a major version', false);
  addWayFlags(command);
}

function addWayFlags(command: Command): void {
  command
    .optionsGroup("The image's way to the nodes:")
    .addOption(
      choice('--via <way>', 'by a tool of the nodes, or fetched once by this machine and sent over SSH', [
        'curl',
        'wget',
        'ssh',
      ]).default(undefined, 'for each node curl, else GNU wget, else ssh'),
    )
    .addOption(
      choice(
        '--stream [when]',
        'write the slot while the image arrives, which gives up the system in it first: where /persist is too small, or always',
        ['where-needed', 'always'],
      ).preset('where-needed'),
    )
    .addOption(
      flag('--certs-dir <folder>', 'for ssh: has the files that the spec names as cacert, clientcert, clientkey').env(
        'KUBEOS_CERTS_DIR',
      ),
    )
    .addOption(
      flag(
        '--limit-rate <rate>',
        'bytes a second at most, as 500K or 10M: for each node, by ssh for all together',
        parseRate,
      ),
    )
    .addOption(
      flag('--proxy <url>', 'fetch through this proxy', parseProxy)
        .env('KUBEOS_PROXY')
        .default(undefined, 'none, whatever the environment says'),
    );
  command.optionsGroup('Options:');
}

export function addRunFlags(command: Command): void {
  command.option('-y, --yes', 'do not ask; without a terminal nothing is asked anyway', false).addOption(
    flag('--log-dir <folder>', "where each run's log folder goes").env('KUBEOS_LOG_DIR').default(
      // The default depends on the user: src/local knows it.
      undefined,
      '~/.local/state/kubeos/runs',
    ),
  );
  addLockFlags(command);
}

/** How a command that changes nodes holds the lock, and waits for another's. */
export function addLockFlags(command: Command): void {
  command
    .optionsGroup('Lock (90s, 10m, 1h30m):')
    .addOption(
      flag('--lock-wait <time>', 'wait for another run that holds the lock; 0: for ever', parseDuration).default(
        undefined,
        'not at all',
      ),
    )
    .addOption(
      flag(
        '--lock-duration <time>',
        'without a sign of life for so long, this run counts as dead; 15s at least',
        parseLockDuration,
      )
        .env('KUBEOS_LOCK_DURATION')
        .default(60_000, '60s'),
    );
}

/** Shorter ones are no match for a network that is slow for a moment. */
const SHORTEST_LOCK_MS = 15_000;

function parseLockDuration(text: string): number {
  const ms = lockDuration(text);
  if (ms < SHORTEST_LOCK_MS) {
    throw new UsageError(
      `${JSON.stringify(text.slice(0, 80))} is too short: a run shows a sign of life four times as often`,
      {
        next: 'give 15s at least; 60s is right for most',
      },
    );
  }
  return ms;
}

/** For ever is no answer here: a dead run would never be taken over. */
function lockDuration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(error.message, { next: 'write it like 60s, 90s or 2m; 15s at least' });
  }
}

export function addRolloutFlags(command: Command): void {
  addSelectionFlags(command);
  command
    .option('--include-control-plane', 'control-plane nodes too', false)
    .option('--strict', 'refuse the whole run where a selected node cannot be started; warnings refuse nothing', false)
    .option('--allow-no-fallback', 'also try nodes whose trial, should it fail, does not end by itself', false);
  addPaceFlags(command);
  addDrainFlags(command);
  addSshFlags(command);
  addClusterFlags(command);
  command.addOption(outputFormat(['text', 'json'])).addOption(ascii());
}

export function addSelectionFlags(command: Command): void {
  command
    .optionsGroup('Which nodes:')
    .addOption(flag('-l, --selector <selector>', 'only nodes whose labels match'))
    .addOption(flag('--nodes <names>', 'only these nodes, separated by commas', parseNames))
    .addOption(flag('--exclude <names>', 'not these nodes', parseNames));
}

function addPaceFlags(command: Command): void {
  command
    .optionsGroup('Pace and patience (90s, 10m, 1h30m; 0 waits for ever):')
    .addOption(
      flag('--maxunavailable <count>', 'how many nodes may be unavailable at once: a number or a percentage').default(
        undefined,
        'as the spec says',
      ),
    )
    .addOption(duration('--budget-wait <time>', 'for a budget that other nodes have used up', '10m'))
    .addOption(flag('--canary <count>', 'how many nodes go alone, first', wholeNumber(0)).default(1))
    .addOption(
      flag(
        '--max-failures <count>',
        'start no further node once so many failed; 0: never stop',
        wholeNumber(0),
      ).default(1),
    )
    .addOption(duration('--reboot-timeout <time>', 'for SSH after a reboot', '15m'))
    .addOption(duration('--health-timeout <time>', 'for a healthy kubelet; then the node is sent back', '10m'))
    .addOption(
      duration('--dead-man <time>', 'for a sign of life from this run; then a trial goes back by itself', '15m'),
    );
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

export function addSshFlags(command: Command): void {
  command
    .optionsGroup('SSH:')
    .addOption(
      flag('--ssh-user <name>', 'sign in as; a password comes from KUBEOS_SSH_PASSWORD, or a prompt')
        .env('KUBEOS_SSH_USER')
        .default(undefined, 'ssh_config, or root'),
    )
    .addOption(
      flag('--ssh-port <port>', 'connect to', parsePort).env('KUBEOS_SSH_PORT').default(undefined, 'ssh_config, or 22'),
    )
    .addOption(
      flag(
        '-i, --identity <file>',
        'private key, several times if need be; KUBEOS_SSH_PASSPHRASE opens it',
        parseIdentity,
      )
        .env('KUBEOS_IDENTITY')
        .default(undefined, 'ssh_config and the agent'),
    )
    .addOption(
      flag('--jump <hosts>', 'go through these: user@host:port,second; none: directly', parseJumpHosts)
        .env('KUBEOS_SSH_JUMP')
        .default(undefined, 'ssh_config'),
    )
    .addOption(
      flag('--ssh-config <file>', 'settings by node; none: no file', (text) =>
        text === 'none' ? text : parseReadableFile(text),
      )
        .env('KUBEOS_SSH_CONFIG')
        .default(undefined, '~/.ssh/config, then /etc/ssh/ssh_config'),
    )
    .addOption(
      flag('--known-hosts <file>', 'trusted host keys', collect)
        .env('KUBEOS_KNOWN_HOSTS')
        .default(undefined, 'UserKnownHostsFile of ssh_config, or ~/.ssh/known_hosts'),
    )
    .option(
      '--accept-new-host-keys',
      'trust and remember a host key at first contact (env: KUBEOS_ACCEPT_NEW_HOST_KEYS)',
    )
    .option('--ask-sudo-password', 'ask for it where sudo on a node wants one (or set KUBEOS_SUDO_PASSWORD)')
    .addOption(
      flag('--hosts <file>', 'YAML with name, address, port, user, identity, jump of nodes', parseReadableFile).env(
        'KUBEOS_HOSTS',
      ),
    )
    .addOption(
      flag('--address-type <type>', "which of a node's addresses").env('KUBEOS_ADDRESS_TYPE').default('InternalIP'),
    );
}

/** The last group; what comes after it stands among the general options. */
export function addClusterFlags(command: Command): void {
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

export function duration(flags: string, description: string, preset: string): Option {
  return flag(flags, description, parseDuration).default(parseDuration(preset), preset);
}

/** An option whose parser's complaint names the flag, or the variable that the value is from. */
export function flag<T>(flags: string, description: string, parser?: (text: string, before?: T) => T): Option {
  const option = new Option(flags, description);
  if (parser === undefined) return option;
  return option.argParser((text: string, before: T | undefined) => {
    try {
      return parser(text, before);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`${sourceOf(option, text)}: ${error.message}`, {
        ...(error.reason !== undefined && { reason: error.reason }),
        ...(error.next !== undefined && { next: error.next }),
      });
    }
  });
}

/** An option that takes one of a few words. */
function choice(flags: string, description: string, words: readonly string[]): Option {
  const option = flag(flags, description, oneOf(words));
  option.argChoices = [...words];
  return option;
}

// commander tells a parser nothing but the text; a variable of the same text is just as wrong.
const sourceOf = ({ envVar, long, flags }: Option, text: string): string =>
  envVar !== undefined && process.env[envVar] === text ? envVar : (long ?? flags);
