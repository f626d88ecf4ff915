import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { describeHolder, listenForSignals, newRunId, type StopSignals } from '../local/index.ts';
import {
  bootResetToJson,
  createReport,
  displayOptions,
  formatData,
  renderBootReset,
  renderBootResetPlan,
} from '../report/index.ts';
import {
  bootResetWithoutWork,
  carryOutBootReset,
  planBootReset,
  resetsAny,
  type BootResetPlan,
  type BootResetResult,
} from '../rollout/boot-reset.ts';
import { refuseUnknownNames, type SelectionOptions } from '../rollout/selection.ts';
import { agreedTo } from './agree.ts';
import { withConnections, type Connections } from './connect.ts';
import type { Deps, OutputStream } from './deps.ts';
import { clusterWords, shownBy } from './given-command.ts';
import type { ResetBootFlags } from './option-types.ts';
import { takeSpec } from './spec.ts';

interface Reset {
  deps: Deps;
  flags: ResetBootFlags;
  run: string;
  signals: StopSignals;
}

/** `kubeos node reset-boot`: takes out what `--managed-boot` put beside the nodes' grub.cfg. */
export async function resetBoot(deps: Deps, names: readonly string[], flags: ResetBootFlags): Promise<ExitCode> {
  const selection = await selectionOf(deps, names, flags);
  if (selection === undefined) return EXIT.usage;
  const { colour, ascii, mode } = displayOptions(deps.io.env, deps.io.stderr, shownBy(flags));
  const progress = await createReport({ stream: deps.io.stderr, clock: deps.clock, colour, ascii, mode });
  const notice = (message: string, node?: string): void =>
    progress.event({ at: deps.clock.now(), type: 'notice', message, ...(node === undefined ? {} : { node }) });
  const signals = listenForSignals();
  const reset: Reset = { deps, flags, run: newRunId(deps.clock.now()), signals };
  try {
    const paused = <T>(task: () => Promise<T>): Promise<T> => progress.paused(task);
    return await withConnections(deps, flags, { notice, paused }, async (connections) => {
      progress.activity('reading the cluster and its nodes');
      if (names.length > 0) refuseUnknownNames('the command line', names, await connections.cluster.nodes());
      const plan = await planBootReset(connections, selection, signals.graceful);
      progress.activity(undefined);
      return inSteps(reset, plan, { ...connections, clock: deps.clock, report: progress });
    });
  } finally {
    progress.stop();
    signals.dispose();
  }
}

async function inSteps(
  reset: Reset,
  plan: BootResetPlan,
  ports: Connections & Parameters<typeof carryOutBootReset>[0],
): Promise<ExitCode> {
  const { deps, flags, run, signals } = reset;
  if (!resetsAny(plan)) return print(reset, bootResetWithoutWork(run, plan, false), plan);
  show(reset, deps.io.stderr, (display) => renderBootResetPlan(plan, display));
  const asked = { question: 'Take the managed boot out? [y/N] ', about: titleOf(plan), signal: signals.graceful };
  if (!(await agreedTo(deps, flags, asked))) {
    const declined = bootResetWithoutWork(run, plan, true);
    if (flags.output === 'json') await printJson(reset, declined);
    deps.io.stderr.write(`Not agreed to: nothing was changed (exit ${declined.exitCode}).\n`);
    return declined.exitCode;
  }
  const { lockWait } = flags;
  const holder = { holder: describeHolder(deps.io.env), ...(lockWait === undefined ? {} : { waitMs: lockWait }) };
  signals.begin();
  return print(reset, await carryOutBootReset(ports, plan, { ...holder, run }, signals), plan);
}

function titleOf({ entries }: BootResetPlan): string {
  const nodes = entries.filter(({ does }) => does === 'take out').map(({ node }) => node);
  return `Take the managed boot out of ${nodes.join(', ')}`;
}

async function print(reset: Reset, result: BootResetResult, { nobody }: BootResetPlan): Promise<ExitCode> {
  const { deps, flags } = reset;
  if (flags.output === 'json') await printJson(reset, result);
  if (nobody !== undefined) {
    show(reset, deps.io.stderr, (display) => renderBootResetPlan({ entries: [], highestToken: 0, nobody }, display));
  } else if (flags.output !== 'json') {
    show(reset, deps.io.stdout, (display) => renderBootReset(result, display));
  }
  return result.exitCode;
}

async function printJson({ deps, flags }: Reset, result: BootResetResult): Promise<void> {
  deps.io.stdout.write(await formatData(bootResetToJson(result), 'json', clusterWords(flags)));
}

function show(
  { deps, flags }: Reset,
  stream: OutputStream,
  render: (display: ReturnType<typeof displayOptions>) => string[],
): void {
  stream.write(`${render(displayOptions(deps.io.env, stream, shownBy(flags))).join('\n')}\n`);
}

/** @returns undefined for a spec that cannot be used, which has been said @throws UsageError where no node is named */
async function selectionOf(
  deps: Deps,
  names: readonly string[],
  flags: ResetBootFlags,
): Promise<SelectionOptions | undefined> {
  const { file, selector, exclude } = flags;
  const nodes = [...names, ...(flags.nodes ?? [])];
  if (nodes.length === 0 && file === undefined && selector === undefined) {
    throw new UsageError('the managed boot is to be taken out of which nodes?', {
      next: 'name them, or give -l SELECTOR, or -f FILE (the spec that addresses them)',
    });
  }
  const addressed = await addressedBy(deps, flags);
  if (addressed === undefined) return undefined;
  return {
    // Who is named is meant, a control plane too.
    includeControlPlane: flags.includeControlPlane || names.length > 0,
    ...addressed,
    ...(nodes.length === 0 ? {} : { nodes }),
    ...(selector === undefined ? {} : { selector }),
    ...(exclude === undefined ? {} : { exclude }),
  };
}

/** What the spec says of nodes, where there is one. */
async function addressedBy(
  deps: Deps,
  flags: ResetBootFlags,
): Promise<Pick<SelectionOptions, 'nodeselector'> | undefined> {
  if (flags.file === undefined) return {};
  const inHand = await takeSpec(deps, { ...flags, file: flags.file });
  return inHand.kind === 'invalid' ? undefined : { nodeselector: inHand.spec.nodeselector };
}
