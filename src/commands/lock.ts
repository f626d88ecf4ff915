import { LockHeldError, UsageError } from '../errors.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { createPrompter, describeHolder, listenForSignals } from '../local/index.ts';
import { describeLock, displayOptions, formatData, lockToJson, renderFreed, renderLock } from '../report/index.ts';
import { isLive } from '../rollout/lock-state.ts';
import type { LockState } from '../rollout/ports.ts';
import { withCluster } from './connect.ts';
import type { Deps } from './deps.ts';
import { clusterWords, shownBy } from './given-command.ts';
import { noticeOn } from './notices.ts';
import type { LockReleaseFlags, LockStatusFlags } from './option-types.ts';

/** `kubeos lock status`: who holds the lock, since when, for what. Changes nothing; exit 0 once shown. */
export async function lockStatus(deps: Deps, flags: LockStatusFlags): Promise<ExitCode> {
  const lock = await withCluster(deps, flags, { notice: noticeOn(deps) }, (cluster) => cluster.lockState());
  if (flags.output === 'json') deps.io.stdout.write(await formatData(lockToJson(lock), 'json', clusterWords(flags)));
  else showLock(deps, flags, lock, deps.io.stdout);
  return EXIT.done;
}

/**
 * `kubeos lock release`: frees the lock of a run that is dead, on the word of a person. Conditional on the Lease as it was
 * read and shown; the run finds out before its next change, should it live after all.
 */
export async function lockRelease(deps: Deps, flags: LockReleaseFlags): Promise<ExitCode> {
  const signals = listenForSignals();
  try {
    return await withCluster(deps, flags, { notice: noticeOn(deps) }, async (cluster) => {
      const lock = await cluster.lockState();
      if (lock?.held !== true) {
        deps.io.stdout.write('The lock is free: nothing to do.\n');
        return EXIT.done;
      }
      if (isLive(lock) && !flags.force) throw aliveError(lock);
      if (!flags.yes && !(await agreed(deps, flags, lock, signals.graceful))) {
        deps.io.stderr.write(`Not agreed to: nothing was changed (exit ${EXIT.refused}).\n`);
        return EXIT.refused;
      }
      signals.graceful.throwIfAborted();
      await cluster.freeLock(lock, describeHolder(deps.io.env), flags.force);
      const display = displayOptions(deps.io.env, deps.io.stdout, shownBy(flags));
      deps.io.stdout.write(`${renderFreed(lock, display).join('\n')}\n`);
      return EXIT.done;
    });
  } finally {
    signals.dispose();
  }
}

const aliveError = (lock: LockState): LockHeldError =>
  new LockHeldError('the run that holds the lock is alive', {
    reason: describeLock(lock),
    next: 'stop it where it runs (Ctrl-C: it tidies up), or give your command with --lock-wait 30m\nto take the lock from it all the same: --force; its nodes are then left where they stand',
  });

/** @throws UsageError where nobody can be asked: what is torn from a run is torn on somebody's word */
async function agreed(deps: Deps, flags: LockReleaseFlags, lock: LockState, signal: AbortSignal): Promise<boolean> {
  const prompter = createPrompter(deps.io);
  if (!prompter.canAsk) {
    throw new UsageError('there is nobody to ask whether the lock is to be freed', {
      reason: describeLock(lock),
      next: 'if that run is dead for sure, say so: --yes',
    });
  }
  showLock(deps, flags, lock, deps.io.stderr);
  const live = isLive(lock) ? 'It is alive: it stops before its next change. ' : '';
  return prompter.confirm(`\n${live}Free the lock of this run? [y/N] `, { about: describeLock(lock), signal });
}

function showLock(
  deps: Deps,
  flags: LockStatusFlags | LockReleaseFlags,
  lock: LockState | undefined,
  stream: Deps['io']['stdout'],
): void {
  const display = displayOptions(deps.io.env, stream, shownBy(flags));
  stream.write(`${renderLock(lock, display).join('\n')}\n`);
}
