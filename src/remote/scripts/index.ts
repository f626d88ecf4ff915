/** The node scripts as text, embedded by the build. docs/node-protocol.md says how they are put together and run. */
import arm from './arm.sh';
import begin from './begin.sh';
import bootReport from './boot-report.sh';
import claim from './claim.sh';
import close from './close.sh';
import commit from './commit.sh';
import deadManWatch from './dead-man-watch.sh';
import deadMan from './dead-man.sh';
import endJob from './end-job.sh';
import launch from './launch.sh';
import libEngine from './lib-engine.sh';
import libFetch from './lib-fetch.sh';
import libFallback from './lib-fallback.sh';
import libFlush from './lib-flush.sh';
import libGrub from './lib-grub.sh';
import libHead from './lib-head.sh';
import libImage from './lib-image.sh';
import libJobs from './lib-jobs.sh';
import libList from './lib-list.sh';
import libManaged from './lib-managed.sh';
import libPart from './lib-part.sh';
import libSlots from './lib-slots.sh';
import libState from './lib-state.sh';
import libStream from './lib-stream.sh';
import libTar from './lib-tar.sh';
import libTrial from './lib-trial.sh';
import libWays from './lib-ways.sh';
import libWrite from './lib-write.sh';
import lib from './lib.sh';
import log from './log.sh';
import logs from './logs.sh';
import look from './look.sh';
import observe from './observe.sh';
import poll from './poll.sh';
import prove from './prove.sh';
import reboot from './reboot.sh';
import receive from './receive.sh';
import resetBoot from './reset-boot.sh';
import stageContainer from './stage-container.sh';
import stage from './stage.sh';
import stream from './stream.sh';
import verify from './verify.sh';
import write from './write.sh';

/** The parts of the library beside lib.sh, which every script begins with; one may use those before it. */
const PARTS = [
  libState,
  libSlots,
  libGrub,
  libFallback,
  libManaged,
  libJobs,
  libTrial,
  libFlush,
  libPart,
  libFetch,
  libWays,
  libImage,
  libHead,
  libList,
  libTar,
  libWrite,
  libStream,
  libEngine,
].map((text) => {
  const functions = Array.from(text.matchAll(/^(\w+)\(\)/gm), ([, name]) => name);
  return { text, isUsedIn: new RegExp(`\\b(?:${functions.join('|')})\\b`) };
});

/**
 * A script with what it needs of the library before it: lib.sh, and each part of which it names a function, be it in
 * another meaning. The library defines functions and runs nothing but lib.sh's settings.
 * @param own defines `main`
 */
export function withLibrary(own: string): string {
  const needed = PARTS.reduceRight((text, part) => (part.isUsedIn.test(text) ? `${part.text}\n${text}` : text), own);
  return `${lib}\n${needed}`;
}

const STEP_SCRIPTS = {
  observe,
  look,
  claim,
  begin,
  launch,
  poll,
  'end-job': endJob,
  receive,
  stage,
  'stage-container': stageContainer,
  write,
  stream,
  verify,
  arm,
  reboot,
  'boot-report': bootReport,
  'dead-man': deadMan,
  prove,
  commit,
  close,
  'reset-boot': resetBoot,
  log,
  logs,
} as const;

export type StepScript = keyof typeof STEP_SCRIPTS;

/** Each script as it is sent, by the name that docs/node-protocol.md gives it; its call is still missing. */
export const SCRIPTS = Object.fromEntries(
  Object.entries(STEP_SCRIPTS).map(([name, own]) => [name, withLibrary(own)]),
) as Readonly<Record<StepScript, string>>;

/** What the script `dead-man` leaves running on the node. */
export const DEAD_MAN_WATCH = withLibrary(deadManWatch);
