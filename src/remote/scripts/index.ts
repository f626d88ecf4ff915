/** The node scripts as text, embedded by the build. docs/node-protocol.md says how they are put together and run. */
import arm from './arm.sh';
import begin from './begin.sh';
import bootReport from './boot-report.sh';
import claim from './claim.sh';
import close from './close.sh';
import commit from './commit.sh';
import endJob from './end-job.sh';
import launch from './launch.sh';
import libFetch from './lib-fetch.sh';
import libGrub from './lib-grub.sh';
import libJobs from './lib-jobs.sh';
import libSlots from './lib-slots.sh';
import libState from './lib-state.sh';
import lib from './lib.sh';
import log from './log.sh';
import logs from './logs.sh';
import look from './look.sh';
import observe from './observe.sh';
import poll from './poll.sh';
import prove from './prove.sh';
import reboot from './reboot.sh';
import stage from './stage.sh';
import verify from './verify.sh';
import write from './write.sh';

/** What every script begins with: lib.sh, then its further parts. It defines functions and runs nothing. */
export const LIBRARY = [lib, libState, libSlots, libGrub, libJobs, libFetch].join('\n');

/** Each script's own part, which defines `main`, by the name that docs/node-protocol.md gives it. */
export const STEP_SCRIPTS = {
  observe,
  look,
  claim,
  begin,
  launch,
  poll,
  'end-job': endJob,
  stage,
  write,
  verify,
  arm,
  reboot,
  'boot-report': bootReport,
  prove,
  commit,
  close,
  log,
  logs,
} as const;

export type StepScript = keyof typeof STEP_SCRIPTS;
