import { EXIT, type ExitCode } from '../exit-codes.ts';
import { displayOptions, formatData, planToJson, renderPlan } from '../report/index.ts';
import { exitForPlan, gatherPlan, requestForSpec } from '../rollout/index.ts';
import type { Deps } from './deps.ts';
import { givenCommand } from './given-command.ts';
import type { PlanFlags } from './option-types.ts';
import { withReading } from './reading.ts';
import { requestOptions, withOwnNode } from './request.ts';
import { printInvalid, takeSpec, upgradeSpec } from './spec.ts';
import { withWays } from './ways.ts';

/** `kubeos plan`: what an upgrade would do, and what stands in its way. Changes nothing. */
export async function plan(deps: Deps, flags: PlanFlags): Promise<ExitCode> {
  const inHand = await takeSpec(deps, flags);
  if (inHand.kind === 'insecure') await printInvalid(deps, flags, inHand.result);
  if (inHand.kind !== 'valid') return EXIT.usage;
  const asked = requestForSpec(upgradeSpec(inHand.spec, flags.file), requestOptions(flags, 'read'));
  const { request, images } = await withWays(deps, flags, asked);
  const planned = await withReading(deps, flags, async (ports) =>
    gatherPlan({ ...ports, clock: deps.clock, images }, await withOwnNode(deps, ports.cluster, request)),
  );
  const exitCode = exitForPlan(planned, flags.detailedExitcode);
  if (flags.output === 'json') {
    deps.io.stdout.write(await formatData(planToJson(planned, exitCode), 'json'));
    return exitCode;
  }
  const display = displayOptions(deps.io.env, deps.io.stdout, { ascii: flags.ascii });
  const argv = planned.liveRun === undefined ? deps.argv : [...deps.argv, '--lock-wait', '30m'];
  const command = givenCommand(argv, { verb: 'upgrade', without: ['--detailed-exitcode'] });
  const lines = renderPlan(planned, display, { dryRun: true, command, exitCode });
  deps.io.stdout.write(`${lines.join('\n')}\n`);
  return exitCode;
}
