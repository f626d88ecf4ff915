import { ConnectError, KubeosError, LockLostError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import type { NodeResult } from './events.ts';
import type { NodeObservation, Slot } from './facts.ts';
import { annotate } from './foreign-hands.ts';
import { waitHealthy, type Health } from './health.ts';
import { DeadMan } from './dead-man.ts';
import { doStep } from './do-step.ts';
import { endFellBack, leftCordoned, trouble } from './node-ends.ts';
import { drain } from './node-prepare.ts';
import { awaitBoot, bootOf, reboot } from './node-reboot.ts';
import { despiteCuts } from './patience.ts';
import type { BootReport } from './ports.ts';
import type { Step } from './steps.ts';
import type { Trip } from './trip.ts';
import { formatDuration } from './units.ts';

/** How a trial ended: committed, or with a result of its own. */
export type TrialEnd = 'committed' | NodeResult;

/** Arms the verified slot, unless it is armed already, and boots it. Resolves to the boot it came from and to. */
export async function bootTrial(
  trip: Trip,
  firstStep: Step,
): Promise<{ armedBootId: string; report: BootReport | undefined }> {
  const { ports, early, late } = trip.context;
  const { assignment } = trip;
  if (firstStep === 'reboot') {
    early.throwIfAborted();
    trip.phase = 'armed';
    trip.skip('arm');
  } else {
    await doStep(trip, 'arm', early, async () => {
      trip.phase = 'arming';
      await arm(trip);
      trip.phase = 'armed';
      return `slot ${assignment.target} for one boot, slot ${assignment.from} stays permanent`;
    });
  }
  const seen = await ports.remote.observe(trip.node, late);
  if (rebootedSinceArmed(trip, seen)) {
    trip.foreign('something else rebooted it once it was armed: that boot was its trial');
    trip.phase = 'rebooting';
    trip.skip('reboot', cameUp(trip, bootOf(seen)));
    return { armedBootId: seen.journal?.armedBootId ?? '', report: bootOf(seen) };
  }
  if (trip.bootId !== seen.bootId) trip.foreign('something else rebooted it since its way began');
  const armedBootId = provenArmed(trip, seen);
  let report: BootReport | undefined;
  await doStep(trip, 'reboot', late, async () => {
    await trip.mayStart();
    report = await reboot(trip, 'trial', armedBootId);
    return cameUp(trip, report);
  });
  return { armedBootId, report };
}

/** Arms it; a node that a reset took to its trial in the middle of that refuses to be armed again, and is armed enough. */
async function arm(trip: Trip): Promise<void> {
  const { ports, late, plan } = trip.context;
  try {
    await ports.remote.arm(trip.node, trip.authority, trip.assignment.target, plan.managedBoot === true);
  } catch (error) {
    if (!(error instanceof KubeosError) || error instanceof LockLostError || error instanceof ConnectError) throw error;
    if (!rebootedSinceArmed(trip, await ports.remote.observe(trip.node, late))) throw error;
  }
}

/** It runs another boot than the one that it was armed in, so that its trial has begun, and maybe ended, already. */
function rebootedSinceArmed({ assignment }: Trip, { journal, bootId }: NodeObservation): boolean {
  if (journal?.target !== assignment.target || journal.armedBootId === '') return false;
  return (journal.phase === 'armed' || journal.phase === 'verified') && journal.armedBootId !== bootId;
}

/** What arming did is read back before the reboot: it is the last moment at which nothing has happened. */
function provenArmed({ assignment }: Trip, seen: NodeObservation): string {
  const { from, target } = assignment;
  const found = armingOf(seen);
  const wanted = `journal armed for slot ${target}, armed on this boot, next_entry means ${target}, saved_entry means ${from}`;
  if (found === wanted) return seen.bootId;
  throw new KubeosError(`slot ${target} is not armed as it was ordered`, EXIT.incomplete, {
    reason: found,
    next: 'see who else changes the boot environment or reboots the node, then give the same command again',
  });
}

function armingOf({ bootEnv, bootId, journal }: NodeObservation): string {
  if (bootEnv?.problem !== undefined) return `the boot environment cannot be trusted: ${bootEnv.problem}`;
  return [
    journal === undefined ? 'no journal' : `journal ${journal.phase} for slot ${journal.target}`,
    journal?.armedBootId === bootId ? 'armed on this boot' : 'armed on another boot',
    `next_entry means ${bootEnv?.next ?? 'no slot'}`,
    `saved_entry means ${bootEnv?.saved ?? 'A'}`,
  ].join(', ');
}

/**
 * Proves a node that was booted into its trial slot and makes the slot permanent; or takes it back.
 * @param report what it said of its boot; undefined where it never answered
 */
export async function finishTrial(trip: Trip, armedBootId: string, report: BootReport | undefined): Promise<TrialEnd> {
  const deadMan = new DeadMan(trip);
  try {
    return await judgeBoots(trip, armedBootId, report, deadMan);
  } finally {
    await deadMan.stop();
  }
}

async function judgeBoots(
  trip: Trip,
  armedBootId: string,
  report: BootReport | undefined,
  deadMan: DeadMan,
): Promise<TrialEnd> {
  const { assignment, context } = trip;
  let seen = report;
  let wasUp = false;
  for (let boots = 0; boots < MOST_BOOTS; boots++) {
    if (seen === undefined) return noAnswer(trip, `after the reboot into slot ${assignment.target}`);
    if (seen.active === assignment.from) {
      return endFellBack(trip, seen, await whyBack(trip, seen, wasUp));
    }
    wasUp = true;
    trip.phase = 'trial';
    await deadMan.plant();
    const verdict = await tryCommit(trip, seen);
    if (verdict === 'committed') return verdict;
    if ('unhealthy' in verdict) {
      if (context.view.find(trip.name) === undefined) return deletedOnTrial(trip, verdict.unhealthy);
      return sendBack(trip, seen, verdict.unhealthy);
    }
    seen = await awaitBoot(trip, 'leaving' in verdict ? verdict.leaving : armedBootId);
  }
  return trouble(trip, 'needs hands', {
    what: `it rebooted or lost its connection ${MOST_BOOTS} times while slot ${assignment.target} was on trial`,
    next: `see its console; ${leftCordoned(trip)}`,
  });
}

const MOST_BOOTS = 5;

/** Where its dead man's timer ran out, the node knows best. */
async function whyBack(trip: Trip, { active }: BootReport, wasUp: boolean): Promise<string> {
  const { ports, late } = trip.context;
  const { target } = trip.assignment;
  if (!wasUp) return `slot ${target} was to boot, slot ${active} came up`;
  const { journal } = await despiteCuts(ports.clock, late, () => ports.remote.observe(trip.node, late));
  if (journal?.phase === 'aborted' && journal.target === target) return journal.reason;
  return `slot ${target} was up on trial, until something reset the node: the system itself, its power or a hand`;
}

/** Who deleted it decided about it: it is left on its trial, which any reset ends. */
function deletedOnTrial(trip: Trip, reason: string): Promise<NodeResult> {
  const { from, target } = trip.assignment;
  return trouble(trip, 'needs hands', {
    what: `somebody deleted it from the cluster while slot ${target} was on trial`,
    reason,
    next:
      `a reset brings it back to slot ${from}; to keep it in the cluster, restart its kubelet, which registers it ` +
      'again, then give the same command again',
  });
}

/**
 * A trial's verdict: `again` where the connection or the boot changed under it, so that it is judged anew; `leaving`, with
 * the boot that ends, where the node goes back by itself.
 */
type Verdict = 'committed' | { unhealthy: string } | { again: true } | { leaving: string };

async function tryCommit(trip: Trip, report: BootReport): Promise<Verdict> {
  const { ports, late } = trip.context;
  const { target } = trip.assignment;
  try {
    const verdict = await prove(trip, report);
    if (verdict !== 'proven') return verdict;
    await doStep(trip, 'commit', late, async () => {
      await ports.remote.commit(trip.node, trip.authority, target);
      return `slot ${target} is permanent`;
    });
    return 'committed';
  } catch (error) {
    return judgeRefusal(trip, report, error);
  }
}

/** The proof or the commit failed: because the connection or the boot changed under it, or because it is refused. */
async function judgeRefusal(trip: Trip, report: BootReport, error: unknown): Promise<Verdict> {
  const { ports, late } = trip.context;
  const { target, version } = trip.assignment;
  if (error instanceof ConnectError) return { again: true };
  if (!(error instanceof KubeosError) || error instanceof LockLostError) throw error;
  const seen = await ports.remote.observe(trip.node, late).catch((problem: unknown) => {
    if (problem instanceof ConnectError) return undefined;
    throw problem;
  });
  if (seen === undefined || seen.bootId !== report.bootId) return { again: true };
  const reason = error.reason === undefined ? '' : ` (${error.reason})`;
  return endedBy(seen, target) ?? { unhealthy: `slot ${target} booted ${version}, but ${error.message}${reason}` };
}

/** Committed after all, or ended by its own timer; undefined where the trial stands. */
function endedBy({ journal, bootEnv, bootId }: NodeObservation, target: Slot): Verdict | undefined {
  if (journal?.phase === 'committed' && bootEnv?.saved === target) return 'committed';
  if (journal?.phase === 'aborted' && journal.target === target) return { leaving: bootId };
  return undefined;
}

async function prove(trip: Trip, report: BootReport): Promise<'proven' | Exclude<Verdict, 'committed'>> {
  const { ports, late, options } = trip.context;
  const { target, version } = trip.assignment;
  let verdict: 'proven' | Exclude<Verdict, 'committed'> = { again: true };
  await doStep(trip, 'prove', late, async () => {
    if (report.osVersion !== version) {
      verdict = { unhealthy: `slot ${target} booted, but it holds ${report.osVersion}, not ${version}` };
      return NOT_PROVEN;
    }
    const health = await judgeHealth(trip, report, version);
    if (health.verdict === 'rebooted') return 'it rebooted once more';
    if (health.verdict === 'unhealthy') {
      const waited = formatDuration(options.healthTimeoutMs);
      verdict = { unhealthy: `slot ${target} booted, but it was not healthy within ${waited}: ${health.because}` };
      return NOT_PROVEN;
    }
    await ports.remote.prove(trip.node, trip.authority, { slot: target, version, adopt: false });
    verdict = 'proven';
    return `slot ${target}, ${version}, kubelet Ready, 2 heartbeats`;
  });
  return verdict;
}

/** Why stands in the notice that the node is sent back. */
const NOT_PROVEN = 'not proven';

/** Waits for the health of this boot. */
export function judgeHealth(
  trip: Trip,
  report: Pick<BootReport, 'bootId'>,
  version: string,
  signal: AbortSignal = trip.context.late,
): Promise<Health> {
  const { ports, view, options } = trip.context;
  const check = { node: trip.name, bootId: report.bootId, version, timeoutMs: options.healthTimeoutMs };
  return waitHealthy(check, { ...ports, view }, (because) => trip.waiting(because), signal);
}

/** Reboots an unhealthy trial: a reset is enough to bring it back to the slot that is permanent. */
async function sendBack(trip: Trip, trial: BootReport, reason: string): Promise<NodeResult> {
  const { late } = trip.context;
  trip.notice(`${reason}: it is sent back to slot ${trip.assignment.from}`);
  // It may have been uncordoned since, so that pods are back on it.
  await annotate(trip, 'prove');
  if (!trip.drained) await drain(trip, late);
  let report: BootReport | undefined;
  await doStep(trip, 'reboot', late, async () => {
    report = await reboot(trip, 'send-back', trial.bootId);
    return cameUp(trip, report);
  });
  // What failed is the proof; the way back is no step of its own.
  trip.step = 'prove';
  if (report === undefined) return noAnswer(trip, `after it was sent back to slot ${trip.assignment.from} (${reason})`);
  if (report.active === trip.assignment.from) return endFellBack(trip, report, reason);
  return trouble(
    trip,
    'needs hands',
    {
      what: `it was sent back to slot ${trip.assignment.from}, but slot ${report.active} came up again`,
      reason,
      next: `see its console and its boot menu; ${leftCordoned(trip)}`,
    },
    report,
  );
}

function cameUp({ shutOut }: Trip, report: BootReport | undefined): string {
  if (report !== undefined) return `slot ${report.active} came up`;
  if (shutOut === undefined) return 'no answer';
  return shutOut instanceof ConnectError
    ? 'it answers, but does not let kubeos in'
    : 'it answers, but not of its slots';
}

async function noAnswer(trip: Trip, when: string): Promise<NodeResult> {
  // Its boot was waited for: a later run need not wait for it once more before it does anything.
  await annotate(trip, 'prove');
  const reset = `a reset brings it back to slot ${trip.assignment.from}; ${leftCordoned(trip)}`;
  const { shutOut } = trip;
  if (shutOut !== undefined) {
    return trouble(trip, 'needs hands', {
      what: shutOut.message,
      reason: [shutOut.reason, `it has been so ${when}`].filter((text) => text !== undefined).join('\n'),
      next: [shutOut.next, reset].filter((text) => text !== undefined).join('; '),
      unreachable: shutOut instanceof ConnectError,
    });
  }
  return trouble(trip, 'needs hands', {
    what: `no answer over SSH for ${formatDuration(trip.context.options.rebootTimeoutMs)} ${when}`,
    reason: 'the node has not come up, or its network has not',
    next: `see its console; ${reset}`,
    unreachable: true,
  });
}
