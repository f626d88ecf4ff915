import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { displayOptions, formatData, planToJson, renderPlan } from '../report/index.ts';
import {
  exitForPlan,
  gatherPlan,
  requestForRollback,
  requestForSpec,
  type Plan,
  type RolloutRequest,
} from '../rollout/index.ts';
import type { Deps } from './deps.ts';
import { clusterWords, givenCommand, shownBy } from './given-command.ts';
import type { PlanFlags } from './option-types.ts';
import { withReading } from './reading.ts';
import { needOneGoal, requestOptions, withOwnNode } from './request.ts';
import { printInvalid, takeSpec } from './spec.ts';
import { withWays } from './ways.ts';

/**
 * `kubeos plan`: what an upgrade or a rollback would do, and what stands in its way. Changes nothing.
 * @param imageFlags flags on the command line that are for upgrades alone
 */
export async function plan(deps: Deps, flags: PlanFlags, imageFlags: readonly string[]): Promise<ExitCode> {
  const asked = await requestFrom(deps, flags);
  if (asked === undefined) return EXIT.usage;
  if (asked.goal.operation === 'rollback') refuseImageFlags(imageFlags);
  const { request, images } = await withWays(deps, flags, asked);
  const planned = await withReading(deps, flags, async (ports) =>
    gatherPlan({ ...ports, clock: deps.clock, images }, await withOwnNode(deps, ports.cluster, request)),
  );
  const exitCode = exitForPlan(planned, flags.detailedExitcode);
  if (flags.output === 'json') {
    deps.io.stdout.write(await formatData(planToJson(planned, exitCode), 'json', clusterWords(flags)));
    return exitCode;
  }
  const display = displayOptions(deps.io.env, deps.io.stdout, shownBy(flags));
  const lines = renderPlan(planned, display, { dryRun: true, command: commandFor(deps, planned), exitCode });
  deps.io.stdout.write(`${lines.join('\n')}\n`);
  return exitCode;
}

/** Undefined where the spec is wrong, which has been shown. */
async function requestFrom(deps: Deps, flags: PlanFlags): Promise<RolloutRequest | undefined> {
  needOneGoal(flags, {
    none: 'plan of what?',
    next: 'what a spec leads to: kubeos plan -f FILE\na rollback without a spec: kubeos plan --to-previous, or --to-other-slot',
  });
  const { file } = flags;
  if (file === undefined) return requestForRollback(requestOptions(flags, 'read'), flags.toOtherSlot);
  const inHand = await takeSpec(deps, { ...flags, file });
  if (inHand.kind === 'insecure') await printInvalid(deps, flags, inHand.result);
  return inHand.kind === 'valid' ? requestForSpec(inHand.spec, requestOptions(flags, 'read')) : undefined;
}

/** The command that is told to be given would not know them. */
function refuseImageFlags(given: readonly string[]): void {
  if (given.length === 0) return;
  const [are, them] = given.length === 1 ? ['is', 'it'] : ['are', 'them'];
  throw new UsageError(`${given.join(', ')} ${are} for upgrades: a rollback brings no image`, {
    next: `leave ${them} out`,
  });
}

/** The command that carries the plan out. */
function commandFor(deps: Deps, { operation, liveRun }: Plan): string {
  const argv = liveRun === undefined ? deps.argv : [...deps.argv, '--lock-wait', '30m'];
  return givenCommand(argv, { verb: operation, without: ['--detailed-exitcode'] });
}
