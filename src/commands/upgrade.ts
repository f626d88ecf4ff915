import { EXIT, type ExitCode } from '../exit-codes.ts';
import { formatData, insecureToJson } from '../report/index.ts';
import { reportInsecure, requestForSpec } from '../rollout/index.ts';
import { redactUrl, type UpgradeSpec } from '../validate/index.ts';
import { withConnections } from './connect.ts';
import type { Deps } from './deps.ts';
import { noticeOn } from './notices.ts';
import type { UpgradeFlags } from './option-types.ts';
import { requestOptions, selectionOptions } from './request.ts';
import { rollOut } from './roll-out.ts';
import { takeSpec, upgradeSpec } from './spec.ts';
import { withWays } from './ways.ts';

/** `kubeos upgrade`: brings the selected nodes to the spec's OS version. */
export async function upgrade(deps: Deps, flags: UpgradeFlags): Promise<ExitCode> {
  const inHand = await takeSpec(deps, flags);
  if (inHand.kind === 'invalid') return EXIT.usage;
  if (inHand.kind === 'insecure') return tellNodes(deps, flags, inHand.spec);
  const request = requestForSpec(upgradeSpec(inHand.spec, flags.file), requestOptions(flags, 'rollout'));
  const { request: brought, images } = await withWays(deps, flags, request);
  return rollOut(deps, flags, brought, images);
}

/**
 * http without flagSafe: nothing is downloaded, and the log of each node that is to be upgraded says so, as KubeOS's
 * usage instructions demand.
 */
async function tellNodes(deps: Deps, flags: UpgradeFlags, spec: UpgradeSpec): Promise<ExitCode> {
  const url = spec.image.type === 'disk' ? redactUrl(spec.image.url) : '';
  const message = `the address of the upgrade image is insecure: ${url} is http and flagSafe is not true; nothing was downloaded`;
  const { told, unreached } = await withConnections(deps, flags, { notice: noticeOn(deps) }, (ports) =>
    reportInsecure(ports, spec, selectionOptions(flags), message),
  );
  if (flags.output === 'json') {
    deps.io.stdout.write(await formatData(insecureToJson({ message, told, unreached }), 'json'));
    return EXIT.refused;
  }
  deps.io.stderr.write(`Nothing was downloaded: ${url} is not secure.\n`);
  if (told.length > 0) deps.io.stderr.write(`  written to the log of ${told.join(', ')}\n`);
  for (const { node, because } of unreached) deps.io.stderr.write(`  could not be told: ${node}: ${because}\n`);
  return EXIT.refused;
}
