export { systemClock } from './clock.ts';
export { describeHolder } from './holder.ts';
export { runLogDir } from './log-dir.ts';
export { createLogReport, type LogReport } from './log-report.ts';
export { createPrompter, type Prompter } from './prompt.ts';
export { newRunId } from './run-id.ts';
export { childEnvironment, flagSetting, textSetting } from './settings.ts';
export { listenForSignals, type StopSignals } from './signals.ts';
export { readSpecSource, type SpecSource } from './spec-source.ts';
