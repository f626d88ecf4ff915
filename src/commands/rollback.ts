import { UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { requestForRollback, requestForSpec, type RolloutRequest } from '../rollout/index.ts';
import type { Deps } from './deps.ts';
import { fileWord } from './given-command.ts';
import type { RollbackFlags } from './option-types.ts';
import { needOneGoal, requestOptions } from './request.ts';
import { rollOut } from './roll-out.ts';
import { takeSpec } from './spec.ts';

/** `kubeos rollback`: brings the selected nodes back to what their other slot holds. */
export async function rollback(deps: Deps, flags: RollbackFlags): Promise<ExitCode> {
  needOneGoal(flags, {
    none: 'rollback to what?',
    next: 'give one of: --to-previous, --to-other-slot, -f FILE (a spec with opstype: rollback)',
  });
  if (flags.file === undefined) {
    const request = requestForRollback(requestOptions(flags, 'rollout'), flags.toOtherSlot);
    return rollOut(deps, flags, request);
  }
  const request = await requestFromSpec(deps, flags, flags.file);
  return request === undefined ? EXIT.usage : rollOut(deps, flags, request);
}

async function requestFromSpec(deps: Deps, flags: RollbackFlags, file: string): Promise<RolloutRequest | undefined> {
  const inHand = await takeSpec(deps, { ...flags, file });
  if (inHand.kind === 'invalid') return undefined;
  if (inHand.spec.opstype === 'upgrade') {
    throw new UsageError('this spec is an upgrade (opstype: upgrade)', {
      next: `kubeos upgrade -f ${fileWord(file)}\nor set opstype: rollback`,
    });
  }
  return requestForSpec(inHand.spec, requestOptions(flags, 'rollout'));
}
