import type { RolloutContext } from './context.ts';
import type { Artifact, DiskArtifact, DrainProgress, StepProgress, Verified } from './ports.ts';
import { KubeosError } from '../errors.ts';
import { EXIT } from '../exit-codes.ts';
import { certainFailures } from './certain-failures.ts';
import { doStep } from './do-step.ts';
import { watchCordon } from './foreign-hands.ts';
import { untilApiAnswers } from './patience.ts';
import { STEPS, type Step } from './steps.ts';
import type { Trip } from './trip.ts';
import { formatBytes, formatDuration } from './units.ts';

/**
 * Brings a node to where it can be armed: its other slot written and verified, its pods gone. Steps before `firstStep`
 * are done; the drain is always done again, since nothing on the node proves that it still holds.
 */
export async function prepare(trip: Trip, firstStep: Step): Promise<void> {
  const { plan } = trip.context;
  const order = plan.writeAfterDrain
    ? (['stage', 'drain', 'write', 'verify'] as const)
    : (['stage', 'write', 'verify', 'drain'] as const);
  const upgrade = trip.assignment.operation === 'upgrade';
  const done = STEPS.indexOf(firstStep);
  const asked = upgrade && !plan.writeAfterDrain ? 'write' : 'drain';
  const work = workOf(trip, firstStep);
  for (const step of order) {
    if (!upgrade && (step === 'stage' || step === 'write')) continue;
    // After the download, which may take an hour; before anything is written or cordoned.
    if (step === asked && done <= STEPS.indexOf('verify')) await forecast(trip);
    if (step === 'drain') await drain(trip, trip.context.early);
    else if (STEPS.indexOf(step) < done) trip.skip(step);
    else await work[step](trip);
  }
}

/** The drain is certain to fail, as it is known before anything was written or cordoned. */
export class DrainForecastError extends KubeosError {
  override readonly name = 'DrainForecastError';
}

/** @throws DrainForecastError */
async function forecast(trip: Trip): Promise<void> {
  const { ports, plan, early } = trip.context;
  const made = await untilApiAnswers(ports.clock, early, () => ports.cluster.forecastDrains([trip.name], plan.drain));
  const [first, ...more] = certainFailures(made.get(trip.name) ?? { pods: 0, obstacles: [] });
  if (first === undefined) return;
  const reason = [first.reason, ...more.map(({ what }) => what)].filter((text) => text !== undefined).join('\n');
  throw new DrainForecastError(first.what, EXIT.incomplete, {
    ...(reason === '' ? {} : { reason }),
    ...(first.next === undefined ? {} : { next: first.next }),
    node: trip.name,
  });
}

/** Takes a place in the budget, cordons the node and evicts its pods. */
export async function drain(trip: Trip, signal: AbortSignal): Promise<void> {
  const { ports, budget, plan, lock } = trip.context;
  await doStep(trip, 'drain', signal, async () => {
    await budget.hold(trip.name, signal, () => {
      trip.waiting(waitForPlace(budget.eatenBy()));
    });
    signal.throwIfAborted();
    const { run, operation, version } = trip.record;
    const record = { run, token: lock.token, operation, version, step: 'drain' as const };
    trip.record = await untilApiAnswers(ports.clock, signal, async () => {
      await trip.mayStart();
      return ports.cluster.cordon(trip.name, record);
    });
    if (trip.record.cordon === 'found' && !trip.wasCordoned) trip.foreign('cordoned by somebody else: it stays so');
    trip.cordonedAt ??= trip.now;
    const startedAt = trip.now;
    let told = '';
    const onProgress = (progress: DrainProgress): void => {
      const words = inWords(progress);
      if (words !== told) trip.waiting(words);
      told = words;
    };
    const hands = watchCordon(trip);
    try {
      const either = AbortSignal.any([signal, hands.signal]);
      await trip.mayStart();
      const { evicted } = await ports.cluster.drain(trip.name, plan.drain, onProgress, either);
      trip.drained = true;
      return `${evicted} ${evicted === 1 ? 'pod' : 'pods'} gone in ${formatDuration(trip.now - startedAt)}`;
    } finally {
      hands.stop();
    }
  });
}

async function stage(trip: Trip): Promise<void> {
  const { ports, options, early } = trip.context;
  const { artifact } = options;
  if (artifact === undefined) throw new Error('an upgrade was started without its artifact');
  await doStep(trip, 'stage', early, async () => {
    const startedAt = trip.now;
    const onProgress = progressOf(trip, 'stage');
    const brought = 'reference' in artifact ? artifact : onItsWay(trip, artifact);
    const fetch = (what: Artifact): Promise<{ bytes: number; digest?: string }> =>
      ports.remote.stage(trip.node, trip.authority, what, onProgress, early);
    const { bytes, digest } = await sameForAll(trip.context, brought, fetch);
    const took = `${formatBytes(bytes)} verified in ${formatDuration(trip.now - startedAt)}`;
    return digest === undefined ? took : `${took}, out of the image sha256:${digest}`;
  });
}

const onItsWay = ({ entry: { via, decompress } }: Trip, artifact: DiskArtifact): DiskArtifact => ({
  ...artifact,
  ...(via === undefined ? {} : { via }),
  ...(decompress === undefined ? {} : { decompress }),
});

function passOver(trip: Trip): void {
  trip.skip('stage', 'nothing in /persist: the image is streamed into the slot');
}

async function stream(trip: Trip): Promise<void> {
  const { ports, options, plan, early } = trip.context;
  const { artifact } = options;
  const { target } = trip.assignment;
  if (artifact === undefined || 'reference' in artifact) throw new Error('only a disk image is streamed');
  await doStep(trip, 'write', early, async () => {
    const brought = onItsWay(trip, artifact);
    const onProgress = progressOf(trip, 'write');
    const { node, authority } = trip;
    const { bytes } = await ports.remote.stream(node, authority, target, brought, onProgress, early, plan.writeRate);
    return `slot ${target}, ${formatBytes(bytes)}, streamed`;
  });
}

/** A tag may be moved while a run lasts: the first digest that a node got counts for all the others. */
async function sameForAll<T extends { digest?: string }>(
  context: RolloutContext,
  artifact: Artifact,
  fetch: (artifact: Artifact) => Promise<T>,
): Promise<T> {
  if (!('reference' in artifact) || artifact.digest !== undefined) return fetch(artifact);
  const pinned = (): Artifact => ({ ...artifact, ...(context.pinned === undefined ? {} : { pinned: context.pinned }) });
  const staged = await fetch(pinned());
  if (staged.digest !== undefined) context.pinned ??= staged.digest;
  // Two nodes that pulled at once may have got two images.
  return staged.digest === context.pinned ? staged : fetch(pinned());
}

async function write(trip: Trip): Promise<void> {
  const { ports, plan, early } = trip.context;
  const { target } = trip.assignment;
  await doStep(trip, 'write', early, async () => {
    const onProgress = progressOf(trip, 'write');
    const { bytes } = await ports.remote.write(trip.node, trip.authority, target, onProgress, early, plan.writeRate);
    return `slot ${target}, ${formatBytes(bytes)}`;
  });
}

async function verify(trip: Trip): Promise<void> {
  const { ports, early } = trip.context;
  const { assignment } = trip;
  await doStep(trip, 'verify', early, async () => {
    const onProgress = progressOf(trip, 'verify');
    const verified = await ports.remote.verify(trip.node, trip.authority, assignment, onProgress, early);
    if (verified.version !== assignment.version) {
      throw new KubeosError(`slot ${assignment.target} holds ${verified.version}`, EXIT.incomplete, {
        reason: `${assignment.version} was asked for`,
        next: 'correct osversion in the spec, or use the image of that version',
      });
    }
    trip.proof = verified.basis;
    return `slot ${assignment.target}, ${BASIS[verified.basis]}, ${verified.version}`;
  });
}

const BEFORE_DRAIN = { stage, write, verify } as const;
const STREAMED = { ...BEFORE_DRAIN, stage: passOver, write: stream } as const;

/** What each step does: a node that has the image by now writes it from there. */
const workOf = ({ entry }: Trip, firstStep: Step): typeof BEFORE_DRAIN | typeof STREAMED =>
  entry.stream === true && firstStep === 'stage' ? STREAMED : BEFORE_DRAIN;

const BASIS: Readonly<Record<Verified['basis'], string>> = {
  bytes: 'read back equal',
  files: 'each file read back equal',
  'recorded digest': 'its recorded digest holds',
  'content only': 'its content is whole (no digest was recorded)',
};

function progressOf(trip: Trip, step: Step): (progress: StepProgress) => void {
  let told: string | undefined;
  return ({ waitsFor, ...progress }) => {
    if (waitsFor === undefined) trip.emit({ type: 'step-progress', node: trip.name, step, ...progress });
    else if (waitsFor !== told) trip.waiting(waitsFor);
    told = waitsFor;
  };
}

const waitForPlace = (eatenBy: readonly string[]): string =>
  `a place in the budget${eatenBy.length === 0 ? '' : `, which ${eatenBy.join(', ')} also uses up`}`;

function inWords({ podsLeft, podsAtStart, waitingFor, because }: DrainProgress): string {
  if (waitingFor === undefined) return `${podsLeft} of ${podsAtStart} pods left`;
  return `pod ${waitingFor}${because === undefined ? '' : `: ${because}`}`;
}
