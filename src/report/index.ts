export { renderBootReset, renderBootResetPlan } from './boot-reset-screen.ts';
export { combineReports } from './combine.ts';
export { formatData } from './data.ts';
export { displayOptions } from './display.ts';
export { renderError } from './error-screen.ts';
export {
  bootResetToJson,
  errorToJson,
  insecureToJson,
  lockToJson,
  planToJson,
  resultToJson,
  statusToJson,
  validationToJson,
} from './json.ts';
export { ledTo } from './led.ts';
export { renderFreed, renderLock } from './lock-screen.ts';
export { describeLock } from './lock-wait.ts';
export { renderConfirm, renderPlan, renderTitle } from './plan-screen.ts';
export { createReport } from './progress-report.ts';
export type { ProgressReport } from './progress-types.ts';
export { renderResult, type ResultScreenOptions } from './result-screen.ts';
export { statusReport } from './status.ts';
export { renderStatus } from './status-screen.ts';
